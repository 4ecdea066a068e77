import { mkdtemp, readdir, rm } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createImageClient,
  directoryJournal,
  type GenerateRequest,
  type ImageClientOptions,
  type ImageEvent,
  type ImageResult,
  openai,
  openaiCompatible,
  type PartialImage,
} from "../../src/index";
import { type SandboxFaultKind, startSandbox } from "../../src/testing/sandbox";
import { pictureOf } from "../support/media";
import { pixel, sendJson, startServer, type TestServer } from "../support/server";
import { failureOf, jobProviders, prompt, providerOf, startStage, until } from "../support/stage";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "streams-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const size = "1024x1024";
const request: GenerateRequest = { prompt, size, quality: "low", partialImages: 2 };

type PartialEvent = Extract<ImageEvent, { type: "partial" }>;

function partialsOf(events: readonly ImageEvent[]): PartialEvent[] {
  return events.filter((event) => event.type === "partial");
}

async function startStreams(options: Partial<ImageClientOptions> = {}) {
  const sandbox = await startSandbox({ jobDurationMs: 30, plainImages: true });
  const client = createImageClient({
    provider: openaiCompatible(sandbox.openaiCompatible),
    ...options,
  });
  const creates = () => sandbox.requests.filter(({ phase }) => phase === "create");
  return { sandbox, client, creates, [Symbol.asyncDispose]: () => sandbox.close() };
}

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

// ---- what goes wrong: purchases are counted on the server's side ----

interface Case {
  readonly fault: SandboxFaultKind;
  readonly error: Record<string, unknown>;
  /** How many partial images had come. */
  readonly shown: number;
  readonly billed: number;
}

const billed = { billed: 1 } as const;
const free = { billed: 0 } as const;
const cases: readonly Case[] = [
  {
    fault: { fault: "stream-broken" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-broken", afterPartials: 2 },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 2, ...billed },
  },
  {
    fault: { fault: "stream-ended" },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-ended", afterPartials: 1 },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 1, ...billed },
  },
  {
    fault: { fault: "no-image" },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 2, ...billed },
  },
  ...(["insufficient_quota", "billing_hard_limit_reached"] as const).map((code) => ({
    fault: { fault: "stream-error", code } as const,
    ...{ error: { code: "insufficient_credits", charged: "no", providerCode: code }, shown: 0 },
    ...free,
  })),
  {
    fault: { fault: "stream-error", code: "insufficient_quota", afterPartials: 1 },
    ...{ error: { code: "insufficient_credits", charged: "unknown" }, shown: 1, ...free },
  },
  {
    fault: { fault: "stream-error", code: "rate_limit_exceeded" },
    ...{ error: { code: "rate_limited", charged: "no", retryable: true }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", code: "rate_limit_exceeded", afterPartials: 1 },
    ...{ error: { code: "rate_limited", charged: "unknown", retryable: false }, shown: 1 },
    ...free,
  },
  {
    fault: { fault: "stream-error" },
    ...{ error: { code: "generation_failed", charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", charged: "no" },
    ...{ error: { charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", afterPartials: 2, charged: "yes", billed: true },
    ...{ error: { code: "generation_failed", charged: "yes" }, shown: 2, ...billed },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked", stage: "input" },
    ...{ error: { code: "moderation", charged: "no", stage: "input" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked", stage: "output", billed: true },
    ...{ error: { code: "moderation", charged: "unknown", stage: "output" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked" },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: {
      ...{ fault: "stream-error", code: "moderation_blocked", stage: "input", afterPartials: 1 },
    },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 1, ...free },
  },
  {
    fault: { fault: "moderation" },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 2, ...free },
  },
  {
    fault: { fault: "moderation", stage: "input" },
    ...{ error: { code: "moderation", charged: "no", status: 400 }, shown: 0, ...free },
  },
  {
    fault: { fault: "failure" },
    ...{ error: { code: "generation_failed", charged: "unknown" }, shown: 2, ...free },
  },
  {
    fault: { fault: "truncated" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 1, ...billed },
  },
  {
    fault: { fault: "refusal", status: 400 },
    ...{ error: { code: "invalid_request", charged: "no" }, shown: 0, ...free },
  },
  {
    fault: { fault: "accepted-but-unavailable" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 0, ...billed },
  },
];

test.each(cases.map((each) => [JSON.stringify(each.fault), each] as const))(
  "%s is one create and one error, with the last partial image on it and none saved",
  async (_, { fault, error: expected, shown, billed }) => {
    await using stage = await startStreams();
    const place = await mkdtemp(join(directory, "place-"));
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
    const seen: PartialImage[] = [];
    const error = await failureOf(
      stage.client.generate(request, {
        saveTo: place,
        onEvent: (event) => event.type === "partial" && seen.push(event),
      }),
    );
    expect(error).toMatchObject(expected);
    expect(seen).toHaveLength(shown);
    expect(error.images).toBeUndefined();
    const last = seen.at(-1);
    expect(error.partialImage).toEqual(
      last && { index: last.index, bytes: last.bytes, mediaType: last.mediaType },
    );
    expect(JSON.stringify(error).length).toBeLessThan(2_000);
    expect(await readdir(place)).toEqual([]);
    expect(stage.creates()).toHaveLength(1);
    await until(() => stage.sandbox.jobs.every(({ state }) => /succeeded|failed/.test(state)));
    expect(stage.sandbox.charges).toHaveLength(billed);
    // Whoever asks its job hears the same.
    if (error.job !== undefined) expect(await failureOf(error.job.result())).toBe(error);
  },
);

test("an endpoint that is the caller's own is believed before a partial image, and not after one", async () => {
  for (const [afterPartials, charged] of [
    [0, "no"],
    [1, "unknown"],
  ] as const) {
    await using stage = await startStreams();
    const provider = openaiCompatible({ ...stage.sandbox.openaiCompatible, trustCharged: true });
    const fault = { fault: "stream-error", charged: "no", afterPartials } as const;
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
    const error = await failureOf(createImageClient({ provider }).generate(request));
    expect(error.charged).toBe(charged);
    expect(stage.creates()).toHaveLength(1);
  }
});

test("a stream that only sends comments is alive until the time-out, and no longer", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-comments" },
  });
  const startedAt = performance.now();
  const error = await failureOf(stage.client.generate(request, { timeoutMs: 500 }));
  expect(error).toMatchObject({ code: "timeout", charged: "unknown", timeoutMs: 500 });
  expect(performance.now() - startedAt).toBeGreaterThan(450);
  expect(stage.creates()).toHaveLength(1);
});

test("a stream that stops after a partial image has it on the time-out", async () => {
  await using server = await startStream((response) => response.write(partialEvent(pixel, 0)));
  const error = await failureOf(clientOf(server).generate(request, { timeoutMs: 300 }));
  expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
  expect(error.partialImage).toMatchObject({ index: 0, mediaType: "image/png" });
  expect(Buffer.from(error.partialImage?.bytes ?? []).equals(pixel)).toBe(true);
});

test("a server that answers JSON to a stream is read as JSON", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-ignored" },
  });
  const events: ImageEvent[] = [];
  const { image } = await stage.client.generate(request, {
    onEvent: (event) => events.push(event),
  });
  expect((await image.info()).width).toBe(1024);
  expect(partialsOf(events)).toEqual([]);
  expect(stage.creates()).toHaveLength(1);
  await using server = await startServer((_, response) =>
    sendJson(response, { error: { code: "insufficient_quota", message: "no" } }, 429),
  );
  expect(await failureOf(clientOf(server).generate(request))).toMatchObject({ charged: "no" });
});

