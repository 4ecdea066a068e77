import { rmSync, writeFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import type { Clock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import { directoryJournal, type ImageEvent, openaiCompatible } from "../../src/index";
import { useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { startServer, type TestServer } from "../support/server";
import { failureOf, prompt, reasonOf } from "../support/stage";
import {
  clientOf,
  document,
  documentOf,
  emptyPlace,
  inTheSecond,
  openParts,
  other,
  partBytes,
  picture,
  sendStart,
  sendText,
  small,
  until,
} from "./support/streaming";

useDirectory();

test("a large base64 image is on the disk in part before its response has come whole", async () => {
  const place = await emptyPlace();
  let midway = 0;
  await using server = await startServer(async (_, response) => {
    sendStart(response, document.slice(0, 1_500_000));
    await until(async () => (await partBytes(place)) > 700_000);
    midway = (await readdir(place)).filter((name) => !name.startsWith(".")).length;
    response.end(document.slice(1_500_000));
  });
  const { image, raw } = await clientOf(server).generate({ prompt }, { saveTo: place });
  expect(midway).toBe(0);
  expect(await readdir(place)).toEqual([image.file?.slice(place.length + 1)]);
  expect(image.file).toMatch(/\.png$/);
  expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
  expect(Buffer.from(await image.bytes()).equals(picture)).toBe(true);
  expect(JSON.stringify(raw)).toContain("<an image of 1500000 bytes>");
});

test("a large base64 image comes whole into memory, packed or not, over undici or fetch", async () => {
  await using server = await startServer(({ path }, response) => {
    if (!path.includes("packed")) return sendText(response, document);
    response.writeHead(200, { "content-encoding": "gzip" });
    return response.end(gzipSync(document));
  });
  const fetch: typeof globalThis.fetch = (...call) => globalThis.fetch(...call);
  for (const options of [{}, { fetch }]) {
    for (const path of ["", "/packed"]) {
      const client = clientOf({ ...server, url: `${server.url}${path}` }, options);
      const { image } = await client.generate({ prompt });
      expect(Buffer.from(await image.bytes()).equals(picture)).toBe(true);
      expect(image.toJSON()).toEqual({});
    }
  }
});

test("with a journal a large base64 image is kept and saved", async () => {
  const place = await emptyPlace();
  await using server = await startServer((_, response) => sendText(response, document));
  const client = clientOf(server, { journal: directoryJournal(join(place, "journal")) });
  const { image } = await client.generate({ prompt }, { saveTo: join(place, "images") });
  expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
  expect(await readdir(join(place, "images"))).toHaveLength(1);
});

test("a response that breaks off after an image hands the image over on the error", async () => {
  const two = documentOf(picture, other);
  const endings: Record<string, (response: ServerResponse) => unknown> = {
    "/torn": (response) => {
      sendStart(response, two.slice(0, inTheSecond));
      // Once what was written has left.
      response.write("A", () => response.socket?.destroy());
    },
    "/cut": (response) => sendText(response, two.slice(0, inTheSecond)),
    "/odd": (response) => sendText(response, `${document.slice(0, -1)},]`),
  };
  await using server = await startServer(({ path }, response) =>
    endings[path.replace(/\/images.*/, "")]?.(response),
  );
  for (const path of Object.keys(endings)) {
    const client = clientOf({ ...server, url: server.url + path });
    const before = server.requests.length;
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({ code: "malformed_response", charged: "yes", retryable: false });
    expect(server.requests.length - before).toBe(1);
    expect(error.images).toHaveLength(1);
    expect(Buffer.from((await error.images?.[0]?.bytes()) ?? []).equals(picture)).toBe(true);
    expect(JSON.stringify(error).length).toBeLessThan(2_000);
    // Whoever asks its job hears the same.
    expect(await failureOf(error.job?.result() ?? Promise.resolve())).toBe(error);
  }
});

test("a response that breaks off after an image saves the image all the same", async () => {
  const place = await emptyPlace();
  await using server = await startServer((_, response) =>
    sendText(response, documentOf(picture, other).slice(0, inTheSecond)),
  );
  const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
  const file = error.images?.[0]?.file ?? "";
  expect(await readdir(place)).toEqual([file.slice(place.length + 1)]);
  expect((await readFile(file)).equals(picture)).toBe(true);
});

test("a small response that breaks off after an image hands it over, too", async () => {
  const [first, second] = [pictureOf(8_000), pictureOf(9_000, 3)];
  const whole = documentOf(first, second);
  await using server = await startServer((_, response) => sendText(response, whole.slice(0, -60)));
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
  expect(error.images).toHaveLength(1);
  expect(Buffer.from((await error.images?.[0]?.bytes()) ?? []).equals(first)).toBe(true);
});

test("what a submit was told of a directory its result keeps to", async () => {
  const place = await emptyPlace();
  await using server = await startServer((_, response) => sendText(response, document));
  const job = await clientOf(server).submit({ prompt }, { saveTo: place });
  const { image } = await job.result();
  expect(await readdir(place)).toEqual([image.file?.slice(place.length + 1)]);
});

test("an image that cannot be saved says why in an error of this package", async () => {
  const place = await emptyPlace();
  await writeFile(join(place, "a-file"), "");
  await using server = await startServer((_, response) => sendText(response, small));
  const { image } = await clientOf(server).generate({ prompt });
  const error = await failureOf(image.save(join(place, "a-file", "x.png")));
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
});

test("a response that stops after an image hands it over with the time-out", async () => {
  const place = await emptyPlace();
  const timers: (() => void)[] = [];
  // Time passes when the first image has come, whenever that is.
  const clock: Clock = {
    now: () => 0,
    wallTime: () => 0,
    after(delayMs, callback) {
      if (delayMs <= 600_000) timers.push(callback);
      return () => {};
    },
  };
  await using server = await startServer(async (_, response) => {
    sendStart(response, documentOf(picture, other).slice(0, inTheSecond));
    await until(async () => (await partBytes(place)) >= picture.byteLength);
    for (const fire of timers) fire();
  });
  const provider = openaiCompatible({ baseURL: server.url, apiKey: "sk-of-the-test" });
  const client = new ProviderClient({ provider }, clock);
  const error = await failureOf(client.generate({ prompt }, { saveTo: place }));
  expect(error).toMatchObject({ code: "timeout", charged: "yes" });
  expect((await readFile(error.images?.[0]?.file ?? "")).equals(picture)).toBe(true);
});

test("a refusal that holds an image is an error with the image on it", async () => {
  const odd = JSON.stringify({ result: { picture: picture.toString("base64") } });
  await using server = await startServer((_, response) => sendText(response, odd));
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
  expect(Buffer.from((await error.images?.[0]?.bytes()) ?? []).equals(picture)).toBe(true);
});

test("an image that had come whole when the caller left is saved, and its job has it", async () => {
  const place = await emptyPlace();
  const controller = new AbortController();
  await using server = await startServer(async (_, response) => {
    sendStart(response, documentOf(picture, other).slice(0, inTheSecond));
    await until(async () => (await partBytes(place)) >= picture.byteLength);
    controller.abort(new Error("enough"));
  });
  const { signal } = controller;
  let failed: ImageEvent | undefined;
  const client = clientOf(server);
  const onEvent = (event: ImageEvent) => {
    if (event.type === "failed") failed = event;
  };
  const ended = await reasonOf(client.generate({ prompt }, { saveTo: place, signal, onEvent }));
  expect(ended).toMatchObject({ message: "enough" });
  await until(async () => failed !== undefined);
  expect(failed).toMatchObject({ error: { code: "malformed_response", charged: "yes" } });
  const names = await readdir(place);
  expect(names).toHaveLength(1);
  expect((await readFile(join(place, names[0] ?? ""))).equals(picture)).toBe(true);
  expect(names[0]).toMatch(/\.png$/);
});

test("an image may be saved twice, and by another call into another directory", async () => {
  const [place, elsewhere] = [await emptyPlace(), await emptyPlace()];
  await using server = await startServer((_, response) => sendText(response, document));
  const error = await failureOf(
    clientOf(server).generate(
      { prompt },
      {
        saveTo: place,
        onSubmitted: () => {
          throw new Error("no room in the table");
        },
      },
    ),
  );
  const { image } = (await error.job?.result({ saveTo: elsewhere })) ?? {};
  for (const name of ["one.png", "two.png"]) await image?.save(join(place, name));
  const names = [await readdir(place), await readdir(elsewhere)];
  expect(names.map((each) => each.length)).toEqual([3, 1]);
  expect(names.flat().filter((name) => name.endsWith(".part"))).toEqual([]);
  for (const name of ["one.png", "two.png"]) {
    expect((await readFile(join(place, name))).equals(picture)).toBe(true);
  }
});

test("more creates than polls may share connections all leave at once", async () => {
  let waiting = 0;
  const answers: (() => void)[] = [];
  await using server = await startServer((_, response) => {
    waiting += 1;
    answers.push(() => sendText(response, small));
    if (waiting === 200) for (const reply of answers) reply();
  });
  const client = clientOf(server);
  const all = await Promise.all(Array.from({ length: 200 }, () => client.generate({ prompt })));
  expect(all).toHaveLength(200);
  expect(server.requests).toHaveLength(200);
});

test("what is not handed out leaves no file: too large, torn, ended by the caller", async () => {
  const place = await emptyPlace();
  const controller = new AbortController();
  await using server = await startServer(async (_, response) => {
    sendStart(response, document.slice(0, 1_200_000));
    await until(async () => (await partBytes(place)) > 300_000);
    if (server.requests.length === 1) response.socket?.resetAndDestroy();
    else if (server.requests.length === 2) controller.abort(new Error("enough"));
    else response.end(document.slice(1_200_000));
  });
  const options = { saveTo: place };
  const torn = await failureOf(clientOf(server).generate({ prompt }, options));
  expect(torn).toMatchObject({ code: "submission_unknown", charged: "unknown" });
  expect(torn.images).toBeUndefined();
  const { signal } = controller;
  const ended = await reasonOf(clientOf(server).generate({ prompt }, { ...options, signal }));
  expect(ended).toMatchObject({ message: "enough" });
  const small = clientOf(server, { maxAnswerBytes: 1_500_000 });
  const large = await failureOf(small.generate({ prompt }, options));
  expect(large).toMatchObject({ code: "submission_unknown" });
  await until(async () => (await readdir(place)).length === 0);
  expect(server.requests).toHaveLength(3);
});

test("where the directory is gone when it comes, the image is in memory, and saving it says why", async () => {
  const place = await emptyPlace();
  const saveTo = join(place, "pictures");
  const onEvent = ({ type }: ImageEvent) => {
    if (type !== "submitting") return;
    rmSync(saveTo, { recursive: true });
    writeFileSync(saveTo, "in the way");
  };
  await using server = await startServer((_, response) => sendText(response, document));
  const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo, onEvent }));
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  const { image } = (await error.job?.result()) ?? {};
  expect(Buffer.from((await image?.bytes()) ?? []).equals(picture)).toBe(true);
  expect(server.requests).toHaveLength(1);
});

