import fc from "fast-check";
import sharp from "sharp";
import { expect, test } from "vitest";
import { mediaInfo, sniff } from "../src/media";

const FORMATS = ["png", "jpeg", "webp", "gif", "avif"] as const;

const picture = (width = 61, height = 37) =>
  sharp({ create: { width, height, channels: 3, background: "#c45" } });

/** A copy that no pool stands behind. */
const plain = (bytes: Uint8Array) => new Uint8Array(bytes);

const samples = new Map(
  await Promise.all(
    FORMATS.map(
      async (format) => [format, plain(await picture().toFormat(format).toBuffer())] as const,
    ),
  ),
);
const webpLossless = plain(await picture().webp({ lossless: true }).toBuffer());
const webpAlpha = plain(await picture().ensureAlpha(0.5).webp().toBuffer());
const jpegProgressive = plain(await picture().jpeg({ progressive: true }).toBuffer());
const jpegProfiled = plain(await picture().withIccProfile("p3").jpeg().toBuffer());
const everySample = [...samples.values(), webpLossless, webpAlpha, jpegProgressive, jpegProfiled];

const fourBytes = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
const ascii = (text: string) => [...text].map((character) => character.charCodeAt(0));
const box = (name: string, content: readonly number[]) => [
  ...fourBytes(content.length + 8),
  ...ascii(name),
  ...content,
];

test.each(FORMATS)("a real %s says its type and dimensions", async (format) => {
  const bytes = samples.get(format) ?? new Uint8Array();
  const mediaType = `image/${format}`;
  expect(sniff(bytes)).toEqual({ mediaType, extension: format === "jpeg" ? "jpg" : format });
  expect(await mediaInfo(bytes)).toEqual({ mediaType, width: 61, height: 37 });
  expect(await mediaInfo(Buffer.from(bytes))).toEqual({ mediaType, width: 61, height: 37 });
});

test.each([
  ["lossless WebP", webpLossless],
  ["WebP with alpha", webpAlpha],
  ["progressive JPEG", jpegProgressive],
  ["JPEG with a colour profile", jpegProfiled],
])("a %s says its dimensions", async (_, bytes) => {
  expect(await mediaInfo(bytes)).toMatchObject({ width: 61, height: 37 });
});

test("an EXIF orientation that turns the picture swaps its edges, as viewers do", async () => {
  const turned = (orientation: number) => picture().jpeg().withMetadata({ orientation }).toBuffer();
  for (const orientation of [1, 2, 3, 4]) {
    expect(await mediaInfo(await turned(orientation))).toMatchObject({ width: 61, height: 37 });
  }
  for (const orientation of [5, 6, 7, 8]) {
    expect(await mediaInfo(await turned(orientation))).toMatchObject({ width: 37, height: 61 });
  }
});

test("a view into a larger buffer is read as the view alone", async () => {
  const png = samples.get("png") ?? new Uint8Array();
  const surrounded = new Uint8Array(png.length + 200).fill(7);
  surrounded.set(png, 100);
  expect(await mediaInfo(surrounded.subarray(100, 100 + png.length))).toMatchObject({ width: 61 });
  // The missing bytes stand right behind the view, and must not be found there.
  expect(await mediaInfo(surrounded.subarray(100, 120))).toBeUndefined();
  expect(await mediaInfo(Buffer.from(surrounded.buffer, 100, 22))).toBeUndefined();
});

test("the signature alone is enough to sniff", () => {
  for (const bytes of everySample) expect(sniff(bytes.subarray(0, 16))).toEqual(sniff(bytes));
  expect(sniff(Uint8Array.from([...fourBytes(24), ...ascii("ftypavis")]))).toMatchObject({
    extension: "avif",
  });
  expect(sniff(Uint8Array.from(ascii("GIF87a")))).toMatchObject({ extension: "gif" });
});

test.each([
  ["nothing", []],
  ["JSON", ascii('{"error":"no such image"}')],
  ["an SVG", ascii('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')],
  ["a BMP", ascii("BM000000000000000000000000000")],
  ["another RIFF", ascii("RIFF0000WAVEfmt 00000000000000")],
  ["a HEIC", [...fourBytes(24), ...ascii("ftypheic0000mif1heic")]],
  ["a JPEG's first two bytes", [0xff, 0xd8]],
  ["a signature cut short", [0x89, ...ascii("PNG\r\n")]],
])("%s is none of the five formats", async (_, bytes) => {
  expect(sniff(Uint8Array.from(bytes))).toBeUndefined();
  expect(await mediaInfo(Uint8Array.from(bytes))).toBeUndefined();
});

