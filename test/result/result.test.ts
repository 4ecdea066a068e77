import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LightAbortSignal } from "../../src/async/clock";
import { JournalError } from "../../src/errors";
import { bodyOf } from "../../src/http/body";
import { DownloadFault } from "../../src/http/faults";
import { createImageClient, memoryJournal, openaiCompatible, trinetra } from "../../src/index";
import { DecodedImage, MemorySink } from "../../src/media/decoded-image";
import type { Output } from "../../src/provider";
import { GeneratedImage, type ImageSource, saveInto } from "../../src/result/generated-image";
import { onePixelPng, pages } from "../providers/fixtures";
import { directory, useDirectory } from "../support/directory";
import { fixture } from "../support/fixtures";

useDirectory();

async function* chunksOf(...chunks: Uint8Array[]) {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield chunk;
  }
}

/** An image whose downloads are these, one after another and then the last again. */
function imageOf(
  output: Output,
  bodies: (() => AsyncIterable<Uint8Array>)[] = [],
  more: Partial<ImageSource> = {},
) {
  const downloads: string[] = [];
  const image = new GeneratedImage(output, {
    facts: { provider: "trinetra", charged: "yes" },
    name: "job-0-0",
    clean: (cause) => cause,
    download: async (url, read) => {
      const body = bodies[Math.min(downloads.length, bodies.length - 1)];
      downloads.push(url);
      if (body === undefined) throw new DownloadFault("HTTP 500", { transient: true, status: 500 });
      return read(bodyOf(body()), new LightAbortSignal());
    },
    ...more,
  });
  return { image, downloads };
}

const url = "https://cdn.test/1.png";
const good = () => chunksOf(onePixelPng.subarray(0, 5), onePixelPng.subarray(5));
const broken = (): AsyncIterable<Uint8Array> => ({
  async *[Symbol.asyncIterator]() {
    yield onePixelPng.subarray(0, 20);
    throw new DownloadFault("It broke off", { transient: true });
  },
});
const same = (bytes: Uint8Array) => expect(Buffer.from(bytes).equals(onePixelPng)).toBe(true);
const failureOf = (promise: Promise<unknown>) => promise.catch((reason: unknown) => reason);

test("every form of a picture comes from one download", async () => {
  const { image, downloads } = imageOf({ url }, [good]);
  const [bytes, base64, blob, response, info] = await Promise.all([
    image.bytes(),
    image.base64(),
    image.blob(),
    image.response(),
    image.info(),
  ]);
  same(bytes);
  expect(base64).toBe(onePixelPng.toString("base64"));
  expect(blob.type).toBe("image/png");
  same(new Uint8Array(await blob.arrayBuffer()));
  expect(response.headers.get("content-type")).toBe("image/png");
  expect(response.headers.get("content-length")).toBe(String(onePixelPng.byteLength));
  same(new Uint8Array(await response.arrayBuffer()));
  expect(info).toEqual({
    mediaType: "image/png",
    width: 1,
    height: 1,
    byteLength: onePixelPng.byteLength,
  });
  same(new Uint8Array(await new Response(image.stream()).arrayBuffer()));
  await image.save(join(directory, "every.png"));
  expect(downloads).toHaveLength(1);
});

test("nothing is fetched before somebody asks", () => {
  const { image, downloads } = imageOf({ url }, [good]);
  image.stream();
  expect(image.url).toBe(url);
  expect(downloads).toHaveLength(0);
});

test("saving twice and reading at the same time share one download", async () => {
  const { image, downloads } = imageOf({ url }, [good]);
  const [first, second, bytes] = await Promise.all([
    image.save(join(directory, "same-1.png")),
    image.save(join(directory, "same-2.png")),
    image.bytes(),
  ]);
  same(await readFile(first));
  same(await readFile(second));
  same(bytes);
  expect(downloads).toHaveLength(1);
});

test("what was saved is read from the disk, not fetched again", async () => {
  const { image, downloads } = imageOf({ url }, [good]);
  const file = await image.save(join(directory, "disk.png"));
  expect(image.file).toBe(file);
  same(await image.bytes());
  expect(downloads).toHaveLength(1);
});

