import fc from "fast-check";
import { expect, test } from "vitest";
import { bodyOf } from "../../src/http/body";
import { readJson } from "../../src/http/json-body";
import type { JsonReading } from "../../src/http/piece-reader";
import { DecodedImage, type ImageSink, MemorySink } from "../../src/media/decoded-image";
import { pictureOf } from "../support/media";

/** What a reader makes of a stream that comes in pieces: what was shown, and what is left. */
interface Seen {
  readonly shown: readonly unknown[];
  readonly events: unknown;
  readonly body: unknown;
  readonly partials: unknown;
}

/** An event with its image as base64 again. */
async function plain(event: unknown): Promise<unknown> {
  if (typeof event !== "object" || event === null) return event;
  const entries = Object.entries(event).map(async ([name, value]) => [
    name,
    value instanceof DecodedImage ? (await value.sink.read()).toString("base64") : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

async function seenIn(
  stream: Buffer,
  cuts: readonly number[],
  createSink: () => ImageSink = () => new MemorySink(),
): Promise<Seen> {
  const places = [...cuts.filter((cut) => cut < stream.length).sort((a, b) => a - b)];
  async function* pieces() {
    let from = 0;
    for (const to of [...places, stream.length]) {
      if (to > from) yield stream.subarray(from, to);
      from = to;
    }
  }
  const shown: unknown[] = [];
  const reading: JsonReading = {
    ...{ maxBytes: 1e7, contentLength: Number.NaN, maxImageBytes: 1e6, mostImages: 2 },
    ...{ createSink, decodesImages: true, images: [] },
    isPartial: (type) => type.endsWith(".partial_image"),
    onPartial: async (event) => {
      shown.push(await plain(event));
    },
  };
  const { events = [], body, partials } = await readJson(bodyOf(pieces()), reading);
  return { shown, events: await Promise.all(events.map(plain)), body: await plain(body), partials };
}

const partialImage = pictureOf(700, 3).toString("base64");
const image = pictureOf(900).toString("base64");
const slashed = image.replaceAll("/", "\\/");

/** With and without types before the data, in several lines, with escapes, comments and every line end. */
const stream = Buffer.from(
  [
    ": welcome\r\n\r\n",
    `event: image_generation.partial_image\r\ndata: {"b64_json":"${partialImage}","n":0}\r\n\r\n`,
    `data: {"b64_json":"${partialImage}",\ndata: "type":"image_edit.partial_image","é":1}\n\n`,
    ": ping\r\r",
    `id: 7\ndata: {"type":"image_generation.completed","b64_json":"${slashed}","usage":{"a":1}}\n\n`,
    "data: [DONE]\n\n",
  ].join(""),
);

const expected: Seen = {
  shown: [
    { type: "image_generation.partial_image", b64_json: partialImage, n: 0 },
    { type: "image_edit.partial_image", b64_json: partialImage, é: 1 },
  ],
  events: [{ type: "image_generation.completed", b64_json: image, usage: { a: 1 } }],
  body: { type: "image_generation.completed", b64_json: image, usage: { a: 1 } },
  partials: 2,
};

test("a stream of pictures is read the same wherever it is cut in two", async () => {
  const whole = await seenIn(stream, []);
  expect(whole).toEqual(expected);
  const text = JSON.stringify(whole);
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const seen = await seenIn(stream, [cut]);
    // To compare texts takes a fraction of the time.
    if (JSON.stringify(seen) !== text) expect([cut, seen]).toEqual([cut, expected]);
  }
});

test("a stream of pictures is read the same in any pieces, down to single bytes", async () => {
  const every = Array.from({ length: stream.length }, (_, at) => at);
  expect(await seenIn(stream, every)).toEqual(expected);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(stream.length), { maxLength: 12 }), async (cuts) => {
      expect(await seenIn(stream, cuts)).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

test("an event is shown as soon as its last byte has come, and not at the next one's first", async () => {
  const end = stream.indexOf(": ping");
  let shownBefore = 0;
  const shown: unknown[] = [];
  async function* pieces() {
    // Byte by byte, as the worst of servers send.
    for (let at = 0; at < end; at += 1) yield stream.subarray(at, at + 1);
    shownBefore = shown.length;
    yield stream.subarray(end);
  }
  await readJson(bodyOf(pieces()), {
    ...{ maxBytes: 1e7, contentLength: Number.NaN, maxImageBytes: 1e6, mostImages: 2 },
    ...{ createSink: () => new MemorySink(), decodesImages: true, images: [] },
    isPartial: (type) => type.endsWith(".partial_image"),
    onPartial: async (event) => {
      shown.push(event);
    },
  });
  expect(shownBefore).toBe(2);
});

test("a partial image goes to no sink of the caller's where its type stands before it", async () => {
  let sinks = 0;
  const first = stream.subarray(0, stream.indexOf('data: {"b64_json"', 80));
  const { shown } = await seenIn(first, [], () => {
    sinks += 1;
    return new MemorySink();
  });
  expect([shown.length, sinks]).toEqual([1, 0]);
});
