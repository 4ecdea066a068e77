import { createContext, runInContext } from "node:vm";
import { expect, test } from "vitest";
import { createImageClient, openaiCompatible } from "../../src/index";
import {
  asUint8Array,
  codeOf,
  isAbortSignal,
  isBlob,
  isBytes,
  isError,
  isUint8Array,
  isURL,
} from "../../src/realm";
import { pixel, sendJson, startServer } from "../support/server";

const context = createContext({ AbortController, Blob, URL });
const foreign = (code: string) => runInContext(code, context);

test("what another realm made is known for what it is", () => {
  const error = foreign("Object.assign(new TypeError('x'), { code: 'ENOENT' })");
  expect([error instanceof Error, isError(error), codeOf(error)]).toEqual([false, true, "ENOENT"]);
  const bytes = foreign("new Uint8Array([1, 2, 3]).subarray(1)");
  expect([bytes instanceof Uint8Array, isUint8Array(bytes), isBytes(bytes)]).toEqual([
    false,
    true,
    true,
  ]);
  expect(asUint8Array(bytes)).toEqual(Uint8Array.of(2, 3));
  expect(asUint8Array(foreign("new Uint8Array([4]).buffer"))).toEqual(Uint8Array.of(4));
  const blob = foreign("({ [Symbol.toStringTag]: 'File', size: 1, arrayBuffer() {} })");
  const url = foreign("({ [Symbol.toStringTag]: 'URL', href: 'https://a.test/' })");
  const signal = foreign("({ [Symbol.toStringTag]: 'AbortSignal', addEventListener() {} })");
  expect([isBlob(blob), isURL(url), isAbortSignal(signal)]).toEqual([true, true, true]);
});

test("what is none is not taken for one, whatever it calls itself", () => {
  const named = (tag: string) => ({ [Symbol.toStringTag]: tag });
  expect([isBlob(named("Blob")), isAbortSignal(named("AbortSignal"))]).toEqual([false, false]);
  expect([isError({ message: "x" }), codeOf({ code: "ENOENT" }), isBytes([1])]).toEqual([
    false,
    undefined,
    false,
  ]);
});

test.each<[string, () => Uint8Array | ArrayBuffer]>([
  ["a Uint8Array of another realm", () => foreign(`new Uint8Array([${[...pixel]}])`)],
  ["an ArrayBuffer of another realm", () => foreign(`new Uint8Array([${[...pixel]}]).buffer`)],
  ["an ArrayBuffer", () => Uint8Array.from(pixel).buffer],
  ["a Buffer", () => pixel],
])("%s is an image input", async (_, make) => {
  await using server = await startServer((_, response) =>
    sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] }),
  );
  const provider = openaiCompatible({ baseURL: server.url, apiKey: "key" });
  await createImageClient({ provider }).edit({ prompt: "x", images: [make()] });
  expect(server.requests.map(({ body }) => body)).toEqual([
    expect.stringContaining(pixel.toString("utf8")),
  ]);
});
