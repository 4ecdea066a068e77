import { type FileHandle, mkdir, open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createImageClient, openaiCompatible } from "../../src/index";
import { FileSink } from "../../src/media/file-sink";
import { useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { failureOf, prompt, reasonOf } from "../support/stage";
import { emptyPlace, partBytes, picture, until } from "./support/streaming";

useDirectory();

/** Every handle's `write`; a file named "any" is left in the directory. */
async function handlePrototype(place: string): Promise<Pick<FileHandle, "write">> {
  const handle = await open(join(place, "any"), "w");
  await handle.close();
  return Object.getPrototypeOf(handle);
}

async function fill(sink: FileSink, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += 48_000) {
    const piece = bytes.subarray(at, at + 48_000);
    piece.copy(sink.reserve(piece.length));
    sink.commit(piece.length);
    await sink.ready();
  }
}

test("a disk that fills up midway costs no image: it goes on in memory", async () => {
  const place = await emptyPlace();
  const prototype = await handlePrototype(place);
  const { write } = prototype;
  for (const failing of [1, 2, 4]) {
    let writes = 0;
    const spy = vi.spyOn(prototype, "write").mockImplementation(function (this: unknown, ...call) {
      writes += 1;
      if (writes >= failing) return Promise.reject(new Error("no space left on device"));
      return Reflect.apply(write, this, call);
    });
    const sink = new FileSink(join(place, "sink"));
    await fill(sink, picture);
    expect((await sink.read()).equals(picture)).toBe(true);
    expect(writes).toBe(failing);
    expect(await sink.moveTo(join(place, "moved"))).toBe(false);
    expect(await readdir(join(place, "sink"))).toEqual([]);
    spy.mockRestore();
  }
});

test("a file that is discarded is gone, before and after its end", async () => {
  const place = await emptyPlace();
  await mkdir(place, { recursive: true });
  const [begun, ended] = [new FileSink(place), new FileSink(place)];
  await fill(begun, picture);
  await fill(ended, picture);
  ended.end();
  await Promise.all([begun.discard(), ended.discard()]);
  expect(await readdir(place)).toEqual([]);
});

test("images that are written at once, after and beside discarded ones, keep apart", async () => {
  const place = await emptyPlace();
  const pictures = [1, 2, 3, 4, 5, 6].map((seed) => pictureOf(900_000 + seed * 1_000, seed));
  for (let round = 0; round < 3; round += 1) {
    const files = await Promise.all(
      pictures.map(async (bytes, index) => {
        const sink = new FileSink(place);
        await fill(sink, bytes);
        if (index % 3 === 2) return sink.discard();
        const path = join(place, `${round}-${index}`);
        expect(await sink.moveTo(path)).toBe(true);
        return path;
      }),
    );
    for (const [index, path] of files.entries()) {
      const expected = pictures[index] ?? picture;
      if (path !== undefined) expect((await readFile(path)).equals(expected)).toBe(true);
    }
  }
  expect((await readdir(place)).every((name) => !name.startsWith("."))).toBe(true);
});

test("a sink takes a piece larger than its blocks, whatever was written before", async () => {
  const place = await emptyPlace();
  const open = new FileSink(place);
  await fill(open, picture);
  await until(async () => (await partBytes(place)) > 700_000);
  const sink = new FileSink(place);
  picture.copy(sink.reserve(picture.length));
  sink.commit(picture.length);
  expect((await sink.read()).equals(picture)).toBe(true);
  await Promise.all([open.discard(), sink.discard()]);
});

/** Is given its image's URL, and the image in pieces of that size. */
function clientInPieces(byteLength = picture.length) {
  const pieces = async function* () {
    for (let at = 0; at < picture.length; at += byteLength) {
      yield new Uint8Array(picture.subarray(at, at + byteLength));
    }
  };
  const fetch: typeof globalThis.fetch = async (_, init) =>
    init?.method === "GET"
      ? new Response(ReadableStream.from(pieces()))
      : Response.json({ data: [{ url: "http://127.0.0.1/a.png" }] });
  const provider = openaiCompatible({ baseURL: "http://127.0.0.1", apiKey: "sk-of-the-test" });
  return createImageClient({ provider, fetch });
}

test("a download that comes in one large piece is saved", async () => {
  const place = await emptyPlace();
  for (let count = 0; count < 2; count += 1) {
    const { image } = await clientInPieces().generate({ prompt }, { saveTo: place });
    expect((await readFile(image.file ?? "")).equals(picture)).toBe(true);
  }
});

test("a download that the disk does not take says why, and can be had again", async () => {
  const place = await emptyPlace();
  const prototype = await handlePrototype(place);
  const full = new Error("no space left on device");
  const spy = vi.spyOn(prototype, "write").mockRejectedValue(full);
  const error = await failureOf(clientInPieces().generate({ prompt }, { saveTo: place }));
  spy.mockRestore();
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  expect(error.message).toContain(full.message);
  expect(await readdir(place)).toEqual(["any"]);
  const { image } = (await error.job?.result({ saveTo: place })) ?? {};
  expect((await readFile(image?.file ?? "")).equals(picture)).toBe(true);
});

test("a save that is aborted while its last bytes go to the disk leaves nothing there", async () => {
  const place = await emptyPlace();
  const prototype = await handlePrototype(place);
  const { write } = prototype;
  const controller = new AbortController();
  const reason = new Error("enough");
  let writes = 0;
  const spy = vi.spyOn(prototype, "write").mockImplementation(async function (
    this: unknown,
    ...call
  ) {
    writes += 1;
    // Of the six blocks that it has.
    if (writes === 6) controller.abort(reason);
    await pause(1);
    return Reflect.apply(write, this, call);
  });
  const { signal } = controller;
  const saving = clientInPieces(64 * 1024).generate({ prompt }, { saveTo: place, signal });
  expect(await reasonOf(saving)).toBe(reason);
  await until(async () => (await readdir(place)).every((name) => !name.endsWith(".part")));
  await pause(20);
  spy.mockRestore();
  expect(writes).toBe(6);
  expect(await readdir(place)).toEqual(["any"]);
});