test("where the directory is cleared away while the image comes, it is saved all the same", async () => {
  const place = await emptyPlace();
  const saveTo = join(place, "pictures");
  await using server = await startServer(async (_, response) => {
    sendStart(response, document.slice(0, 1_500_000));
    await until(async () => (await partBytes(saveTo).catch(() => 0)) > 700_000);
    rmSync(saveTo, { recursive: true });
    response.end(document.slice(1_500_000));
  });
  const { image } = await clientOf(server).generate({ prompt }, { saveTo });
  expect(await readdir(saveTo)).toEqual([image.file?.slice(saveTo.length + 1)]);
  expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
});

/** A response of two pictures, whose first is whole on the disk while the second is still coming. */
async function clearedBetween(place: string, clear: () => void): Promise<TestServer> {
  const text = documentOf(picture, other);
  return startServer(async (_, response) => {
    sendStart(response, text.slice(0, inTheSecond));
    await until(async () => (await partBytes(place).catch(() => 0)) >= picture.length);
    clear();
    response.end(text.slice(inTheSecond));
  });
}

test("where the directory is cleared away when an image of the response was whole, both are saved", async () => {
  const saveTo = join(await emptyPlace(), "pictures");
  await using server = await clearedBetween(saveTo, () => rmSync(saveTo, { recursive: true }));
  const { images, failures } = await clientOf(server).generate({ prompt, n: 2 }, { saveTo });
  expect(failures).toEqual([]);
  const saved = await Promise.all(images.map(({ file = "" }) => readFile(file)));
  expect(saved.map((each) => [picture, other].findIndex((one) => one.equals(each)))).toEqual([
    0, 1,
  ]);
  expect((await readdir(saveTo)).sort()).toEqual(
    images.map(({ file }) => file?.slice(saveTo.length + 1)),
  );
  expect(await openParts()).toBe(0);
});

