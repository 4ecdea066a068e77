import { mkdtemp, readdir, readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { type ImageEvent, memoryJournal, openaiCompatible } from "../../src/index";
import { TestClock } from "../support/clock";
import { directory, useDirectory } from "../support/directory";
import { fixture } from "../support/fixtures";
import { sendJson, startServer, type TestServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";

useDirectory();

const emptyPlace = () => mkdtemp(join(directory, "place-"));

/** The pieces of each response to a download, in order; then those of the last again. */
type Answers = readonly (readonly Uint8Array[])[];

/** Creates answer with an image at a URL, whose downloads have no length and end politely. */
async function startDownloads(answers: Answers, data?: (url: string) => object[]) {
  let downloads = 0;
  const server: TestServer = await startServer(async ({ method }, response) => {
    const url = `${server.url}/image`;
    if (method === "POST") return sendJson(response, { data: data?.(url) ?? [{ url }] });
    const pieces = answers[Math.min(downloads, answers.length - 1)] ?? [];
    downloads += 1;
    return sendPieces(response, pieces);
  });
  return Object.assign(server, { downloads: () => downloads });
}

async function sendPieces(response: ServerResponse, pieces: readonly Uint8Array[]): Promise<void> {
  response.flushHeaders();
  for (const piece of pieces) {
    response.write(piece);
    // So that each is a piece of its own where it arrives.
    if (pieces.length > 1) await pause(10);
  }
  response.end();
}

function clientOf({ url }: TestServer, options: Partial<ImageClientOptions> = {}) {
  const provider = openaiCompatible({ baseURL: url, apiKey: "sk-of-the-test" });
  return new ProviderClient({ provider, ...options }, new TestClock());
}

const creates = ({ requests }: TestServer) => requests.filter(({ method }) => method === "POST");
const same = (given: Uint8Array, expected: Buffer) =>
  expect(Buffer.from(given).equals(expected)).toBe(true);

const formats = ["base.png", "progressive.jpg", "lossy.webp", "animated.gif", "plain.avif"];
const png = fixture("base.png");
const cut = png.subarray(0, -20);

test.each([...formats, "plain.svg"])(
  "a download of %s that breaks off politely is fetched again, into memory and onto the disk",
  async (name) => {
    const whole = fixture(name);
    const broken = whole.subarray(0, -15);
    await using server = await startDownloads([[broken], [whole], [broken], [whole]]);
    const read = await clientOf(server).generate({ prompt });
    const retries: ImageEvent[] = [];
    same(await read.image.bytes(), whole);
    expect(read.warnings).toEqual([]);
    expect(server.downloads()).toBe(2);
    const place = await emptyPlace();
    const onEvent = (event: ImageEvent) => {
      if (event.type === "retry") retries.push(event);
    };
    const saved = await clientOf(server, { onEvent }).generate({ prompt }, { saveTo: place });
    expect(await readdir(place)).toEqual([saved.image.file?.slice(place.length + 1)]);
    expect(saved.image.file?.slice(-4)).toBe(name.slice(-4));
    same(await readFile(saved.image.file ?? ""), whole);
    expect(saved.warnings).toEqual([]);
    expect(server.downloads()).toBe(4);
    expect(retries).toMatchObject([
      { phase: "download", reason: `The file ends early, after ${broken.length} bytes` },
    ]);
  },
);

test("a download that is the same twice is delivered with a warning, wherever it goes", async () => {
  await using server = await startDownloads([[cut]]);
  const read = await clientOf(server).generate({ prompt });
  expect(read.warnings).toEqual([]);
  same(await read.image.bytes(), cut);
  expect(server.downloads()).toBe(2);
  expect(read.warnings).toEqual([expect.stringContaining("ends early")]);
  expect(read.toJSON().warnings).toEqual(read.warnings);
  expect(read.image.warnings).toEqual(read.warnings);

  const place = await emptyPlace();
  const saved = await clientOf(server).generate({ prompt }, { saveTo: place });
  expect(server.downloads()).toBe(4);
  expect(saved.warnings).toEqual([expect.stringContaining("ends early")]);
  same(await readFile(saved.image.file ?? ""), cut);
  expect(await readdir(place)).toHaveLength(1);

  const kept = await clientOf(server, { journal: memoryJournal() }).generate({ prompt });
  expect(server.downloads()).toBe(6);
  same(await kept.image.bytes(), cut);
  expect(kept.warnings).toEqual([expect.stringContaining("ends early")]);
  expect(server.downloads()).toBe(6);
});

test("the same bytes count as such also with another attempt between them", async () => {
  await using server = await startDownloads([[cut], [png.subarray(0, 50)], [cut]]);
  const { image, warnings } = await clientOf(server).generate({ prompt });
  same(await image.bytes(), cut);
  expect(server.downloads()).toBe(3);
  expect(warnings).toEqual([]);
  expect(image.warnings).toHaveLength(1);
});

test("a download that breaks off elsewhere each time is an error, charged, and leaves no file", async () => {
  const answers = [60, 70, 80, 90, 100].map((length) => [png.subarray(0, length)]);
  await using server = await startDownloads(answers);
  const place = await emptyPlace();
  const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
  expect(error).toMatchObject({ code: "download_failed", charged: "yes", retryable: false });
  expect(error.message).toContain("ends early, after 100 bytes");
  expect(await readdir(place)).toEqual([]);
  expect(server.downloads()).toBe(5);
  expect(creates(server)).toHaveLength(1);
  // The URL still serves: whoever asks again hears that there is no more.
  const { image, warnings } = (await error.job?.result({ saveTo: place })) ?? {};
  same((await image?.bytes()) ?? new Uint8Array(), png.subarray(0, 100));
  expect(warnings).toHaveLength(1);
});

test("bytes behind the end are kept, and are no reason to fetch anything again", async () => {
  for (const name of ["png", "jpg", "webp", "gif", "avif"]) {
    const trailing = fixture(`trailing.${name}`);
    await using server = await startDownloads([[trailing]]);
    const { image, warnings } = await clientOf(server).generate({ prompt });
    same(await image.bytes(), trailing);
    expect(server.downloads()).toBe(1);
    expect(warnings).toEqual([]);
  }
});

test.each([...formats, "prolog.svg"])(
  "%s is known by save() and saveTo however few bytes come first",
  async (name) => {
    const whole = fixture(name);
    for (const first of [1, 4, 13]) {
      const pieces = [whole.subarray(0, first), whole.subarray(first)];
      await using server = await startDownloads([pieces]);
      const place = await emptyPlace();
      const { image } = await clientOf(server).generate({ prompt }, { saveTo: place });
      expect(image.file?.slice(-4)).toBe(name.slice(-4));
      const again = await clientOf(server).generate({ prompt });
      same(await readFile(await again.image.save(join(place, "saved"))), whole);
      expect(server.downloads()).toBe(2);
    }
  },
);

test("a page in place of the picture is no image, however few bytes of it come first", async () => {
  const page = Buffer.from(`<!doctype html>${" ".repeat(200)}<svg></svg>`);
  await using server = await startDownloads([[page.subarray(0, 3), page.subarray(3)]]);
  const place = await emptyPlace();
  const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
  expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
  expect(await readdir(place)).toEqual([]);
});

/** A PNG that is longer than what is decoded on its way. */
const large = Buffer.concat([
  png.subarray(0, 33),
  Buffer.from("\0\x03\x0d\x40prVt", "latin1"),
  Buffer.alloc(200_000 + 4, 7),
  png.subarray(33),
]);

test.each([
  ["a small", png],
  ["a large", large],
])("%s base64 image that ends early is an error, charged, with what came", async (_, whole) => {
  const part = whole.subarray(0, -12);
  const answers = [{ b64_json: part.toString("base64") }];
  await using server = await startDownloads([], () => answers);
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "yes", retryable: false });
  expect(error.message).toContain("ends early");
  expect(error.images).toHaveLength(1);
  same((await error.images?.[0]?.bytes()) ?? new Uint8Array(), part);
  expect(creates(server)).toHaveLength(1);
  const again = await failureOf(error.job?.result() ?? Promise.resolve());
  expect(again).toMatchObject({ code: "malformed_response", charged: "yes" });

  // Whole files only are where the caller wants them; what came is to be had all the same.
  const place = await emptyPlace();
  const unsaved = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
  expect(unsaved).toMatchObject({ code: "malformed_response", charged: "yes" });
  expect(await readdir(place)).toEqual([]);
  const [image] = unsaved.images ?? [];
  same(await readFile((await image?.save(join(place, "part.png"))) ?? ""), part);
  same((await image?.bytes()) ?? new Uint8Array(), part);
});