test("one of several streams that breaks costs the others nothing", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-broken" },
    ...{ afterPartials: 1, after: 1 },
  });
  const result: ImageResult = await stage.client.generate({ ...request, n: 3 });
  expect(result.images).toHaveLength(2);
  expect(result.failures).toMatchObject([
    { code: "submission_unknown", charged: "unknown", partialImage: { index: 0 } },
  ]);
  expect(stage.creates()).toHaveLength(3);
  expect(stage.sandbox.charges).toHaveLength(3);
});

test("an abort in the middle of a stream throws the caller's reason, and nothing is sent again", async () => {
  // It stays open after its first partial image: what has come to its end is paid for, and kept.
  await using server = await startStream((response) => response.write(partialEvent(pixel, 0)));
  const controller = new AbortController();
  const reason = new Error("enough");
  const types: string[] = [];
  const running = clientOf(server).generate(request, {
    signal: controller.signal,
    onEvent: ({ type }) => {
      types.push(type);
      if (type === "partial") controller.abort(reason);
    },
  });
  await expect(running).rejects.toBe(reason);
  await until(() => types.includes("failed"));
  expect(types).toEqual(["submitting", "partial", "failed"]);
  expect(server.requests).toHaveLength(1);
});

// ---- what servers write ----

function clientOf({ url }: TestServer, options: Partial<ImageClientOptions> = {}) {
  const provider = openaiCompatible({ baseURL: url, apiKey: "sk-of-the-test" });
  return createImageClient({ provider, ...options });
}

function startStream(write: (response: ServerResponse) => unknown): Promise<TestServer> {
  return startServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    return write(response);
  });
}

const dataOf = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
const partialEvent = (image: Buffer, index?: number) =>
  dataOf({
    type: "image_generation.partial_image",
    b64_json: image.toString("base64"),
    partial_image_index: index,
  });
const completed = dataOf({
  ...{ type: "image_generation.completed", b64_json: pixel.toString("base64") },
});

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
    const call = end === "silence" ? { timeoutMs: 400 } : { saveTo };
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
