import type { ServerResponse } from "node:http";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { createImageClient, type ImageClientOptions, openaiCompatible } from "../../src/index";
import { pictureOf } from "../support/media";
import { pixel, startServer, type TestServer } from "../support/server";
import { failureOf, prompt } from "../support/stage";

const apiKey = "sk-of-the-test";

const clientOf = ({ url }: TestServer, options: Partial<ImageClientOptions> = {}) =>
  createImageClient({ provider: openaiCompatible({ baseURL: `${url}/v1`, apiKey }), ...options });

const base64 = (bytes: Buffer) => bytes.toString("base64");
const documentOf = (bytes: Buffer) => JSON.stringify({ data: [{ b64_json: base64(bytes) }] });

async function bytesOf(images: readonly { bytes(): Promise<Uint8Array> }[] = []) {
  return Promise.all(images.map(async (each) => Buffer.from(await each.bytes())));
}

function sendIn(
  response: ServerResponse,
  body: string | Buffer,
  cuts: readonly number[] = [],
  headers: Record<string, string> = {},
): void {
  const bytes = Buffer.from(body);
  const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  response.writeHead(200, { "content-type": "application/json", ...headers });
  for (const [at, end] of ends.entries()) response.write(bytes.subarray(ends[at - 1] ?? 0, end));
  response.end();
}

const pictures = [pixel, pictureOf(3_000), pictureOf(300_000)];

// ---- packed otherwise than the header says ----

test("plain JSON that is labelled as packed is read as it is", async () => {
  for (const encoding of ["gzip", "br", "deflate", "gzip, br"]) {
    for (const picture of pictures) {
      await using server = await startServer((_, response) =>
        sendIn(response, documentOf(picture), [1], { "content-encoding": encoding }),
      );
      const { images } = await clientOf(server).generate({ prompt });
      expect((await bytesOf(images)).map((each) => each.equals(picture))).toEqual([true]);
    }
  }
});

test("a gzip that no header names is unpacked, and what is packed otherwise is no image", async () => {
  for (const picture of pictures) {
    await using server = await startServer((_, response) =>
      sendIn(response, gzipSync(documentOf(picture))),
    );
    const { images } = await clientOf(server).generate({ prompt });
    expect((await bytesOf(images)).map((each) => each.equals(picture))).toEqual([true]);
  }
  await using server = await startServer((_, response) =>
    sendIn(response, brotliCompressSync(documentOf(pixel))),
  );
  const error = await failureOf(clientOf(server).generate({ prompt }));
  expect(error).toMatchObject({ code: "malformed_response", charged: "unknown" });
  expect(error.images).toBeUndefined();
});

test("a gzip that no header names breaks off with an error, and keeps to the limits", async () => {
  const packed = gzipSync(documentOf(pictureOf(200_000)));
  const many = gzipSync(JSON.stringify({ list: Array(2_000_000).fill({ a: 1 }) }));
  for (const body of [packed.subarray(0, 90_000), many]) {
    await using server = await startServer((_, response) => sendIn(response, body));
    const error = await failureOf(clientOf(server).generate({ prompt }));
    expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
  }
});

test("a comment of HTML before the JSON does not hide the image in it", async () => {
  for (const picture of pictures) {
    for (const head of ["<!-- cached -->\n", "\ufeff<!-- a -->\n<!-- b-c -- d -->", "<!---->"]) {
      await using server = await startServer((_, response) =>
        sendIn(response, head + documentOf(picture)),
      );
      const error = await failureOf(clientOf(server).generate({ prompt }));
      expect(error).toMatchObject({ code: "malformed_response", charged: "yes" });
      expect((await bytesOf(error.images)).map((each) => each.equals(picture))).toEqual([true]);
    }
  }
});
