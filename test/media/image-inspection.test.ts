import fc from "fast-check";
import sharp from "sharp";
import { expect, test } from "vitest";
import { ImageInspection } from "../../src/media/image-inspection";
import images from "../fixtures/images.json";

/** What a file is found to be, as it comes in these pieces. */
function inspected(bytes: Uint8Array, sizes: readonly number[] = [bytes.length]) {
  const inspection = new ImageInspection();
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    // Memory that is written over once it was looked at.
    const piece = Uint8Array.from(bytes.subarray(at, at + (sizes[turn % sizes.length] ?? 1)));
    at += piece.length;
    inspection.push(piece);
    piece.fill(0x5a);
  }
  inspection.end();
  const { media, isEmpty, isText, isTruncated } = inspection;
  return { mediaType: media?.mediaType, isEmpty, isText, isTruncated };
}

const noisy = (width: number, height: number, channels: 3 | 4 = 3) =>
  sharp({
    create: {
      ...{ width, height, channels, background: "#888" },
      noise: { type: "gaussian", mean: 128, sigma: 60 },
    },
  });

/** Files of every encoder of sharp's, some of them with everything that it can put into one. */
const drawn = await Promise.all(
  [
    noisy(33, 21).png(),
    noisy(33, 21).png({ progressive: true, palette: true }),
    noisy(33, 21).jpeg(),
    noisy(33, 21).jpeg({ progressive: true, optimiseScans: true }),
    noisy(33, 21).withMetadata({ orientation: 6 }).jpeg({ quality: 1 }),
    noisy(33, 21).withIccProfile("p3").webp(),
    noisy(33, 20).webp({ lossless: true }),
    noisy(33, 21).ensureAlpha(0.5).webp(),
    noisy(33, 21).gif(),
    noisy(33, 21).avif({ effort: 0 }),
    noisy(33, 21).ensureAlpha(0.5).avif({ effort: 0 }),
    noisy(33, 21).withMetadata({ orientation: 6 }).avif({ effort: 0 }),
  ].map((image) => image.toBuffer()),
);

/** Files with their ends, and nothing behind those. */
const whole = [
  ...images
    .filter(({ name }) => !/^trailing|behind-end|heic$/.test(name))
    .map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, "base64") })),
  ...drawn.map((bytes, index) => ({ name: `drawing ${index}`, bytes })),
];
/** One that ends in blanks has its end before them. */
const fileEnd = (bytes: Buffer) => bytes.toString("latin1").trimEnd().length;

test.each(whole)("$name is whole, and without its end it is not", ({ name, bytes }) => {
  expect(inspected(bytes)).toMatchObject({ isText: false, isTruncated: false });
  const end = name.endsWith("svg") ? fileEnd(bytes) : bytes.length;
  for (let length = 1; length < end; length += 1) {
    const { mediaType, isText, isTruncated } = inspected(bytes.subarray(0, length));
    // An SVG of which the first letters alone came is a text like any other.
    expect(isTruncated || (isText && mediaType === undefined), `${length} bytes`).toBe(true);
  }
});

test("what follows the end of a file is no matter", () => {
  const junk = [Buffer.from("more"), Buffer.alloc(3), Buffer.alloc(5_000, 0xff), Buffer.from([1])];
  // Behind the root of an SVG there are blanks and comments at most.
  for (const { bytes } of whole.filter(({ name }) => !name.endsWith("svg"))) {
    for (const each of junk) {
      expect(inspected(Buffer.concat([bytes, each])).isTruncated).toBe(false);
    }
  }
});

const anyBytes = fc.oneof(
  fc.constantFrom(...whole.map(({ bytes }) => bytes)),
  fc.constantFrom(...images.map(({ base64 }) => Buffer.from(base64, "base64"))),
  // Changed at random, and cut.
  fc
    .tuple(
      fc.constantFrom(...whole.map(({ bytes }) => bytes)),
      fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      fc.nat(3_000),
    )
    .map(([bytes, changes, length]) => {
      const copy = Buffer.from(bytes.subarray(0, length));
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      return copy;
    }),
  fc.uint8Array({ maxLength: 300 }),
  fc.string({ maxLength: 300 }).map((text) => Buffer.from(text)),
  fc
    .nat(6_000)
    .map((length) => Buffer.from(`<?xml version="1.0"?><!--${" ".repeat(length)}--><svg/>`)),
);