test("a file that has been moved away is fetched again", async () => {
  const { image, downloads } = imageOf({ url }, [good]);
  await rm(await image.save(join(directory, "gone.png")));
  same(await image.bytes());
  expect(downloads).toHaveLength(2);
});

test("a file that has been moved away, with no URL behind it, is an error of the download", async () => {
  const { image } = imageOf({ base64: onePixelPng.toString("base64") });
  const file = await saveInto(image, directory, undefined);
  await rm(file);
  await expect(image.bytes()).rejects.toMatchObject({ code: "download_failed", charged: "yes" });
});

test("a download that fails for all who wait may succeed for who asks again", async () => {
  const { image, downloads } = imageOf({ url }, [broken, good]);
  const errors = await Promise.all([failureOf(image.bytes()), failureOf(image.base64())]);
  for (const error of errors) {
    expect(error).toMatchObject({ code: "download_failed", url, charged: "yes" });
  }
  expect(downloads).toHaveLength(1);
  same(await image.bytes());
  expect(downloads).toHaveLength(2);
});

test("a failed save leaves no file and no temporary one, and the next one succeeds", async () => {
  const place = join(directory, "atomic");
  const { image } = imageOf({ url }, [broken, good]);
  await expect(image.save(join(place, "a.png"))).rejects.toMatchObject({ code: "download_failed" });
  expect(await readdir(place)).toEqual([]);
  expect(image.file).toBeUndefined();
  same(await readFile(await image.save(join(place, "a.png"))));
  expect(await readdir(place)).toEqual(["a.png"]);
});

test("while a file is being written nobody sees it under its name", async () => {
  const place = join(directory, "partial");
  let names: string[] = [];
  const watching = (): AsyncIterable<Uint8Array> => ({
    async *[Symbol.asyncIterator]() {
      yield onePixelPng.subarray(0, 30);
      names = await readdir(place);
      yield onePixelPng.subarray(30);
    },
  });
  const { image } = imageOf({ url }, [watching]);
  await image.save(join(place, "whole.png"));
  expect(names).not.toContain("whole.png");
  expect(await readdir(place)).toEqual(["whole.png"]);
});

test("a save over an older file replaces it whole, and a failed one leaves it", async () => {
  const place = join(directory, "older.png");
  await writeFile(place, "older");
  const { image } = imageOf({ url }, [broken, good]);
  await failureOf(image.save(place));
  expect(await readFile(place, "utf8")).toBe("older");
  await image.save(place);
  same(await readFile(place));
});

test("a place that is a directory is an error with its cause, and nothing is left there", async () => {
  const place = join(directory, "taken");
  await mkdir(join(place, "a.png", "b"), { recursive: true });
  for (const output of [{ url }, { base64: onePixelPng.toString("base64") }]) {
    const { image } = imageOf(output, [good]);
    await expect(image.save(join(place, "a.png"))).rejects.toMatchObject({
      code: "download_failed",
      cause: { code: expect.stringMatching(/EISDIR|ENOTEMPTY|EEXIST|EPERM/) },
    });
  }
  expect(await readdir(place)).toEqual(["a.png"]);
});

test("an error page in place of the picture is no picture", async () => {
  for (const page of ["<!doctype html>", '{"error":1}', "\ufeff  <Error/>", "[]", ""]) {
    const { image } = imageOf({ url }, [() => chunksOf(Buffer.from(page))]);
    await expect(image.bytes()).rejects.toMatchObject({ code: "download_failed" });
    await expect(image.save(join(directory, "page.png"))).rejects.toMatchObject({
      code: "download_failed",
    });
  }
  expect(await readdir(directory)).not.toContain("page.png");
});

test("bytes of no known format are given as they are, and only their measuring fails", async () => {
  const { image } = imageOf({ url }, [() => chunksOf(Buffer.from([0, 1, 2, 250]))]);
  expect([...(await image.bytes())]).toEqual([0, 1, 2, 250]);
  expect((await image.blob()).type).toBe("application/octet-stream");
  await expect(image.info()).rejects.toMatchObject({
    code: "download_failed",
    message: expect.stringContaining("no PNG, JPEG, WebP, GIF, AVIF, SVG or HEIC"),
  });
});

