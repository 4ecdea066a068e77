import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { createImageClient, type ImageClientOptions, openaiCompatible } from "../../src/index";
import { DecodedImage, MemorySink } from "../../src/media/decoded-image";
import { TestClock } from "../support/clock";
import { pictureOf } from "../support/media";
import { pixel, startServer } from "../support/server";
import { aMoment, failureOf, prompt, reasonOf, until } from "../support/stage";
import { transportWith } from "./transport-support";

const event = (type: string, bytes: Buffer) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, b64_json: bytes.toString("base64") })}\n\n`;
const completed = (bytes: Buffer) => event("image_generation.completed", bytes);
const partial = (bytes: Buffer) => event("image_generation.partial_image", bytes);

/** A server that sends these pieces, and then keeps its connections open without a word. */
async function startOpen(pieces: readonly string[], send = sendAll) {
  let closed = 0;
  let onClosed = () => {};
  const server = await startServer((_, response) => {
    response.on("close", () => {
      closed += 1;
      onClosed();
    });
    response.writeHead(200, { "content-type": "text/event-stream" });
    send(response, pieces);
  });
  /** Resolves when so many of its responses have been given up by the other side. */
  const closedBy = (count: number) =>
    new Promise<void>((resolve) => {
      onClosed = () => {
        if (closed >= count) resolve();
      };
      onClosed();
    });
  return { server, closedBy };
}

function sendAll(response: ServerResponse, pieces: readonly string[]): void {
  for (const piece of pieces) response.write(piece);
}

/** Byte by byte, as far as the other side sees them so. */
function drip(response: ServerResponse, pieces: readonly string[]): void {
  response.socket?.setNoDelay(true);
  const bytes = Buffer.from(pieces.join(""));
  let at = 0;
  const next = () => {
    if (at >= bytes.length) return;
    at += 1;
    response.write(bytes.subarray(at - 1, at), () => setImmediate(next));
  };
  next();
}

const clientOf = (url: string, options: Partial<ImageClientOptions> = {}) =>
  createImageClient({
    provider: openaiCompatible({ baseURL: `${url}/v1`, apiKey: "sk-of-the-test" }),
    ...options,
  });

test("a picture that is completed is delivered, though its server keeps the stream open", async () => {
  for (const picture of [pixel, pictureOf(3_000), pictureOf(200_000)]) {
    const pieces = [partial(pixel), completed(picture)];
    const { server, closedBy } = await startOpen(pieces);
    await using _ = server;
    const { images } = await clientOf(server.url).generate({ prompt });
    expect(images).toHaveLength(1);
    expect(Buffer.from(await images[0].bytes()).equals(picture)).toBe(true);
    await closedBy(1);
    expect(server.requests).toHaveLength(1);
  }
});

test("a picture that is completed in a drip of bytes is delivered as well", async () => {
  const { server } = await startOpen([": hello\n\n", completed(pixel)], drip);
  await using _ = server;
  const { image } = await clientOf(server.url).generate({ prompt });
  expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
});

test("a completed picture of an open stream is delivered over the caller's fetch", async () => {
  const { server, closedBy } = await startOpen([completed(pixel)]);
  await using _ = server;
  const fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init);
  const { image } = await clientOf(server.url, { fetch }).generate({ prompt });
  expect(Buffer.from(await image.bytes()).equals(pixel)).toBe(true);
  await closedBy(1);
});

test("of several pictures each is waited for, and no longer than for the last", async () => {
  const pictures = [pictureOf(90_000, 3), pixel];
  const { server } = await startOpen(pictures.map(completed));
  await using _ = server;
  const { images } = await clientOf(server.url).generate({ prompt, n: 2 });
  const found = await Promise.all(images.map((image) => image.bytes()));
  expect(found.map((each, at) => pictures[at]?.equals(each))).toEqual([true, true]);
});

test("a stream that stays open after fewer pictures hands over those at the time-out", async () => {
  const { server } = await startOpen([completed(pixel), partial(pictureOf(2_000))]);
  await using _ = server;
  const error = await failureOf(
    clientOf(server.url, { timeoutMs: 300 }).generate({ prompt, n: 2 }),
  );
  expect(error).toMatchObject({ code: "timeout", charged: "yes" });
  expect(error.images).toHaveLength(1);
});

test("a disk that does not give a partial image back holds up a time-out for a quarter of a second", async () => {
  const clock = new TestClock({ auto: false });
  // Its type would follow the picture: until then it may be a partial one.
  const event = `data: {"b64_json":"${pixel.toString("base64")}"`;
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(event);
  });
  let reads = 0;
  class StalledSink extends MemorySink {
    override read(): Promise<never> {
      reads += 1;
      return new Promise(() => {});
    }
  }
  const onPartial = async (image: unknown) => {
    if (image instanceof DecodedImage) await image.sink.read();
  };
  let hasEnded = false;
  const ending = reasonOf(
    transportWith({}, clock).exchange(
      { method: "POST", url: server.url, headers: {}, body: Buffer.from("{}") },
      {
        ...{ timeoutMs: 60_000, n: 1, onPartial, createSink: () => new StalledSink() },
        isPartial: (type) => type.includes("partial"),
        isCompleted: (type) => type.includes("completed"),
      },
    ),
  ).finally(() => {
    hasEnded = true;
  });
  await until(() => server.requests.length === 1);
  await aMoment();
  await clock.advance(60_000);
  await until(() => reads === 1);
  await clock.advance(249);
  await aMoment();
  expect(hasEnded).toBe(false);
  await clock.advance(1);
  expect(await ending).toMatchObject({ name: "TransportFault", sent: true, timeoutMs: 60_000 });
});
