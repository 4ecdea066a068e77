import { mkdtemp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  createImageClient,
  directoryJournal,
  type GenerateRequest,
  type ImageEvent,
  openai,
  openaiCompatible,
} from "../../src/index";
import { startSandbox } from "../../src/testing/sandbox";
import { directory, useDirectory } from "../support/directory";
import { pixel } from "../support/server";
import { failureOf, jobProviders, prompt, startStage } from "../support/stage";
import { partialsOf, request, size, startStreams } from "./support/streams";

useDirectory();

// ---- a stream as it should be ----

test("partial images come as events, in order and whole, and then the picture", async () => {
  await using stage = await startStreams();
  const events: ImageEvent[] = [];
  const { image, cost, usage, warnings } = await stage.client.generate(request, {
    onEvent: (event) => events.push(event),
  });
  expect(events.map(({ type }) => type)).toEqual([
    ...["submitting", "partial", "partial", "succeeded"],
  ]);
  const partials = partialsOf(events);
  expect(partials.map(({ index, mediaType }) => [index, mediaType])).toEqual([
    [0, "image/png"],
    [1, "image/png"],
  ]);
  const bytes = await image.bytes();
  for (const each of partials) {
    expect(Buffer.from(each.bytes).readUInt32BE(16)).toBe(1024);
    expect(Buffer.from(each.bytes).equals(bytes)).toBe(false);
  }
  expect(await image.info()).toMatchObject({ mediaType: "image/png", width: 1024 });
  expect(warnings).toEqual([]);
  // 196 for the picture, and 100 for each that was shown before it.
  expect(usage?.outputTokens).toBe(396);
  expect(cost).toBeUndefined();
  expect(stage.creates().map(({ body }) => body)).toEqual([
    expect.objectContaining({ stream: true, partial_images: 2, n: 1 }),
  ]);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("without partial images a stream is asked for by itself, and false is as good as nothing", async () => {
  await using stage = await startStreams();
  const events: ImageEvent[] = [];
  const onEvent = (event: ImageEvent) => events.push(event);
  await stage.client.generate({ prompt, size, stream: true }, { onEvent });
  await stage.client.generate({ prompt, size, stream: false }, { onEvent });
  expect(partialsOf(events)).toEqual([]);
  const [streamed, plain] = stage.creates().map(({ body }) => body);
  expect(streamed).toHaveProperty("stream", true);
  expect(streamed).not.toHaveProperty("partial_images");
  expect(plain).not.toHaveProperty("stream");
});

test("an edit streams too, as a form", async () => {
  await using stage = await startStreams();
  const events: ImageEvent[] = [];
  const { image } = await stage.client.edit(
    { prompt, size, quality: "low", partialImages: 2, images: [pixel] },
    { onEvent: (event) => events.push(event) },
  );
  expect(partialsOf(events)).toHaveLength(2);
  expect((await image.info()).width).toBe(1024);
  const [{ body, path } = {}] = stage.creates();
  expect(path).toMatch(/\/images\/edits$/);
  expect(body).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ name: "stream", value: "true" }),
      expect.objectContaining({ name: "partial_images", value: "2" }),
    ]),
  );
});

