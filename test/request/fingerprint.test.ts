import { expect, test } from "vitest";
import type { ImageInput } from "../../src/index";
import { localFile } from "../../src/index";
import { digestOfRequest } from "../../src/request/fingerprint";

const bytes = Uint8Array.of(1, 2, 3);
const file = new URL("../../LICENSE", import.meta.url);

const digestOf = (images: readonly ImageInput[], options?: unknown, mask?: ImageInput) =>
  digestOfRequest(
    {
      ...{ operation: "edit", n: 1, fields: { prompt: "x" }, providerOptions: {}, images },
      ...(mask !== undefined && { mask }),
    },
    options,
  );

test("the same bytes are the same input, however they are given", async () => {
  const expected = await digestOf([bytes]);
  for (const input of [
    new Blob([bytes]),
    bytes.slice().buffer,
    { bytes: async () => bytes },
    Buffer.from(bytes),
  ]) {
    expect(await digestOf([input])).toBe(expected);
  }
});

test("a URL is told by its text, and a file by what is in it", async () => {
  expect(await digestOf([new URL("https://a.test/1")])).toBe(await digestOf(["https://a.test/1"]));
  const ofFile = await digestOf([localFile(file.pathname)]);
  expect(ofFile).not.toBe(await digestOf([localFile(`${file.pathname}.none`)]));
  expect(ofFile).not.toBe(await digestOf([bytes]));
});

test("what cannot be read has one digest, whatever it is: it is refused where it is read", async () => {
  const broken = {
    bytes: async () => {
      throw new Error("gone");
    },
  };
  expect(await digestOf([broken])).toBe(await digestOf([localFile("/no/such/file.png")]));
});

test("a mask, options and another input make another request", async () => {
  const digests = [
    await digestOf([bytes]),
    await digestOf([bytes], { model: "a" }),
    await digestOf([bytes], undefined, bytes),
    await digestOf([bytes, bytes]),
  ];
  expect(new Set(digests).size).toBe(4);
  expect(await digestOf([bytes], { a: 1, b: 2 })).toBe(await digestOf([bytes], { b: 2, a: 1 }));
});