test("however a file is split, it is found to be the same", () => {
  fc.assert(
    fc.property(
      anyBytes,
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }),
      (bytes, sizes) => {
        const once = inspected(bytes);
        const { media, isEmpty, isText, isTruncated } = ImageInspection.of(bytes);
        expect({ mediaType: media?.mediaType, isEmpty, isText, isTruncated }).toEqual(once);
        expect(inspected(bytes, sizes)).toEqual(once);
        expect(inspected(bytes, [1])).toEqual(once);
      },
    ),
    { numRuns: 600 },
  );
});

test("a structure that is broken is not taken for one that ends early", () => {
  const png = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const noise = Buffer.alloc(3_000, 7);
  for (const broken of [
    Buffer.concat([png, noise]),
    Buffer.concat([drawn[0]?.subarray(0, 33) ?? png, noise]),
    Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 1, 2, 3]),
    Buffer.concat([Buffer.from("RIFF\0\0\0\0WEBP", "latin1"), noise]),
    Buffer.concat([Buffer.from("GIF89a\x01\0\x01\0\0\0\0", "latin1"), noise]),
    Buffer.concat([Buffer.from("\0\0\0\x10ftypavif\0\0\0\0", "latin1"), noise]),
    Buffer.from("\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x02meta", "latin1"),
  ]) {
    expect(inspected(broken)).toMatchObject({ mediaType: expect.any(String), isTruncated: false });
  }
});

test("words are told from pictures as soon as enough of them have come", () => {
  const inspection = new ImageInspection();
  inspection.push(Buffer.from('{"error":"no such image"}'.padEnd(60)));
  expect(inspection.isText).toBe(false);
  inspection.push(Buffer.from("more"));
  expect(inspection.isText).toBe(true);
  expect(inspected(Buffer.from("RIFF"))).toMatchObject({ isText: true });
  expect(inspected(Buffer.alloc(0))).toMatchObject({ isEmpty: true, isText: false });
  expect(inspected(Buffer.from('{"error":"gone"}'))).toMatchObject({ isText: true });
  const page = `<?xml version="1.0"?><html>${" ".repeat(5_000)}<svg/></html>`;
  expect(inspected(Buffer.from(page), [100])).toMatchObject({ isText: true });
});

/** An AVIF whose pieces lie as `iloc` says, before or behind it. */
function avifWith(iloc: readonly number[], before: number, behind: number): Buffer {
  const box = (type: string, content: readonly number[]) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(content.length + 8);
    return [...size, ...Buffer.from(type), ...content];
  };
  return Buffer.from([
    ...box("ftyp", [...Buffer.from("avif\0\0\0\0avif")]),
    ...box("mdat", Array(before).fill(1)),
    ...box("meta", [0, 0, 0, 0, ...box("iloc", iloc)]),
    ...box("mdat", Array(behind).fill(2)),
  ]);
}

test("the pieces of an AVIF are found whatever the widths of the numbers that say where they are", () => {
  const header = [0, 0, 0, 0];
  const ilocs: Record<string, [iloc: number[], end: number]> = {
    "offsets and lengths of four bytes": [
      [...header, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 120, 0, 0, 0, 10],
      130,
    ],
    "a base of eight bytes and no offset": [
      [...header, 0x04, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 125, 0, 1, 0, 0, 0, 3],
      128,
    ],
    "long ids, a method and an index": [
      [
        ...[2, 0, 0, 0, 0x44, 0x04, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0],
        ...[0, 1, 0, 0, 0, 0, 0, 0, 0, 110, 0, 0, 0, 15],
      ],
      125,
    ],
    "a piece in idat, and one in another file": [
      [
        ...[1, 0, 0, 0, 0x44, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0, 9],
        ...[0, 2, 0, 0, 0, 7, 0, 1, 0, 0, 4, 0, 0, 0, 0, 9],
        ...[0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 130, 0, 0, 0, 2],
      ],
      132,
    ],
  };
  for (const [iloc, end] of Object.values(ilocs)) {
    const bytes = avifWith(iloc, 20, 60);
    expect(bytes.length).toBeGreaterThan(end);
    for (let length = 20; length <= bytes.length; length += 1) {
      expect(inspected(bytes.subarray(0, length)).isTruncated).toBe(length < end);
    }
  }
  // What lies before the table is there once the table is.
  const early = [...header, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 20];
  const bytes = avifWith(early, 20, 0);
  expect(inspected(bytes.subarray(0, -8)).isTruncated).toBe(false);
  expect(inspected(bytes.subarray(0, -9)).isTruncated).toBe(true);
});
