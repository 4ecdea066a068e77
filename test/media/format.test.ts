import fc from "fast-check";
import sharp from "sharp";
import { expect, test } from "vitest";
import { isSignatureStart, knownMedia, sniff } from "../../src/media/format";
import { measurePng } from "../../src/media/formats/png";
import { mediaInfo } from "../../src/media/measure";
import images from "../fixtures/images.json";
import { fixture } from "../support/fixtures";

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
  expect(mediaInfo(bytes)).toEqual({ mediaType, width: 61, height: 37 });
  expect(mediaInfo(Buffer.from(bytes))).toEqual({ mediaType, width: 61, height: 37 });
});

test.each([
  ["lossless WebP", webpLossless],
  ["WebP with alpha", webpAlpha],
  ["progressive JPEG", jpegProgressive],
  ["JPEG with a colour profile", jpegProfiled],
])("a %s says its dimensions", async (_, bytes) => {
  expect(mediaInfo(bytes)).toMatchObject({ width: 61, height: 37 });
});

test("an EXIF orientation that turns the picture swaps its edges, as viewers do", async () => {
  const turned = (orientation: number) => picture().jpeg().withMetadata({ orientation }).toBuffer();
  for (const orientation of [1, 2, 3, 4]) {
    expect(mediaInfo(await turned(orientation))).toMatchObject({ width: 61, height: 37 });
  }
  for (const orientation of [5, 6, 7, 8]) {
    expect(mediaInfo(await turned(orientation))).toMatchObject({ width: 37, height: 61 });
  }
});

test("a view into a larger buffer is read as the view alone", async () => {
  const png = samples.get("png") ?? new Uint8Array();
  const surrounded = new Uint8Array(png.length + 200).fill(7);
  surrounded.set(png, 100);
  expect(mediaInfo(surrounded.subarray(100, 100 + png.length))).toMatchObject({ width: 61 });
  // The missing bytes stand right behind the view, and must not be found there.
  expect(mediaInfo(surrounded.subarray(100, 120))?.width).toBeUndefined();
  expect(mediaInfo(Buffer.from(surrounded.buffer, 100, 22))?.width).toBeUndefined();
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
  ["a page with a drawing in it", ascii("<!doctype html><svg></svg>")],
  ["another XML", ascii('<?xml version="1.0"?><!-- <svg> --><Error><svg/></Error>')],
  ["a BMP", ascii("BM000000000000000000000000000")],
  ["another RIFF", ascii("RIFF0000WAVEfmt 00000000000000")],
  ["a film", [...fourBytes(24), ...ascii("ftypisom0000isommp42")]],
  ["a JPEG's first two bytes", [0xff, 0xd8]],
  ["a signature cut short", [0x89, ...ascii("PNG\r\n")]],
])("%s is no image", async (_, bytes) => {
  expect(sniff(Uint8Array.from(bytes))).toBeUndefined();
  expect(mediaInfo(Uint8Array.from(bytes))).toBeUndefined();
});

test("AVIF and HEIC are told apart by any of their brands", () => {
  const nameOf = (brands: string) =>
    sniff(Uint8Array.from([...fourBytes(8 + brands.length), ...ascii(`ftyp${brands}`)]))?.mediaType;
  expect(nameOf("mif10000mif1miafavif")).toBe("image/avif");
  expect(nameOf("mif10000mif1heic")).toBe("image/heic");
  expect(nameOf("heix0000mif1")).toBe("image/heic");
  expect(nameOf("mif10000mif1")).toBe("image/heif");
  // Brands that stand behind the box are not its own.
  const behind = [...fourBytes(20), ...ascii("ftypmp420000isom"), ...ascii("avif")];
  expect(sniff(Uint8Array.from(behind))).toBeUndefined();
});