test("of several base64 images those that are whole are delivered", async () => {
  const data = [large.subarray(0, -12), large, png.subarray(0, -12), png].map((bytes) => ({
    b64_json: bytes.toString("base64"),
  }));
  await using server = await startDownloads([], () => data);
  const place = await emptyPlace();
  const result = await clientOf(server).generate({ prompt, n: 4 }, { saveTo: place });
  expect(result.images).toHaveLength(2);
  same(await result.image.bytes(), large);
  expect(result.failures).toMatchObject([
    { code: "malformed_response", charged: "yes", images: [{}] },
    { code: "malformed_response", charged: "yes", images: [{}] },
  ]);
  expect(await readdir(place)).toHaveLength(2);
});

test("where a URL stands beside a base64 image that ends early, the URL is used", async () => {
  for (const whole of [png, large]) {
    const b64_json = whole.subarray(0, -12).toString("base64");
    await using server = await startDownloads([[whole]], (url) => [{ b64_json, url }]);
    const place = await emptyPlace();
    const { image } = await clientOf(server).generate({ prompt }, { saveTo: place });
    same(await image.bytes(), whole);
    expect(server.downloads()).toBe(1);
    expect(await readdir(place)).toHaveLength(1);
  }
});

test("what came in base64 is on the error where the URL beside it gives nothing", async () => {
  for (const whole of [png, large]) {
    const part = whole.subarray(0, -12);
    const data = [{ b64_json: part.toString("base64"), url: "http://127.0.0.1:1/gone.png" }];
    await using server = await startDownloads([], () => data);
    const place = await emptyPlace();
    const error = await failureOf(clientOf(server).generate({ prompt }, { saveTo: place }));
    expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
    same((await error.images?.[0]?.bytes()) ?? new Uint8Array(), part);
    expect(await readdir(place)).toEqual([]);
  }
});

