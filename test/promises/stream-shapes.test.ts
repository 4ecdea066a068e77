import { mkdtemp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createImageClient } from "../../src/index";
import { directory, useDirectory } from "../support/directory";
import { pictureOf } from "../support/media";
import { pixel } from "../support/server";
import { failureOf, providerOf } from "../support/stage";
import {
  clientOf,
  completed,
  dataOf,
  partialEvent,
  request,
  startStream,
  startStreams,
} from "./support/streams";

useDirectory();

// ---- what servers write ----

test("a small partial image is shown as soon as it has come", async () => {
  let proceed = () => {};
  await using server = await startStream((response) => {
    response.write(": welcome\n\n");
    response.write(partialEvent(pixel, 0));
    proceed = () => response.end(`${completed}data: [DONE]\n\n`);
  });
  const seen: number[] = [];
  const running = clientOf(server).generate(request, {
    onEvent: (event) => {
      if (event.type !== "partial") return;
      seen.push(event.index);
      // The stream goes on once it was shown, and not before.
      proceed();
    },
  });
  expect((await running).images).toHaveLength(1);
  expect(seen).toEqual([0]);
});

test("partial images without a number are counted", async () => {
  await using server = await startStream((response) =>
    response.end(partialEvent(pixel) + partialEvent(pixel) + completed),
  );
  const seen: number[] = [];
  await clientOf(server).generate(request, {
    onEvent: (event) => event.type === "partial" && seen.push(event.index),
  });
  expect(seen).toEqual([0, 1]);
});

/** A partial image of 90 KB that names no type: its fields, up to the end of its event. */
const sketch = pictureOf(90_000, 3);
const untyped = `data: {"b64_json":"${sketch.toString("base64")}"`;

test("an event with the index of a partial image is one, though it names no type", async () => {
  const marked = `${untyped},"partial_image_index":0}\n\n`;
  const inData = `data: {"data":{"partial_image_index":1,${untyped.slice(7)}}}\n\n`;
  const picture = pictureOf(100_000, 5);
  const plain = dataOf({ b64_json: picture.toString("base64"), partial_image_index: null });
  await using server = await startStream((response) => response.end(marked + inData + plain));
  const seen: number[] = [];
  const { images, warnings } = await clientOf(server).generate(request, {
    onEvent: (event) => event.type === "partial" && seen.push(event.bytes.byteLength),
  });
  expect(images).toHaveLength(1);
  expect(picture.equals((await images[0]?.bytes()) ?? Buffer.of())).toBe(true);
  expect(warnings).toEqual([]);
  expect(seen).toEqual([sketch.byteLength]);
});

test("a stream of nothing but partial images without a type has ended without its picture", async () => {
  await using server = await startStream((response) =>
    response.end(`${untyped},"partial_image_index":0}\n\n`),
  );
  const error = await failureOf(clientOf(server).generate(request));
  expect(error).toMatchObject({ code: "malformed_response", charged: "unknown" });
  expect(error.images).toBeUndefined();
  expect(sketch.equals(error.partialImage?.bytes ?? Buffer.of())).toBe(true);
});

test.each([
  ["the picture's last letter", ""],
  ["a field that follows it", ',"size":"1024x1024"'],
  ["the beginning of the type", ',"type":"image_gen'],
  ["the index of a partial image", ',"partial_image_index":0,'],
])("a stream that is cut after %s shows no picture that was paid for", async (_, more) => {
  for (const end of ["break", "polite", "silence"] as const) {
    await using server = await startStream((response) => {
      if (end === "polite") return response.end(untyped + more);
      response.write(untyped + more);
      if (end === "break") setTimeout(() => response.destroy(), 20);
    });
    const saveTo = await mkdtemp(join(directory, "place-"));
    const call = { saveTo, ...(end === "silence" && { timeoutMs: 400 }) };
    const error = await failureOf(clientOf(server).generate(request, call));
    expect(error).toMatchObject({ charged: "unknown" });
    expect(error.images).toBeUndefined();
    expect(sketch.equals(error.partialImage?.bytes ?? Buffer.of())).toBe(true);
    expect(await readdir(saveTo)).toEqual([]);
    expect(server.requests).toHaveLength(1);
  }
});

test("a stream that is cut after a picture whose type came first has it on the error", async () => {
  const event = untyped.replace("{", '{"type":"image_generation.completed",');
  await using server = await startStream((response) => {
    response.write(event);
    setTimeout(() => response.destroy(), 20);
  });
  const error = await failureOf(clientOf(server).generate(request));
  expect(error).toMatchObject({ charged: "yes" });
  expect(sketch.equals((await error.images?.[0]?.bytes()) ?? Buffer.of())).toBe(true);
});

test("an error that is the event itself, or plain words, says what it says", async () => {
  const told: [string, Record<string, unknown>][] = [
    [
      'event: error\ndata: {"code":"insufficient_quota","message":"no money"}\n\n',
      { charged: "no" },
    ],
    [
      'data: {"type":"error","code":"server_error","message":"oh dear"}\n\n',
      { charged: "unknown" },
    ],
    ["event: error\ndata: the GPU is on fire\n\n", { charged: "unknown" }],
    // What follows it does not hide it.
    [
      `data: {"error":{"code":"insufficient_quota","message":"no"}}\n\n${dataOf({ type: "done" })}`,
      { charged: "no" },
    ],
  ];
  for (const [text, expected] of told) {
    await using server = await startStream((response) => response.end(text));
    const error = await failureOf(clientOf(server).generate(request));
    expect(error).toMatchObject(expected);
    expect(error.message).toMatch(/no money|oh dear|on fire|no\./);
    expect(server.requests).toHaveLength(1);
  }
});

test("a stream of nothing has ended without its picture", async () => {
  for (const text of [": ping\n\n", "data: [DONE]\n\n", dataOf({ type: "done" })]) {
    await using server = await startStream((response) => response.end(text));
    const error = await failureOf(clientOf(server).generate(request));
    expect(error).toMatchObject({ code: "malformed_response", charged: "unknown" });
    expect(error.message).toContain("The stream ended without its picture");
  }
});

test("partial images come through a fetch of the caller's own, too", async () => {
  await using stage = await startStreams({ fetch: (...call) => globalThis.fetch(...call) });
  const seen: number[] = [];
  await stage.client.generate(request, {
    onEvent: (event) => event.type === "partial" && seen.push(event.index),
  });
  expect(seen).toEqual([0, 1]);
});

test("what a listener throws at a partial image costs nothing", async () => {
  await using stage = await startStreams();
  const { images } = await stage.client.generate(request, {
    onEvent: () => {
      throw new Error("a bug in the page");
    },
  });
  expect(images).toHaveLength(1);
});

test("an adapter that cannot read partial images costs nothing", async () => {
  await using stage = await startStreams();
  const provider = providerOf("openaiCompatible", stage.sandbox.openaiCompatible);
  const readPartial = () => {
    throw new Error("a bug in the adapter");
  };
  const client = createImageClient({
    provider: Object.assign(Object.create(Object.getPrototypeOf(provider)), provider, {
      adapter: { ...provider.adapter, readPartial },
    }),
  });
  expect((await client.generate(request)).images).toHaveLength(1);
});