test("a type without dimensions has no info", async () => {
  const cutWebp = webpLossless.subarray(0, 24);
  const zeroPng = plain(samples.get("png") ?? new Uint8Array()).fill(0, 16, 24);
  const noHeaderPng = plain(samples.get("png") ?? new Uint8Array()).fill(65, 12, 16);
  const avis = Uint8Array.from(box("ftyp", ascii("avis0000avis")));
  const foreignWebp = Uint8Array.from(ascii(`RIFF0000WEBPJUNK${"0".repeat(40)}`));
  for (const bytes of [cutWebp, zeroPng, noHeaderPng, avis, foreignWebp]) {
    expect(sniff(bytes)).toBeDefined();
    expect(await mediaInfo(bytes)).toBeUndefined();
  }
});

test("the largest of an AVIF's pictures counts", async () => {
  const extent = (width: number, height: number) =>
    box("ispe", [0, 0, 0, 0, ...fourBytes(width), ...fourBytes(height)]);
  const properties = box("ipco", [...extent(16, 16), ...extent(64, 48), ...extent(8, 8)]);
  const bytes = Uint8Array.from([
    ...box("ftyp", ascii("avif0000avif")),
    ...box("meta", [0, 0, 0, 0, ...box("iprp", properties)]),
  ]);
  expect(await mediaInfo(bytes)).toEqual({ mediaType: "image/avif", width: 64, height: 48 });
});

test("every truncation is read right or not at all", async () => {
  for (const bytes of everySample) {
    const whole = await mediaInfo(bytes);
    expect(whole).toBeDefined();
    for (let length = 0; length < bytes.length; length++) {
      expect([undefined, whole]).toContainEqual(await mediaInfo(bytes.slice(0, length)));
    }
  }
});

const mutated = fc
  .tuple(
    fc.constantFrom(...everySample),
    fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }),
    fc.nat(800),
  )
  .map(([bytes, changes, length]) => {
    const copy = bytes.slice(0, Math.max(length, 12));
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return copy;
  });

test("random bytes, and images with random bytes in them, never throw and never say nonsense", async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), async (bytes) => {
      const info = await mediaInfo(bytes);
      if (!info) return;
      expect(info.mediaType).toBe(sniff(bytes)?.mediaType);
      expect(Number.isSafeInteger(info.width) && info.width > 0).toBe(true);
      expect(Number.isSafeInteger(info.height) && info.height > 0).toBe(true);
    }),
    { numRuns: 3000 },
  );
});

const repeated = (start: readonly number[], part: readonly number[], length: number) => {
  const bytes = new Uint8Array(length);
  bytes.set(start);
  for (let at = start.length; at + part.length <= length; at += part.length) bytes.set(part, at);
  return bytes;
};
const insideAvif = (length: number) => {
  const header = (name: string, size: number) => [...fourBytes(size), ...ascii(name)];
  return [
    ...box("ftyp", ascii("avif0000")),
    ...header("meta", length - 16),
    ...[0, 0, 0, 0],
    ...header("iprp", length - 28),
    ...header("ipco", length - 36),
  ];
};
const ispe = box("ispe", [0, 0, 0, 0, ...fourBytes(1), ...fourBytes(1)]);
const SIZE = 20_000_000;

test.each([
  ["a JPEG of zeros", repeated([0xff, 0xd8, 0xff, 0xe0], [0], SIZE)],
  ["a JPEG of markers", repeated([0xff, 0xd8, 0xff, 0xe1], [0, 2, 0xff, 0xe1], SIZE)],
  [
    "a JPEG of EXIF blocks",
    repeated(
      [0xff, 0xd8, 0xff, 0xe1],
      [0, 24, ...ascii("Exif\0\0MM"), ...Array(14).fill(255)],
      SIZE,
    ),
  ],
  ["an AVIF of endless extents", repeated(insideAvif(SIZE), ispe, SIZE)],
  ["an AVIF of as many extents as are looked at", repeated(insideAvif(65_536), ispe, 65_536)],
])("%s takes no time to speak of", async (_, bytes) => {
  const start = performance.now();
  await mediaInfo(bytes);
  // Tens of milliseconds in truth. Without the limits the AVIF alone takes image-size six seconds
  // for one megabyte, and four times that for two.
  expect(performance.now() - start).toBeLessThan(2000);
});