test("a journal keeps what came of a base64 image that ends early", async () => {
  for (const whole of [png, large]) {
    const part = whole.subarray(0, -12);
    await using server = await startDownloads([], () => [{ b64_json: part.toString("base64") }]);
    const journal = memoryJournal();
    const place = await emptyPlace();
    const error = await failureOf(
      clientOf(server, { journal }).generate({ prompt }, { saveTo: place }),
    );
    expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
    same((await error.images?.[0]?.bytes()) ?? new Uint8Array(), part);
    expect(await readdir(place)).toEqual([]);
    // Another process has what came, and hears that it is not all.
    for await (const job of clientOf(server, { journal }).recover()) {
      const { image } = await job.result();
      same(await image.bytes(), part);
      expect(image.warnings).toEqual([expect.stringContaining("ends early")]);
    }
    expect(creates(server)).toHaveLength(1);
  }
});

test("an input that breaks off politely is fetched again, and is taken as it is where it is all there is", async () => {
  const sent: string[] = [];
  let downloads = 0;
  await using server = await startServer(async ({ method, body }, response) => {
    if (method === "POST") {
      sent.push(body);
      return sendJson(response, { data: [{ b64_json: png.toString("base64") }] });
    }
    downloads += 1;
    return sendPieces(response, [downloads === 2 ? png : cut]);
  });
  const images = [`${server.url}/input.png`];
  await clientOf(server).edit({ prompt, images });
  expect(downloads).toBe(2);
  expect(sent[0]).toContain("IEND");
  await clientOf(server).edit({ prompt, images });
  expect(downloads).toBe(4);
  expect(sent[1]).not.toContain("IEND");
});
