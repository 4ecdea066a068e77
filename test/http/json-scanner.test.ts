import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Body, bodyOf } from "../../src/http/body";
import { readJson } from "../../src/http/json-body";
import { JsonScanner } from "../../src/http/json-scanner";
import { parseJson } from "../../src/http/parse-json";
import { DecodedImage, MemorySink } from "../../src/media/decoded-image";
import { pictureOf } from "../support/media";
import { reasonOf } from "../support/stage";

/** A document with its images as the strings that they were. */
async function plain(value: unknown): Promise<unknown> {
  if (value instanceof DecodedImage) return (await value.sink.read()).toString("base64");
  if (Array.isArray(value)) return Promise.all(value.map(plain));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    await Promise.all(entries.map(async ([key, each]) => [key, await plain(each)])),
  );
}

async function scanned(document: string | Buffer, cuts: readonly number[] = []): Promise<unknown> {
  const bytes = Buffer.from(document);
  const scanner = new JsonScanner(() => new MemorySink());
  const ends = [...cuts.filter((cut) => cut <= bytes.length).sort((a, b) => a - b), bytes.length];
  let start = 0;
  for (const end of ends) {
    const lent = Buffer.from(bytes.subarray(start, end));
    const isReady = scanner.write(lent);
    // It is somebody else's again.
    lent.fill("?");
    await isReady;
    start = end;
  }
  return scanner.end();
}

/** What both make of a document: a value, or the name of the error. */
async function same(document: string | Buffer, cuts: readonly number[] = []): Promise<void> {
  const text = Buffer.from(document).toString("utf8");
  let expected: unknown;
  try {
    expected = { value: parseJson(text) };
  } catch (error) {
    expected = { error: error instanceof Error ? error.name : "" };
  }
  const actual = await scanned(document, cuts).then(
    async (value) => ({ value: await plain(value) }),
    (error: unknown) => ({ error: error instanceof Error ? error.name : "" }),
  );
  expect(actual).toEqual(expected);
}

const unlimited = {
  ...{ maxBytes: 1e6, contentLength: Number.NaN, maxImageBytes: 1e6, mostImages: 10 },
  ...{ createSink: () => new MemorySink(), decodesImages: true, isPartial: undefined },
};

const image = pictureOf(2_000);
const base64 = image.toString("base64");

test("the base64 of an image comes as the image's bytes", async () => {
  for (const length of [900, 901, 902, 65_536, 300_001]) {
    const bytes = pictureOf(length);
    const document = JSON.stringify({ data: [{ b64_json: bytes.toString("base64"), n: 1 }] });
    const found: unknown = await scanned(document, [1_000, 5_000, 70_000]);
    expect(found).toMatchObject({ data: [{ b64_json: expect.any(DecodedImage), n: 1 }] });
    expect(await plain(found)).toEqual(JSON.parse(document));
  }
});

test("a document is the same wherever it is cut in two", async () => {
  const slashed = base64.replaceAll("/", "\\/").replaceAll("+", "\\u002b");
  const documents = [
    `{"created":1,"data":[{"b64_json":"${base64}","revised_prompt":"a \\"cat\\" \\u00e9 é"}]}`,
    ` { "data" : [ { "b64_json" : "${slashed}" } ] , "b" : "\\\\" } `,
    `["${base64}","${pictureOf(1_001, 7).toString("base64")}","${"x".repeat(1_500)}"]`,
    `{"url":"data:image\\/png;base64,${slashed}"}`,
  ];
  for (const document of documents) {
    const { length } = Buffer.from(document);
    const isImage = JSON.stringify(await scanned(document)).includes("<an image of ");
    expect(isImage).toBe(true);
    if (document.startsWith('{"url"')) continue;
    for (let cut = 0; cut <= length; cut += 1) await same(document, [cut]);
  }
});

test("a data URL is an image too, without its head", async () => {
  for (const head of ["data:image/png;base64,", "data:image\\/png;base64,", "data:;base64,"]) {
    const document = `{"url":"${head}${base64.replaceAll("/", "\\/")}"}`;
    for (const cut of [5, 12, 20, 33, 900, 1_100]) {
      expect(await plain(await scanned(document, [cut]))).toEqual({ url: base64 });
    }
  }
});

test("what is no head of a data URL in JSON is refused as JSON.parse refuses it", async () => {
  for (const head of [
    "data:\n;base64,",
    "data:\\q;base64,",
    "data:\\u12;base64,",
    "data:\t;base64,",
  ]) {
    const document = `["${head}${base64}"]`;
    for (const cut of [3, 9, 17, 1_500]) await same(document, [cut]);
  }
});