test("several pictures are several streams, each with its own partial images", async () => {
  await using stage = await startStreams();
  const events: ImageEvent[] = [];
  const { images } = await stage.client.generate(
    { ...request, n: 3 },
    { onEvent: (event) => events.push(event) },
  );
  expect(images).toHaveLength(3);
  expect(stage.creates().map(({ body }) => Object(body).n)).toEqual([1, 1, 1]);
  expect(stage.sandbox.charges).toHaveLength(3);
  const shown = partialsOf(events).map(({ task, index }) => `${task}:${index}`);
  expect(shown.sort()).toEqual(["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]);
});

test("the JSON of a partial event has its index and its size, and no bytes", async () => {
  await using stage = await startStreams();
  const events: ImageEvent[] = [];
  await stage.client.generate(request, {
    onEvent: (event) => events.push(event),
    metadata: "private",
  });
  const [first] = partialsOf(events);
  const told = JSON.parse(JSON.stringify(first));
  expect(Object.keys(told).sort()).toEqual(
    ["at", "byteLength", "index", "jobId", "provider", "task", "type"].sort(),
  );
  expect(told).toMatchObject({ type: "partial", index: 0, byteLength: first?.bytes.byteLength });
});

test("whoever listens to a job that streams sees its partial images", async () => {
  await using stage = await startStreams();
  const seen: number[] = [];
  const job = await stage.client.submit(request, {
    onEvent: (event) => event.type === "partial" && seen.push(event.index),
  });
  expect(seen).toEqual([0, 1]);
  expect((await job.result()).images).toHaveLength(1);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("the picture of a stream may come as a URL", async () => {
  const events: ImageEvent[] = [];
  await using sandbox = await startSandbox({
    ...{ jobDurationMs: 20, plainImages: true, openaiAnswers: "url" },
  });
  const client = createImageClient({ provider: openaiCompatible(sandbox.openaiCompatible) });
  const { image } = await client.generate(request, { onEvent: (event) => events.push(event) });
  expect(image.url).toContain(sandbox.url);
  expect((await image.info()).width).toBe(1024);
  expect(partialsOf(events)).toHaveLength(2);
});

test("with saveTo the picture is saved and nothing of its partial images", async () => {
  await using stage = await startStreams();
  const place = await mkdtemp(join(directory, "place-"));
  const { image } = await stage.client.generate(request, { saveTo: place });
  expect(await readdir(place)).toEqual([image.file?.slice(place.length + 1)]);
});

test("with a journal the same key gives the same picture again, and other fields are another order", async () => {
  const place = await mkdtemp(join(directory, "journal-"));
  await using stage = await startStreams({ journal: directoryJournal(place) });
  const options = { idempotencyKey: "order-1" };
  const first = await stage.client.generate(request, options);
  const again = await stage.client.generate(request, options);
  expect(Buffer.from(await again.image.bytes()).equals(await first.image.bytes())).toBe(true);
  // Split otherwise, one part of it would be paid for once more.
  const { partialImages, ...plain } = request;
  const error = await failureOf(stage.client.generate({ ...plain, n: 2 }, options));
  expect(error).toMatchObject({ charged: "no" });
  expect(stage.creates()).toHaveLength(1);
});

// ---- who does not stream ----

test("a provider that does not stream says so by the field's name, before anything is sent", async () => {
  await using stage = await startStage();
  for (const name of jobProviders) {
    const client = stage.client(name);
    for (const fields of [{ stream: true }, { partialImages: 2 }] as const) {
      const error = await failureOf(client.generate({ prompt, ...fields }));
      const [field] = Object.keys(fields);
      expect(error).toMatchObject({ code: "unsupported", charged: "no", field, provider: name });
    }
    expect(client.capabilities.generate.fields).not.toContain("stream");
    await client.generate({ prompt, stream: false });
  }
  expect(stage.count("create")).toBe(3);
});

test("under omit it is left out with a warning, and pictures are not split by it", async () => {
  await using stage = await startStage();
  const client = stage.client("trinetra", { onUnsupported: "omit" });
  const { warnings } = await client.generate({ prompt, n: 3, partialImages: 1 });
  expect(warnings).toEqual(["`partialImages` 1 was left out: trinetra takes no `partialImages`"]);
  expect(stage.count("create")).toBe(1);
});

test("what is no number of partial images, or contradicts itself, is refused before anything is sent", () => {
  const client = createImageClient({ provider: openai({ apiKey: "sk-of-the-test" }) });
  // From a caller without types.
  const check = (fields: object) => client.check({ prompt, ...fields } as GenerateRequest);
  for (const partialImages of [0, 4, 1.5, "2"]) {
    expect(check({ partialImages })).toMatchObject([{ field: "partialImages", charged: "no" }]);
  }
  expect(check({ stream: "yes" })).toMatchObject([{ field: "stream" }]);
  expect(check({ stream: false, partialImages: 1 })).toMatchObject([{ field: "partialImages" }]);
  expect(check({ stream: true, partialImages: 3 })).toEqual([]);
  const extraBody = { partial_images: 2 };
  expect(check({ providerOptions: { openai: { extraBody } } })).toHaveLength(1);
  expect(client.capabilities.generate.fields).toEqual(
    expect.arrayContaining(["stream", "partialImages"]),
  );
});

test("an estimate counts what the partial images cost", () => {
  const client = createImageClient({ provider: openai({ apiKey: "sk-of-the-test" }) });
  const amountOf = (fields: object) =>
    client.estimate({ prompt, size, quality: "low", ...fields })?.amount;
  expect(amountOf({})).toBeCloseTo((196 * 30) / 1e6, 12);
  expect(amountOf({ stream: true })).toBeCloseTo((196 * 30) / 1e6, 12);
  expect(amountOf({ partialImages: 3, n: 2 })).toBeCloseTo((2 * 496 * 30) / 1e6, 12);
});
