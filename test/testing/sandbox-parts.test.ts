import sharp from "sharp";
import { expect, test } from "vitest";
import { dimensionsOfRatio, dimensionsOfSize } from "../../src/testing/sandbox/dimensions";
import { formatOf, hasAlpha, measure } from "../../src/testing/sandbox/media";
import { parseMultipart } from "../../src/testing/sandbox/multipart";
import { draw } from "../../src/testing/sandbox/pictures";

const red = { r: 200, g: 0, b: 0, alpha: 0.5 };

function blank(width: number, height: number) {
  return sharp({ create: { width, height, channels: 4, background: red } });
}

test("a form is read part by part, whatever its names hold", () => {
  const body = [
    '--b\r\nContent-Disposition: form-data; name="a%22b"\r\n\r\none\r\ntwo',
    '\r\n--b\r\nContent-Disposition: form-data; filename="x.png"; name="file"\r\nContent-Type: image/png\r\n\r\n',
    "\r\n--b--\r\n",
  ].join("");
  const expected = [
    { name: 'a"b', bytes: Buffer.from("one\r\ntwo") },
    { name: "file", filename: "x.png", mediaType: "image/png", bytes: Buffer.alloc(0) },
  ];
  for (const boundary of ["b", '"b"'])
    expect(parseMultipart(Buffer.from(body), `multipart/form-data; boundary=${boundary}`)).toEqual(
      expected,
    );
});

test.each([
  ["no boundary", "multipart/form-data", "--b--"],
  ["another boundary", "multipart/form-data; boundary=c", "--b--"],
  ["no end", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\nx"],
  ["no blank line", "multipart/form-data; boundary=b", "--b\r\nx\r\n--b--"],
  ["no name", "multipart/form-data; boundary=b", "--b\r\nx: y\r\n\r\nz\r\n--b--"],
  [
    "an empty name",
    "multipart/form-data; boundary=b",
    '--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\nz\r\n--b--',
  ],
  ["nothing behind the last delimiter", "multipart/form-data; boundary=b", "--b"],
])("a form with %s is unreadable", (_, contentType, body) => {
  expect(parseMultipart(Buffer.from(body), contentType)).toBeUndefined();
});

test.each([
  ["png", blank(70, 30).png()],
  ["jpeg", blank(70, 30).jpeg({ progressive: true })],
  ["webp", blank(70, 30).flatten().webp()],
  ["webp", blank(70, 30).webp()],
  ["webp", blank(70, 30).webp({ lossless: true })],
])("a %s is measured from its head", async (format, image) => {
  const bytes = await image.toBuffer();
  expect([formatOf(bytes), measure(bytes)]).toEqual([format, { width: 70, height: 30 }]);
});

test("a picture cut short has no measure and no alpha", async () => {
  for (const format of ["png", "jpeg", "webp"] as const) {
    const bytes = await blank(70, 30).toFormat(format).toBuffer();
    expect(measure(bytes.subarray(0, 18))).toBeUndefined();
    expect(hasAlpha(bytes.subarray(0, 18))).toBe(false);
  }
  expect(measure(Buffer.from("no picture"))).toBeUndefined();
});

test("a transparent PNG has alpha, an opaque one has none, a palette may", async () => {
  const clear = blank(70, 30).png();
  expect(hasAlpha(await clear.toBuffer())).toBe(true);
  expect(hasAlpha(await clear.clone().png({ palette: true }).toBuffer())).toBe(true);
  expect(hasAlpha(await blank(70, 30).flatten().png().toBuffer())).toBe(false);
});

test.each([
  [undefined, undefined, 1024, 1024],
  ["auto", "4K", 1024, 1024],
  ["16:9", undefined, 1536, 864],
  ["9:21", "4K", 1648, 3840],
  ["100:1", "4K", 3840, 32],
] as const)("the ratio %s at %s is %d by %d", (ratio, resolution, width, height) => {
  expect(dimensionsOfRatio(ratio, resolution)).toEqual({ width, height });
});

test("a size that is none is a square", () => {
  expect([
    dimensionsOfSize("640x480"),
    dimensionsOfSize("auto"),
    dimensionsOfSize(undefined),
  ]).toEqual([
    { width: 640, height: 480 },
    { width: 1024, height: 1024 },
    { width: 1024, height: 1024 },
  ]);
});

test("a picture has the dimensions asked for, down to a sliver and with an empty prompt", async () => {
  const picture = { prompt: "", provider: "trinetra", index: 0, count: 1, plain: false } as const;
  for (const [width, height] of [
    [16, 16],
    [3840, 16],
    [33, 1025],
  ] as const) {
    const input = await blank(900, 20).png().toBuffer();
    for (const more of [{}, { input }, { prompt: "word ".repeat(400), input }]) {
      const bytes = await draw({ ...picture, format: "png", width, height, ...more });
      expect(measure(bytes)).toEqual({ width, height });
    }
  }
});

test("a lower compression figure makes a smaller file", async () => {
  const byteLength = async (compression: number) => {
    const picture = { prompt: "a fox", provider: "trinetra", index: 1, count: 2, plain: false };
    const bytes = await draw({ ...picture, format: "jpeg", width: 512, height: 512, compression });
    return bytes.byteLength;
  };
  expect(await byteLength(0)).toBeLessThan(await byteLength(100));
});
