import { expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import { openaiCompatible } from "../../src/index";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { sendJson, startServer } from "../support/server";
import { failureOf, prompt, startStage } from "../support/stage";

/** A PNG so large that it is decoded while its response comes, and not held as a string. */
const pictureOf = (filler: string) =>
  Buffer.concat([
    Buffer.from(
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
      "base64",
    ),
    Buffer.alloc(150_000, filler),
  ]);
const pictures = [pictureOf("one"), pictureOf("two")];

/** A server that answers every create with the two pictures. */
const startPictures = () =>
  startServer((_, response) => {
    sendJson(response, { data: pictures.map((each) => ({ b64_json: each.toString("base64") })) });
  });

/** A journal whose disk is full for images, for those that `isFull` names. */
function fullJournal(isFull: (position: number) => boolean): Journal {
  const journal = memoryJournal();
  return {
    ...journal,
    async writeImage(id, position, bytes) {
      if (isFull(position))
        throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
      await journal.writeImage(id, position, bytes);
    },
  };
}

function clientOf(url: string, journal: Journal) {
  const provider = openaiCompatible({ baseURL: `${url}/v1`, apiKey: "sk-of-the-test" });
  return new ProviderClient({ provider, journal }, systemClock);
}

/** Which of the pictures these are: comparing them element by element would take minutes. */
const whichAre = (all: readonly (Uint8Array | undefined)[]) =>
  all.map((each) => pictures.findIndex((picture) => each !== undefined && picture.equals(each)));

const whichOf = async (images: readonly { bytes(): Promise<Uint8Array> }[] = []) =>
  whichAre(await Promise.all(images.map((each) => each.bytes())));

/** The first bytes of the first. */
const startOf = async (images: readonly { bytes(): Promise<Uint8Array> }[] = []) =>
  Buffer.from((await images[0]?.bytes()) ?? []).toString("latin1", 1, 4);

test("pictures that the journal has no room for are on the error, and the job gives them with a warning", async () => {
  await using server = await startPictures();
  const client = clientOf(
    server.url,
    fullJournal(() => true),
  );
  const error = await failureOf(client.generate({ prompt, n: 2 }));
  expect(error).toMatchObject({ code: "journal_failed", charged: "yes" });
  expect(await whichOf(error.images)).toEqual([0, 1]);
  const result = await error.job?.result();
  expect(await whichOf(result?.images)).toEqual([0, 1]);
  expect(result?.warnings.join()).toMatch(/ENOSPC/);
  expect(JSON.stringify(error)).not.toContain("iVBOR");
  expect(server.requests).toHaveLength(1);
});

test.for([0, 1])(
  "pictures are all kept by a second try where the first had room for some: without %i",
  async (position) => {
    await using server = await startPictures();
    let failures = 2;
    const journal = fullJournal((each) => each === position && failures-- > 0);
    const client = clientOf(server.url, journal);
    const error = await failureOf(client.generate({ prompt, n: 2 }));
    expect(error).toMatchObject({ code: "journal_failed", charged: "yes" });
    const result = await error.job?.result();
    expect(result?.warnings).toEqual([]);
    expect(await whichOf(result?.images)).toEqual([0, 1]);
    // The very same pictures, whether they are in memory by now or in the journal.
    expect(await whichOf(error.images)).toEqual([0, 1]);
    const kept = [0, 1].map((each) => journal.readImage(`${result?.job.id}.0`, each));
    expect(whichAre(await Promise.all(kept))).toEqual([0, 1]);
  },
);

test("of a split call the task that could be kept is the result, and the failure holds the rest", async () => {
  await using server = await startPictures();
  let isFull = true;
  const client = clientOf(
    server.url,
    fullJournal(() => isFull),
  );
  const call = client.generate({ prompt, n: 12 }, { onEvent: () => {} });
  const error = await failureOf(call);
  // Both tasks failed to keep their two pictures each.
  expect([error, ...error.failures].map((each) => each.images?.length)).toEqual([2, 2]);
  isFull = false;
  expect((await error.job?.result())?.images).toHaveLength(4);
});

test("a submit whose picture cannot be kept rejects with it", async () => {
  await using server = await startPictures();
  const client = clientOf(
    server.url,
    fullJournal(() => true),
  );
  const error = await failureOf(client.submit({ prompt, n: 2 }));
  expect(error).toMatchObject({ code: "journal_failed", charged: "yes" });
  expect(await whichOf(error.images)).toEqual([0, 1]);
  expect((await error.job?.result())?.images).toHaveLength(2);
});

test("a job's picture that was fetched for a full journal is on the error, and is not fetched again", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const client = stage.client("trinetra", { journal: fullJournal(() => true) });
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ code: "journal_failed", charged: "yes" });
  expect(await startOf(error.images)).toBe("PNG");
  const result = await error.job?.result();
  expect(result?.images).toHaveLength(1);
  expect(result?.warnings.join()).toMatch(/ENOSPC/);
  expect(await startOf(result?.images)).toBe("PNG");
  expect(stage.count("download")).toBe(1);
  expect(stage.count("create")).toBe(1);
});