test("a drawing is a picture: named, measured, saved, and sandboxed where it is shown", async () => {
  for (const name of ["plain.svg", "prolog.svg", "byte-order-mark.svg"]) {
    const drawing = fixture(name);
    const { image } = imageOf({ url }, [
      () => chunksOf(drawing.subarray(0, 3), drawing.subarray(3)),
    ]);
    expect(await image.info()).toEqual({
      ...{ mediaType: "image/svg+xml", width: 120, height: 80 },
      byteLength: drawing.byteLength,
    });
    expect(await saveInto(image, join(directory, name), undefined)).toMatch(/\.svg$/);
    const { headers } = await image.response();
    expect(headers.get("content-type")).toBe("image/svg+xml");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    const policy = headers.get("content-security-policy")?.split("; ");
    expect(policy).toEqual(expect.arrayContaining(["sandbox", "default-src 'none'"]));
  }
  const { image } = imageOf({ url }, [good]);
  expect((await image.response()).headers.has("content-security-policy")).toBe(false);
});

test("a known type that cannot be measured has no size, and nothing throws", async () => {
  const drawing = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 4"/>');
  for (const [bytes, mediaType] of [
    [drawing, "image/svg+xml"],
    [fixture("libheif.heic"), "image/heic"],
    [Buffer.from("RIFF\x08\0\0\0WEBPJUNK", "latin1"), "image/webp"],
  ] as const) {
    const { image } = imageOf({ base64: bytes.toString("base64") });
    const { byteLength } = bytes;
    expect(await image.info()).toEqual({
      mediaType,
      width: undefined,
      height: undefined,
      byteLength,
    });
  }
});

test("bytes are in memory of their own, wherever they come from", async () => {
  const base64 = onePixelPng.toString("base64");
  const large = Buffer.concat([onePixelPng, Buffer.alloc(100_000)]);
  const sink = new MemorySink(large.length + 500);
  large.copy(sink.reserve(large.length));
  sink.commit(large.length);
  const decoded = new DecodedImage(sink, large.length, large.subarray(0, 64));
  const view = Buffer.concat([onePixelPng, onePixelPng]).subarray(0, onePixelPng.length);
  const saved = imageOf({ url }, [good]).image;
  await saved.save(join(directory, "own.png"));
  for (const [image, expected] of [
    [imageOf({ base64 }).image, onePixelPng],
    [imageOf({ url }, [good]).image, onePixelPng],
    [imageOf({ base64: decoded }).image, large],
    [imageOf({}, [], { stored: async () => view }).image, onePixelPng],
    [imageOf({}, [], { stored: async () => new Uint8Array(view) }).image, onePixelPng],
    [saved, onePixelPng],
  ] as const) {
    const bytes = await image.bytes();
    expect(Buffer.from(bytes).equals(expected)).toBe(true);
    expect(bytes.byteOffset).toBe(0);
    expect(bytes.buffer.byteLength).toBe(bytes.byteLength);
    // Node's pool could not be handed over.
    const { buffer } = bytes;
    if (!(buffer instanceof ArrayBuffer)) throw new Error("It is shared");
    const moved = structuredClone(buffer, { transfer: [buffer] });
    expect(Buffer.from(moved).equals(expected)).toBe(true);
  }
});

test("behind the bytes of a large base64 image there is nothing but zeros", async () => {
  const large = Buffer.alloc(1_500_000, 7);
  const sink = new MemorySink(large.length + 1_000);
  sink.reserve(large.length + 1_000).fill(9);
  large.copy(sink.reserve(large.length));
  sink.commit(large.length);
  const { image } = imageOf({ base64: new DecodedImage(sink, large.length, large) });
  const bytes = await image.bytes();
  expect(Buffer.from(bytes).equals(large)).toBe(true);
  expect(bytes.byteOffset).toBe(0);
  expect(new Uint8Array(bytes.buffer, bytes.length).every((byte) => byte === 0)).toBe(true);
});

test("what is done to the bytes of a journal's image is not done to the journal's", async () => {
  const journal = memoryJournal();
  await journal.writeImage("a.0", 0, onePixelPng);
  (await journal.readImage("a.0", 0))?.fill(0);
  same((await journal.readImage("a.0", 0)) ?? new Uint8Array());
});