test("a long text is no image, and reserves nothing", async () => {
  let sinks = 0;
  const scanner = new JsonScanner(() => {
    sinks += 1;
    return new MemorySink();
  });
  const texts = ["a prompt ".repeat(300), "A".repeat(5_000), "\\u0041".repeat(900)];
  const document = `["${texts.join('","')}"]`;
  scanner.write(Buffer.from(document));
  expect(await scanner.end()).toEqual(JSON.parse(document));
  expect(sinks).toBe(0);
});

test("any document in any pieces is what JSON.parse makes of it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.json({ maxDepth: 4 }),
      fc.array(fc.nat(300), { maxLength: 6 }),
      async (document, cuts) => same(document, cuts),
    ),
    { numRuns: 500 },
  );
});

test("any document with long strings of all kinds is what JSON.parse makes of it", async () => {
  const odd = fc.constantFrom(
    '"',
    "\\",
    "\\/",
    "\\n",
    "\\u0041",
    "\\u",
    "é",
    "\0",
    "=",
    "-",
    "_",
    "*",
  );
  const long = fc
    .tuple(fc.nat(1_500), odd, fc.constantFrom(base64, "A".repeat(1_600), ` ${base64}`))
    .map(([at, what, text]) => text.slice(0, at) + what + text.slice(at));
  const whole = fc.constantFrom(base64, base64.slice(0, -1), `${base64}=`, `${base64}AAAA`);
  const strings = fc.array(fc.oneof(long, whole, fc.string()), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      strings,
      fc.array(fc.nat(9_000), { maxLength: 5 }),
      fc.constantFrom(...["[", '{"a":', ""]),
      async (contents, cuts, opening) => {
        const list = contents.map((each) => `"${each}"`).join(opening === "" ? " " : ",");
        await same(opening === "[" ? `[${list}]` : `${opening}${list}}`, cuts);
      },
    ),
    { numRuns: 300 },
  );
});

test("a document that breaks off at any place is refused as JSON.parse refuses it", async () => {
  const document = `{"data":[{"b64_json":"${base64.replaceAll("/", "\\/")}"}],"n":1}`;
  for (let length = 0; length < document.length; length += 1) {
    await same(document.slice(0, length), [length - 3]);
  }
});

test("an image may be the name of a field, and of two fields with one name the last counts", async () => {
  const other = pictureOf(1_100, 3).toString("base64");
  await same(`{"${base64}":1}`);
  await same(`{"a":"${base64}","a":"${other}"}`);
  await same(`{"a":"${base64}","a":2,"b":["${other}"],"${other}":"${base64}"}`);
});

test("what a lenient decoder takes for base64 comes back as the string that it was", async () => {
  const lines = base64.replace(/.{76}/g, "$&\\r\\n");
  const url = base64.replaceAll("+", "-").replaceAll("/", "_");
  for (const text of [lines, url, `${base64}=`, base64.slice(0, -1), `${base64.slice(0, -1)}.`]) {
    await same(`{"a":"${text}"}`, [700, 1_300]);
  }
  const unpadded = pictureOf(1_000).toString("base64").replace(/=+$/, "");
  await same(`["${unpadded}"]`);
  // Bits that nobody needs before the padding.
  await same(`["${pictureOf(1_000).toString("base64").replace(/.==$/, "B==")}"]`);
});

test("base64 that is no image stays a string", async () => {
  const noise = Buffer.from("just words ".repeat(200)).toString("base64");
  expect(await scanned(`["${noise}"]`)).toEqual([noise]);
});

test("a broken document hands over the images that were whole", async () => {
  const second = pictureOf(1_500, 9).toString("base64");
  const document = `{"data":[{"b64_json":"${base64}"},{"b64_json":"${second}"}]}`;
  const cutAt = document.indexOf(second) + 602;
  for (const broken of [document.slice(0, cutAt), `${document.slice(0, cutAt)}"]`]) {
    const scanner = new JsonScanner(() => new MemorySink());
    await scanner.write(Buffer.from(broken));
    await expect(scanner.end()).rejects.toThrow(SyntaxError);
    expect(scanner.images).toHaveLength(1);
    expect(await scanner.images[0]?.sink.read()).toEqual(image);
  }
});

test("a document cannot forge the mark of an image", async () => {
  const texts = Array.from({ length: 50 }, (_, at) => `${"0".repeat(32)}:${at}`);
  await same(JSON.stringify([base64, ...texts]));
});

test("bytes that are no UTF-8 are read as JSON.parse's text would have them", async () => {
  const document = Buffer.concat([
    Buffer.from('["'),
    Buffer.from([0xff, 0xc3, 0x28]),
    Buffer.from(`é","${base64}"]`),
  ]);
  for (let cut = 0; cut < 12; cut += 1) await same(document, [cut]);
});

