import fc from "fast-check";
import { expect, test } from "vitest";
import { beginsImage, isImageBase64, pictureIn } from "../../src/http/image-text";
import { sniff } from "../../src/media/format";
import images from "../fixtures/images.json";
import { pictureOf } from "../support/media";

const files = images.map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, "base64") }));

test("every file that has a type begins as an image does, whatever stands before an SVG's root", () => {
  const roots = ["<svg>", '<svg width="1"/>', "<svg:svg >"];
  const heads = [
    "",
    "\ufeff",
    " \n",
    '<?xml version="1.0"?>',
    "<!-- by\nhand -->",
    "<!DOCTYPE svg>",
  ];
  const vectors = roots.flatMap((root) => heads.map((head) => Buffer.from(head + root)));
  for (const bytes of [...vectors, ...files.map((each) => each.bytes)]) {
    if (sniff(bytes) === undefined) continue;
    expect([bytes.toString("latin1", 0, 40), beginsImage(bytes)]).toContain(true);
    expect(pictureIn(bytes.toString("base64"))).toEqual({ base64: bytes.toString("base64") });
  }
  expect(vectors.filter((each) => sniff(each) !== undefined).length).toBeGreaterThan(15);
});

test("pages, documents and words are no images", () => {
  const page = "<!DOCTYPE html><html><body><svg></svg>";
  const others = ["<?xml?><Error/>", "<?xml?><Error><svg></Error>", "<svgs>", "GIF8", "%PDF-1.4"];
  for (const text of [page, `<!-- a page -->${page}`, ...others]) {
    expect([text, beginsImage(Buffer.from(text))]).toEqual([text, false]);
    expect(pictureIn(Buffer.from(text).toString("base64"))).toBeUndefined();
  }
  for (const word of [
    "None",
    "undefined",
    "null",
    "NaN",
    "",
    "[object Object]",
    "data:,",
    "error",
  ]) {
    expect([word, pictureIn(word)]).toEqual([word, undefined]);
  }
});

test("what stands before an SVG's root is read in a moment, however it is made", () => {
  for (const part of ["<??>", "<!---->", "<?", "<!--", "-", "<!doctype svg>", " "]) {
    const startedAt = performance.now();
    beginsImage(Buffer.from(part.repeat(1_000)));
    expect(performance.now() - startedAt).toBeLessThan(100);
  }
});

test("any words are neither an image nor an address, and any image is one in each form", () => {
  const words = fc.string({ unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz ,:") });
  fc.assert(
    fc.property(words, (text) => {
      if (!text.includes("://")) expect(pictureIn(text)).toBeUndefined();
    }),
  );
  fc.assert(
    fc.property(fc.nat(3_000), fc.constantFrom("image/png", "image/x;a=b", ""), (length, type) => {
      const base64 = pictureOf(length + 40).toString("base64");
      expect(isImageBase64(base64)).toBe(true);
      expect(pictureIn(` ${base64}\n`)).toEqual({ base64 });
      expect(pictureIn(`data:${type};base64,${base64}`)).toEqual({ base64 });
    }),
  );
});

test("a data URL may be percent-encoded, and what is no base64 is not decoded as if it were", () => {
  const base64 = pictureOf(3_001).toString("base64");
  const encoded = `data:image/png;base64,${encodeURIComponent(base64)}`;
  expect(encoded).toContain("%2B");
  expect(pictureIn(encoded)).toEqual({ base64 });
  expect(pictureIn(encoded.replaceAll("%2B", "%2b"))).toEqual({ base64 });
  for (const junk of ["%zz", "!", "…", '"', "\0"]) {
    const text = `${base64.slice(0, 2_000)}${junk}${base64.slice(2_000)}`;
    expect([junk, pictureIn(`data:image/png;base64,${text}`)]).toEqual([junk, undefined]);
    expect([junk, pictureIn(text)]).toEqual([junk, undefined]);
  }
  const lines = base64.replace(/.{76}/g, "$&\r\n");
  expect(pictureIn(lines)).toEqual({ base64: lines });
});

test("an address is one, absolute, relative or a path, and an image's base64 with a slash is none", () => {
  for (const url of [
    "https://a.test/b",
    "//a.test/b",
    "/api/v1/files/1",
    "./a",
    "../a",
    "a/b.png?c",
  ]) {
    expect(pictureIn(url)).toEqual({ url });
  }
  const jpeg = Buffer.from("ffd8ffe000104a46494600010100000100010000", "hex").toString("base64");
  expect(jpeg.startsWith("/")).toBe(true);
  expect(pictureIn(jpeg)).toEqual({ base64: jpeg });
});