test("base64 is decoded without a download", async () => {
  const { image, downloads } = imageOf({ url, base64: onePixelPng.toString("base64") }, [good]);
  same(await image.bytes());
  await image.save(join(directory, "b64.png"));
  expect(downloads).toHaveLength(0);
});

const unreadable = async (): Promise<never> => {
  throw new JournalError({ provider: "trinetra", charged: "yes", detail: "EIO: i/o error, read" });
};

test("where the journal cannot be read, the picture comes from wherever else it is", async () => {
  const stored = unreadable;
  const saved = imageOf({ url }, [good]);
  const file = await saved.image.save(join(directory, "beside-a-journal.png"));
  const inFile = imageOf({}, [], { stored });
  Object.assign(inFile.image, { file });
  const inMemory = imageOf({ base64: onePixelPng.toString("base64") }, [], { stored });
  const atUrl = imageOf({ url }, [good], { stored });
  for (const { image } of [inFile, inMemory, atUrl]) {
    same(await image.bytes());
    same(await readFile(await image.save(join(directory, "had-all-the-same.png"))));
  }
  expect(atUrl.downloads).toHaveLength(1);
});

test("where nothing gives the picture, the error is the download's and names every place", async () => {
  const gone = join(directory, "never-there.png");
  const alone = imageOf({}, [], { stored: unreadable }).image;
  const error = await failureOf(alone.bytes());
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  expect(error).toHaveProperty("cause.code", "journal_failed");
  const everywhere = imageOf({ url }, [], { stored: unreadable }).image;
  Object.assign(everywhere, { file: gone });
  for (const ask of [
    () => everywhere.bytes(),
    () => everywhere.info(),
    () => everywhere.save(join(directory, "nowhere.png")),
  ]) {
    const all = await failureOf(ask());
    expect(all).toMatchObject({ code: "download_failed", charged: "yes", url, status: 500 });
    expect(all).toHaveProperty("cause.errors", [
      expect.objectContaining({ code: "journal_failed" }),
      expect.objectContaining({ code: "ENOENT", path: gone }),
      expect.objectContaining({ message: "HTTP 500", status: 500 }),
    ]);
    expect(all).toHaveProperty("message", expect.stringMatching(/EIO.*ENOENT.*HTTP 500/));
  }
  expect(await readdir(directory)).not.toContain("nowhere.png");
});

test("base64 that holds nothing is no matter where the URL serves", async () => {
  const { image } = imageOf({ url, base64: "....." }, [good]);
  same(await image.bytes());
});

test("base64 of nothing was charged, and is malformed however it is asked for", async () => {
  for (const base64 of ["", "....", "\n"]) {
    const { image } = imageOf({ base64 });
    for (const ask of [
      () => image.bytes(),
      () => image.base64(),
      () => image.blob(),
      () => image.response(),
      () => image.info(),
      () => image.save(join(directory, "nothing.png")),
      () => new Response(image.stream()).arrayBuffer(),
    ]) {
      await expect(ask()).rejects.toMatchObject({ code: "malformed_response", charged: "yes" });
    }
  }
  expect(await readdir(directory)).not.toContain("nothing.png");
});

test("neither a URL nor bytes is an error that says so", async () => {
  const { image } = imageOf({});
  await expect(image.bytes()).rejects.toMatchObject({
    code: "download_failed",
    message: expect.stringContaining("neither bytes nor a URL"),
  });
});

test.each([403, 404, 410])("a URL that answers %i is asked for afresh, once", async (status) => {
  const refreshes: unknown[] = [];
  const asked: string[] = [];
  const { image } = imageOf({ url }, [], {
    download: async (from, read) => {
      asked.push(from);
      if (from === url) throw new DownloadFault(`HTTP ${status}`, { transient: false, status });
      return read(bodyOf(good()), new LightAbortSignal());
    },
    refresh: async (signal) => {
      refreshes.push(signal);
      return "https://cdn.test/fresh.png";
    },
  });
  same(await image.bytes());
  expect(asked).toEqual([url, "https://cdn.test/fresh.png"]);
  expect(refreshes).toHaveLength(1);
  expect(image.url).toBe("https://cdn.test/fresh.png");
});