test("where a file is in the directory's place by then, both are in memory and on the error", async () => {
  const saveTo = join(await emptyPlace(), "pictures");
  await using server = await clearedBetween(saveTo, () => {
    rmSync(saveTo, { recursive: true });
    writeFileSync(saveTo, "in the way");
  });
  const error = await failureOf(clientOf(server).generate({ prompt, n: 2 }, { saveTo }));
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  const { images = [] } = (await error.job?.result()) ?? {};
  const bytes = await Promise.all(images.map((each) => each.bytes()));
  expect(bytes.map((each) => [picture, other].findIndex((one) => one.equals(each)))).toEqual([
    0, 1,
  ]);
  expect(await openParts()).toBe(0);
});

test("a download whose directory is cleared away while it comes is saved all the same", async () => {
  const saveTo = join(await emptyPlace(), "pictures");
  await using server = await startServer(async ({ method }, response) => {
    if (method === "POST") return sendText(response, JSON.stringify({ data: [{ url: "/a.png" }] }));
    response.writeHead(200, { "content-length": picture.length });
    response.write(picture.subarray(0, 1_200_000));
    await until(async () => (await partBytes(saveTo).catch(() => 0)) > 700_000);
    rmSync(saveTo, { recursive: true });
    response.end(picture.subarray(1_200_000));
  });
  const { image } = await clientOf(server).generate({ prompt }, { saveTo });
  expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
  expect(server.requests).toHaveLength(2);
  expect(await openParts()).toBe(0);
});