test("a known type whose size cannot be told is named all the same", () => {
  const cutWebp = webpLossless.subarray(0, 24);
  const zeroPng = plain(samples.get("png") ?? new Uint8Array()).fill(0, 16, 24);
  const noHeaderPng = plain(samples.get("png") ?? new Uint8Array()).fill(65, 12, 16);
  const avis = Uint8Array.from(box("ftyp", ascii("avis0000avis")));
  const foreignWebp = Uint8Array.from(ascii(`RIFF0000WEBPJUNK${"0".repeat(40)}`));
  const drawing = Uint8Array.from(ascii('<svg viewBox="0 0 10 20"/>'));
  const heic = fixture("libheif.heic");
  for (const bytes of [cutWebp, zeroPng, noHeaderPng, avis, foreignWebp, drawing, heic]) {
    const mediaType = sniff(bytes)?.mediaType;
    expect(mediaType).toMatch(/^image\//);
    expect(mediaInfo(bytes)).toEqual({ mediaType, width: undefined, height: undefined });
  }
});

test.each(images)("$name is as large as a browser shows it", ({ name, shown, base64 }) => {
  const bytes = Buffer.from(base64, "base64");
  const extension = name.slice(name.lastIndexOf(".") + 1);
  expect(sniff(bytes)).toEqual(knownMedia.find((each) => each.extension === extension));
  const [width, height] = shown ?? [];
  expect(mediaInfo(bytes)).toMatchObject({ width, height });
});

test.each(["exif-behind-frame.jpg", "exif-before-pixels.png"])(
  "over a megabyte of metadata before the size and the EXIF of %s hides neither",
  (name) => {
    const bytes = fixture(name);
    const jpegSegment = Buffer.concat([
      Buffer.from([0xff, 0xe2, 0xff, 0xff]),
      Buffer.alloc(65_533),
    ]);
    const pngChunk = Buffer.concat([
      Buffer.from([...fourBytes(1_300_000), ...ascii("prVt")]),
      Buffer.alloc(1_300_004),
    ]);
    const isPng = name.endsWith("png");
    const metadata = isPng ? pngChunk : Buffer.concat(Array(20).fill(jpegSegment));
    const at = isPng ? 33 : 2;
    const large = Buffer.concat([bytes.subarray(0, at), metadata, bytes.subarray(at)]);
    expect(mediaInfo(large)).toMatchObject({ width: 16, height: 24 });
  },
);

test("a frame of every kind says the size of a JPEG, and a table between them does not", () => {
  const baseline = fixture("base.jpg");
  const at = baseline.indexOf(Buffer.from([0xff, 0xc0])) + 1;
  for (let code = 0xc0; code <= 0xcf; code += 1) {
    const bytes = Buffer.from(baseline);
    bytes[at] = code;
    const isTable = code === 0xc4 || code === 0xc8 || code === 0xcc;
    expect(mediaInfo(bytes)?.width).toBe(isTable ? undefined : 24);
  }
});

test("what is broken behind a PNG's size leaves the size", () => {
  const bytes = Buffer.alloc(60, 1);
  plain(samples.get("png") ?? new Uint8Array())
    .subarray(0, 33)
    .forEach((byte, at) => {
      bytes[at] = byte;
    });
  expect(measurePng(bytes)).toEqual({ width: 61, height: 37 });
});

test("an SVG's size is that of its own root alone, and only where both edges are lengths", () => {
  const sizeOf = (text: string) => {
    const { width, height } = mediaInfo(Buffer.from(text)) ?? {};
    return width === undefined ? undefined : [width, height];
  };
  expect(sizeOf('<svg width="10" height="20"/>')).toEqual([10, 20]);
  expect(sizeOf('<svg title=">" data-width="1" height="20" width="10">')).toEqual([10, 20]);
  expect(sizeOf('<svg title=\'a width="1" height="2"\'/>')).toBeUndefined();
  expect(sizeOf('<svg><svg width="10" height="20"/></svg>')).toBeUndefined();
  for (const width of ["100%", "10em", "auto", "-5", "0", "0.4", "calc(1px)", "&#49;0", ""]) {
    expect(sizeOf(`<svg width="${width}" height="20"/>`)).toBeUndefined();
  }
  expect(sizeOf('<svg width="10" height="20"')).toBeUndefined();
  const comment = `<!--${"-> ".repeat(200)}-->`;
  expect(sizeOf(`\ufeff<?xml version="1.0"?>${comment}<svg width="10" height="20"/>`)).toEqual([
    10, 20,
  ]);
});

test("the beginning of a signature is known, and nothing else is taken for one", () => {
  for (const bytes of everySample) {
    for (let length = 1; length <= 20; length += 1) {
      const head = bytes.subarray(0, length);
      expect(isSignatureStart(head) || sniff(head) !== undefined).toBe(true);
    }
  }
  for (const bytes of [[], [1], [0, 1], ascii("<svg"), ascii("RIFF0000WAVE"), ascii("GIFT")]) {
    expect(isSignatureStart(Uint8Array.from(bytes))).toBe(false);
  }
});

test("of an AVIF's pictures the primary one counts, whichever is the largest", () => {
  const extent = (width: number, height: number) =>
    box("ispe", [0, 0, 0, 0, ...fourBytes(width), ...fourBytes(height)]);
  const properties = box("ipco", [...extent(16, 16), ...extent(64, 48), ...extent(8, 8)]);
  const short = (value: number) => [value >> 8, value & 255];
  const associations = (wide: boolean) =>
    box("ipma", [
      ...[wide ? 1 : 0, 0, 0, wide ? 1 : 0, ...fourBytes(3)],
      ...[1, 2, 3].flatMap((id) => [
        ...(wide ? fourBytes(id) : short(id)),
        ...[1, ...(wide ? short(0x8000 | id) : [0x80 | id])],
      ]),
    ]);
  for (const wide of [false, true]) {
    for (const [id, width, height] of [
      [1, 16, 16],
      [3, 8, 8],
    ] as const) {
      const primary = box("pitm", [wide ? 1 : 0, 0, 0, 0, ...(wide ? fourBytes(id) : short(id))]);
      const bytes = Uint8Array.from([
        ...box("ftyp", ascii("avif0000avif")),
        ...box("meta", [
          0,
          0,
          0,
          0,
          ...primary,
          ...box("iprp", [...properties, ...associations(wide)]),
        ]),
      ]);
      expect(mediaInfo(bytes)).toEqual({ mediaType: "image/avif", width, height });
    }
  }
});

test("every truncation is read right or not at all", () => {
  const fixtures = images
    .filter(({ name }) => !/heic$|frames|svg$/.test(name))
    .map(({ base64 }) => plain(Buffer.from(base64, "base64")));
  for (const bytes of [...everySample, ...fixtures]) {
    const whole = mediaInfo(bytes);
    const unsized = { mediaType: whole?.mediaType, width: undefined, height: undefined };
    for (let length = 0; length < bytes.length; length++) {
      const read = mediaInfo(bytes.slice(0, length));
      if (read !== undefined) expect([unsized, whole]).toContainEqual(read);
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
      const info = mediaInfo(bytes);
      if (!info) return;
      expect(info.mediaType).toBe(sniff(bytes)?.mediaType);
      for (const edge of [info.width, info.height]) {
        expect(edge === undefined || (Number.isSafeInteger(edge) && edge > 0)).toBe(true);
      }
      expect(info.width === undefined).toBe(info.height === undefined);
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
const box4 = (type: string) => [0, 0, 0, 0, ...ascii(type), 0, 0, 0, 0];

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
  ["a JPEG of stuffed bytes", repeated([0xff, 0xd8, 0xff, 0xe0, 0, 2], [0xff, 0], SIZE)],
  ["a PNG of empty chunks", repeated(ascii("\x89PNG\r\n\x1a\n"), box4("tEXt"), SIZE)],
  ["a GIF of empty extensions", repeated(ascii("GIF89a\x01\0\x01\0\0\0\0"), [0x21, 1, 0], SIZE)],
  ["an SVG of open quotes", repeated(ascii("<svg "), ascii("\"'"), SIZE)],
  ["an SVG of letters", repeated(ascii("<svg "), ascii("a"), SIZE)],
  ["an SVG of comments", repeated(ascii("<!--"), ascii("--><!--"), SIZE)],
  ["a document type of quotes", repeated(ascii("<!DOCTYPE svg "), ascii("'\""), SIZE)],
])("%s takes no time to speak of", async (_, bytes) => {
  const start = performance.now();
  mediaInfo(bytes);
  // Tens of milliseconds in truth, and minutes if each byte looked at all that follow.
  expect(performance.now() - start).toBeLessThan(10_000);
});
