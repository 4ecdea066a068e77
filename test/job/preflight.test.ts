import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { directoryJournal, type Journal, localFile, memoryJournal } from "../../src/index";
import { Preflight } from "../../src/job/preflight";
import { TestClock } from "../support/clock";
import { directory as place, useDirectory } from "../support/directory";
import { pixel } from "../support/server";
import { allProviders, failureOf, prompt, startStage } from "../support/stage";

useDirectory();

let count = 0;
const fresh = () => {
  count += 1;
  return join(place, String(count));
};

/** A file, where a directory should be. */
async function aFile(): Promise<string> {
  const path = fresh();
  await writeFile(path, "not a directory");
  return path;
}

test.for(allProviders)(
  "a saveTo that cannot be written is refused before %s is sent anything",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const client = stage.client(name);
    const file = await aFile();
    for (const saveTo of [file, join(file, "below"), "/proc/nowhere/at/all"]) {
      for (const call of [client.generate, client.submit]) {
        const error = await failureOf(call.bind(client)({ prompt }, { saveTo }));
        expect(error).toMatchObject({
          code: "invalid_request",
          charged: "no",
          field: "options.saveTo",
        });
        expect(error.message).toContain(saveTo);
        expect(error.message).toMatch(/ENOTDIR|EEXIST|ENOENT/);
      }
    }
    expect(stage.sandbox.requests).toHaveLength(0);
    expect(stage.sandbox.charges).toHaveLength(0);
    // Nothing is remembered of a failure.
    await rm(file);
    const { image } = await client.generate({ prompt }, { saveTo: file });
    expect((await stat(image.file ?? "")).isFile()).toBe(true);
  },
);

test("the trial makes the directory and leaves nothing in it", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 400 });
  const saveTo = join(fresh(), "deep", "down");
  await failureOf(stage.client("trinetra").generate({ prompt }, { saveTo }));
  expect(await readdir(saveTo)).toEqual([]);
});

test("relative paths mean what they meant when they were given", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const before = process.cwd();
  const [saveTo, input] = [fresh(), fresh()];
  await writeFile(input, pixel);
  const client = stage.client("openaiCompatible");
  try {
    const images = [localFile(relative(before, input))];
    const call = client.edit({ prompt, images }, { saveTo: relative(before, saveTo) });
    process.chdir(place);
    const { image } = await call;
    process.chdir(before);
    const saving = image.save(relative(before, join(saveTo, "again.png")));
    process.chdir(place);
    expect(await saving).toBe(join(saveTo, "again.png"));
  } finally {
    process.chdir(before);
  }
  expect(await readdir(saveTo)).toHaveLength(2);
});

test("a directory is tried once a minute, however many calls there are", async () => {
  const clock = new TestClock({ auto: false });
  const preflight = new Preflight("trinetra", clock, undefined);
  const saveTo = fresh();
  const trials = [preflight.check(saveTo), preflight.check(saveTo)];
  expect(trials[0] === trials[1]).toBe(true);
  await Promise.all(trials);
  expect(preflight.check(saveTo)).toBeUndefined();
  await clock.advance(59_999);
  expect(preflight.check(saveTo)).toBeUndefined();
  expect(preflight.check(fresh())).toBeInstanceOf(Promise);
  await clock.advance(1);
  await rm(saveTo, { recursive: true });
  await preflight.check(saveTo);
  expect(await readdir(saveTo)).toEqual([]);
});

test("of thousands of directories those that were tried last are remembered", async () => {
  const preflight = new Preflight("trinetra", new TestClock({ auto: false }), undefined);
  const parent = fresh();
  const all = Array.from({ length: 300 }, (_, index) => join(parent, String(index)));
  for (const each of all) await preflight.check(each);
  expect(preflight.check(all.at(-1))).toBeUndefined();
  expect(preflight.check(all[0])).toBeInstanceOf(Promise);
});

test("a journal is tried once a client, before inputs are read and before anything is paid", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  let checks = 0;
  let uploads = 0;
  let isFull = true;
  const journal: Journal = {
    ...memoryJournal(),
    async check() {
      checks += 1;
      if (isFull) throw new Error("ENOSPC: no space left on device");
    },
  };
  const upload = () => {
    uploads += 1;
    return "https://example.com/a.png";
  };
  const client = stage.client("trinetra", { journal, upload });
  const error = await failureOf(client.edit({ prompt, images: [pixel] }));
  expect(error).toMatchObject({ code: "journal_failed", charged: "no" });
  expect(error.message).toContain("ENOSPC");
  expect([uploads, stage.sandbox.requests.length]).toEqual([0, 0]);
  isFull = false;
  await Promise.all([client.generate({ prompt }), client.generate({ prompt })]);
  await client.generate({ prompt });
  expect(checks).toBe(2);
});

test("a directory journal that cannot be written is refused, and one that can be is left as it was", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const broken = stage.client("openaiCompatible", { journal: directoryJournal(await aFile()) });
  expect(await failureOf(broken.generate({ prompt }))).toMatchObject({
    ...{ code: "journal_failed", charged: "no" },
  });
  expect(stage.sandbox.requests).toHaveLength(0);
  const directory = fresh();
  await directoryJournal(directory).check?.();
  expect(await readdir(directory)).toEqual([]);
});

test("what a call has saved is the picture", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const saveTo = fresh();
  const { image } = await stage.client("shortapi").generate({ prompt }, { saveTo });
  expect(await readdir(saveTo)).toHaveLength(1);
  expect((await readFile(image.file ?? "")).equals(Buffer.from(await image.bytes()))).toBe(true);
});