test("a body that drips byte by byte is read the same", async () => {
  async function* drip(document: string) {
    const bytes = Buffer.from(document);
    for (let at = 0; at < bytes.length; at += 1) yield bytes.subarray(at, at + 1);
  }
  const picture = pictureOf(60_000);
  const document = `${" ".repeat(66_000)}${JSON.stringify([picture.toString("base64"), "é"])}`;
  const images: DecodedImage[] = [];
  const reading = {
    ...unlimited,
    images,
  };
  const { body } = await readJson(bodyOf(drip(document)), reading);
  expect(await plain(body)).toEqual(JSON.parse(document));
  expect(images).toHaveLength(1);
});

test("the start of what is no JSON is shown whole, wherever it was cut", async () => {
  const text = `{"you":"Bearer ${"k".repeat(40)}", ${"x".repeat(70_000)}`;
  for (const cut of [20, 40, 54]) {
    const scanner = new JsonScanner(() => new MemorySink());
    scanner.write(Buffer.from(text.slice(0, cut)));
    scanner.write(Buffer.from(text.slice(cut)));
    await expect(scanner.end()).rejects.toThrow(SyntaxError);
    expect(scanner.start).toBe(text.slice(0, 5_000));
  }
});

test("a body is read the same below and above the size where images are looked for", async () => {
  async function* inPieces(document: string) {
    const bytes = Buffer.from(document);
    for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
  }
  for (const length of [100, 40_000, 60_000]) {
    const document = JSON.stringify({ data: [{ b64_json: pictureOf(length).toString("base64") }] });
    const images: DecodedImage[] = [];
    const reading = {
      ...unlimited,
      images,
    };
    const { body } = await readJson(bodyOf(inPieces(document)), reading);
    expect(await plain(body)).toEqual(JSON.parse(document));
    expect(images).toHaveLength(document.length > 65_536 ? 1 : 0);
  }
});

/** A body that waits a turn after each piece, and lends all of them in the same memory. */
function lending(document: string, pieceBytes: number, { breaksOff = false } = {}): Body {
  const bytes = Buffer.from(document);
  const lent = Buffer.alloc(pieceBytes);
  return {
    async each(take) {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        const length = bytes.copy(lent, 0, at, at + pieceBytes);
        await take(lent.subarray(0, length), true);
        lent.fill("?");
        await turn();
      }
      if (breaksOff) throw new Error("It broke off");
    },
  };
}

test.each([
  ["looked for", true],
  ["left alone", false],
])("answers that come at once keep apart, where images are %s", async (_, decodesImages) => {
  const lengths = Array.from({ length: 40 }, (_, at) => 1_000 + at * 3_000);
  const documents = lengths.map((length, at) =>
    JSON.stringify({ at, text: "é ".repeat(length / 3) }),
  );
  const reading = { ...unlimited, decodesImages, images: [] };
  const reads = documents.map(async (document, at) => {
    const breaksOff = at % 5 === 4;
    const body = lending(document, 777 + 100 * at, { breaksOff });
    return breaksOff ? reasonOf(readJson(body, reading)) : (await readJson(body, reading)).body;
  });
  const expected = documents.map((document, at) =>
    at % 5 === 4 ? new Error("It broke off") : JSON.parse(document),
  );
  expect(await Promise.all(reads)).toEqual(expected);
});

const picture = JSON.stringify([pictureOf(3_000).toString("base64"), "é"]);

test.each([
  ["one piece", 10_000],
  ["pieces", 1_000],
])("a response whose length was said is read from %s", async (_, pieceBytes) => {
  const contentLength = Buffer.byteLength(picture);
  const reading = { ...unlimited, contentLength, images: [] };
  expect(await readJson(lending(picture, pieceBytes), reading)).toEqual({
    body: JSON.parse(picture),
  });
});

test.each([
  ["one piece", 10_000],
  ["pieces", 1_000],
])(
  "an image in what is no JSON, and whose length was said, is handed over from %s",
  async (_, pieceBytes) => {
    const torn = picture.slice(0, -1);
    const images: DecodedImage[] = [];
    const contentLength = Buffer.byteLength(torn);
    const reading = { ...unlimited, contentLength, images };
    expect(await readJson(lending(torn, pieceBytes), reading)).toEqual({
      body: undefined,
      text: torn,
    });
    expect(images).toHaveLength(1);
    expect(await images[0]?.sink.read()).toEqual(pictureOf(3_000));
  },
);

test("an image in a response that broke off is handed over", async () => {
  const images: DecodedImage[] = [];
  const contentLength = Buffer.byteLength(picture);
  const reading = { ...unlimited, contentLength, images };
  const torn = lending(picture.slice(0, -2), 1_000, { breaksOff: true });
  expect(await reasonOf(readJson(torn, reading))).toEqual(new Error("It broke off"));
  expect(images).toHaveLength(1);
});