test("a URL that failed otherwise is not asked for afresh", async () => {
  let refreshed = false;
  const { image } = imageOf({ url }, [], {
    refresh: async () => {
      refreshed = true;
      return url;
    },
  });
  await expect(image.bytes()).rejects.toMatchObject({ code: "download_failed", status: 500 });
  expect(refreshed).toBe(false);
});

test("an expired URL with nothing fresh behind it is an error with its status", async () => {
  const expired = async () => {
    throw new DownloadFault("HTTP 404", { transient: false, status: 404 });
  };
  for (const refresh of [undefined, async () => undefined, async () => "https://cdn.test/2.png"]) {
    const { image } = imageOf({ url }, [], { download: expired, ...(refresh && { refresh }) });
    await expect(image.bytes()).rejects.toMatchObject({
      code: "download_failed",
      status: 404,
      charged: "yes",
    });
  }
});

test("saveTo names the file by the job and by what the bytes are, and lets go of the memory", async () => {
  const place = join(directory, "save-to");
  const { image, downloads } = imageOf({ url }, [good]);
  await image.bytes();
  const file = await saveInto(image, place, undefined);
  expect(file).toBe(join(place, "job-0-0.png"));
  await writeFile(file, Buffer.concat([onePixelPng, Buffer.from("more")]));
  expect((await image.bytes()).byteLength).toBe(onePixelPng.byteLength + 4);
  expect(downloads).toHaveLength(1);
});

test("an aborted saveTo throws the caller's own reason and leaves nothing", async () => {
  const place = join(directory, "aborted");
  const reason = new Error("mine");
  const controller = new AbortController();
  const aborting = (): AsyncIterable<Uint8Array> => ({
    async *[Symbol.asyncIterator]() {
      yield onePixelPng.subarray(0, 30);
      controller.abort(reason);
      throw new Error("torn");
    },
  });
  const { image } = imageOf({ url }, [aborting]);
  await expect(saveInto(image, place, controller.signal)).rejects.toBe(reason);
  expect(await readdir(place)).toEqual([]);
});

test("an image as JSON says where it is, not what is in it", async () => {
  const { image } = imageOf({
    url,
    base64: onePixelPng.toString("base64"),
    revisedPrompt: "a cat",
  });
  const file = await image.save(join(directory, "json.png"));
  expect(JSON.parse(JSON.stringify(image))).toEqual({ url, file, revisedPrompt: "a cat" });
});

test("a result as JSON is short: no bytes, no prompt, no raw response", async () => {
  const client = createImageClient({
    provider: openaiCompatible({ baseURL: "https://g.test/v1", apiKey: "key-0123456789" }),
    fetch: async () =>
      Response.json({ data: [{ b64_json: onePixelPng.toString("base64") }], model: "m" }),
  });
  const result = await client.generate({ prompt: "a secret garden" });
  const text = JSON.stringify(result);
  expect(Object.keys(JSON.parse(text)).sort()).toEqual(
    ["failures", "images", "job", "model", "provider", "timing", "warnings"].sort(),
  );
  expect(text).not.toContain("secret garden");
  expect(text).not.toContain("iVBOR");
  expect(text).not.toContain("raw");
  expect(result.image).toBe(result.images[0]);
  expect(result.timing.completedAt.getTime() - result.timing.submittedAt.getTime()).toBe(
    result.timing.durationMs,
  );
});

test("raw is the provider's last response for each task, and images of a result are the same objects for all", async () => {
  const client = createImageClient({
    provider: trinetra({ apiKey: "key-0123456789" }),
    poll: 0,
    fetch: async (_url, init) =>
      new Response(init?.method === "POST" ? pages.trinetra.created : pages.trinetra.succeeded),
  });
  const result = await client.generate({ prompt: "x" });
  expect(result.raw).toEqual([JSON.parse(pages.trinetra.succeeded)]);
  const again = await result.job.result();
  expect(again.image).toBe(result.image);
  expect(again.timing.polls).toBe(1);
});
