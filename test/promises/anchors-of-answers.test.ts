import { Agent, type Dispatcher } from "undici";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { SandboxFaultKind } from "../../src/testing/sandbox";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  providerOf,
  startStage,
  typesOf,
  until,
} from "../support/stage";

// ---- 10 ----

test.for([
  { name: "shortapi", envelope: true },
  { name: "aigptimage", envelope: true },
  { name: "shortapi", envelope: false },
  { name: "aigptimage", envelope: false },
  { name: "trinetra", envelope: false },
  { name: "openaiCompatible", envelope: false },
] as const)(
  "row 10: a 402 of $name (in HTTP 200: $envelope) is an InsufficientCreditsError",
  async ({ name, envelope }) => {
    await using stage = await startStage();
    const fault: SandboxFaultKind = {
      ...{ fault: "refusal", status: 402, message: "Insufficient credits." },
      ...(envelope && { envelope, code: 402 }),
    };
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
    expect(error.status).toBe(envelope ? 200 : 402);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

// ---- 11 ----

test("row 11: OpenAI's refusal by moderation, an HTTP 400, is a ModerationError with stage and categories", async () => {
  await using stage = await startStage();
  const fault = { fault: "moderation", stage: "input", categories: ["violence", "self-harm"] };
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create" },
    ...(fault as SandboxFaultKind),
  });
  const error = await failureOf(stage.client("openaiCompatible").generate({ prompt }));
  await aMoment();
  expect(error).toMatchObject({
    ...{ name: "ModerationError", charged: "no", status: 400, stage: "input" },
    categories: ["violence", "self-harm"],
  });
  expect(error.providerCode).toBe("moderation_blocked");
  expect(error.retryable).toBe(false);
  expect(stage.count("create")).toBe(1);
  expect(stage.sandbox.charges).toHaveLength(0);
});

test.for(jobProviders)(
  "row 11: a create of %s that is refused with 400 and words about its content policy is a ModerationError, whose stage nobody tells",
  async (name) => {
    await using stage = await startStage();
    const message = "The prompt may violate OpenAI's content policies.";
    const fault = { fault: "refusal", status: 400, message } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ name: "ModerationError", charged: "unknown", status: 400 });
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

// ---- 12 ----

test("row 12: a Buffer as the input image arrives at the OpenAI-compatible endpoint as a file with its type", async () => {
  await using stage = await startStage();
  await stage.client("openaiCompatible").edit({ prompt, images: [pixel] });
  expect(stage.requests("create")).toHaveLength(1);
  expect(stage.requests("create")[0]?.body).toContainEqual(
    expect.objectContaining({
      ...{ name: "image", byteLength: pixel.byteLength, mediaType: "image/png" },
      filename: expect.stringMatching(/\.png$/),
    }),
  );
});

test.for(jobProviders)(
  "row 12: a Buffer as the input image for %s, which takes URLs alone, is a clear error and nothing is sent",
  async (name) => {
    await using stage = await startStage();
    const error = await failureOf(stage.client(name).edit({ prompt, images: [pixel] }));
    expect(error).toMatchObject({ name: "UnsupportedError", charged: "no", field: "images[0]" });
    expect(error.message).toMatch(/upload/);
    expect(stage.sandbox.requests).toHaveLength(0);
  },
);

test.for(jobProviders)(
  "row 12: with `upload`, the Buffer's own bytes are handed over and %s is sent the URL",
  async (name) => {
    await using stage = await startStage();
    const url = "https://example.com/input.png";
    const uploads: Uint8Array[] = [];
    const client = stage.client(name, {
      upload: ({ bytes, mediaType }) => {
        expect(mediaType).toBe("image/png");
        uploads.push(bytes);
        return url;
      },
    });
    await client.edit({ prompt, images: [pixel] });
    expect(uploads.map((bytes) => pixel.equals(bytes))).toEqual([true]);
    expect(JSON.stringify(stage.requests("create")[0]?.body)).toContain(url);
  },
);

test.for(allProviders)(
  "row 12: a Buffer that went through JSON is refused before anything is sent to %s",
  async (name) => {
    await using stage = await startStage();
    const images = JSON.parse(JSON.stringify([pixel]));
    const error = await failureOf(stage.client(name).edit({ prompt, images }));
    expect(error).toMatchObject({ name: "InvalidRequestError", charged: "no", field: "images[0]" });
    expect(error.message).toMatch(/Buffer that went through JSON/);
    expect(stage.sandbox.requests).toHaveLength(0);
  },
);

// ---- 13 ----

test.for(jobProviders)(
  "row 13: a job of %s that outlives the time-out is on the error, and both it and its JSON give the image",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const target = { provider: name, phase: "poll" } as const;
    stage.sandbox.inject({ ...target, fault: "unknown-state", word: "warming", times: 2 });
    const client = stage.client(name, { poll: 1_000, timeoutMs: 2_500 });
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({ name: "TimeoutError", charged: "unknown", timeoutMs: 2_500 });
    expect(stage.clock.elapsedMs).toBe(2_500);
    expect(error.job?.reference.tasks).toMatchObject([{ id: stage.sandbox.jobs[0]?.jobId }]);
    const reference = JSON.parse(JSON.stringify(error.job));
    await until(() => stage.sandbox.jobs[0]?.state === "succeeded");
    const fromError = await error.job?.result();
    expect(await fromError?.image.info()).toMatchObject({ mediaType: "image/png" });
    const resumed = await stage.client(name).resume(reference).result();
    expect(await resumed.image.info()).toMatchObject({ mediaType: "image/png" });
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 14 ----

test("row 14: undici's own limits are off in every exchange", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const agent = new Agent();
  const limits: (readonly [string, unknown, unknown])[] = [];
  const dispatcher: Pick<Dispatcher, "request"> = {
    request(options: Dispatcher.RequestOptions) {
      limits.push([String(options.method), options.headersTimeout, options.bodyTimeout]);
      return agent.request(options);
    },
  };
  const { image } = await stage
    .client("trinetra", { dispatcher: dispatcher as Dispatcher })
    .generate({ prompt });
  await image.bytes();
  expect(stage.sandbox.requests.map(({ phase }) => phase)).toEqual(["create", "poll", "download"]);
  expect(limits).toEqual([
    ["POST", 0, 0],
    ["GET", 0, 0],
    ["GET", 0, 0],
  ]);
  await agent.close();
});

test("row 14: a response that takes ten minutes less a second is waited for, over undici", async () => {
  let reply: () => void = () => {};
  await using server = await startServer((_, response) => {
    reply = () => sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
  });
  const provider = providerOf("openaiCompatible", { baseURL: server.url, apiKey: "a-key" });
  const clock = new TestClock({ auto: false });
  const call = new ProviderClient({ provider }, clock).generate({ prompt });
  await until(() => server.requests.length === 1);
  await clock.advance(599_000);
  reply();
  const { images, timing } = await call;
  expect(images).toHaveLength(1);
  expect(timing.durationMs).toBe(599_000);
  expect(server.requests).toHaveLength(1);
});

test("row 14: a response that never comes is waited for until the time-out and no longer", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "hang" });
  const clock = new TestClock({ auto: false });
  let settled = false;
  const call = failureOf(stage.client("openaiCompatible", {}, clock).generate({ prompt })).finally(
    () => {
      settled = true;
    },
  );
  await until(() => stage.sandbox.jobs.length === 1);
  await clock.advance(599_999);
  await aMoment();
  expect(settled).toBe(false);
  await clock.advance(1);
  expect(await call).toMatchObject({ name: "TimeoutError", timeoutMs: 600_000 });
});

// ---- 15 ----

test.for(allProviders)(
  "row 15: the URL of %s stays on the image, and its bytes are fetched on demand and once",
  async (name) => {
    await using stage = await startStage({ openaiAnswers: "url" });
    const { image } = await stage.client(name).generate({ prompt });
    expect(image.url).toMatch(new RegExp(`^${stage.sandbox.cdnUrl}/.+\\.png$`));
    await aMoment();
    expect(stage.count("download")).toBe(0);
    const [bytes, again] = await Promise.all([image.bytes(), image.bytes()]);
    expect(await image.base64()).toBe(Buffer.from(bytes).toString("base64"));
    expect(again).toBe(bytes);
    expect(stage.count("download")).toBe(1);
    expect(stage.requests("download")[0]?.carriedKey).toBe(false);
    expect(image.url).toBe(`${stage.sandbox.cdnUrl}${stage.requests("download")[0]?.path}`);
  },
);

// ---- 16 ----

test.for(jobProviders)(
  "row 16: a state of %s that nobody knows is named by an event, and polled on, on schedule",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const word = name === "shortapi" ? "simmering" : "Simmering";
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "unknown-state", word, times: 3 });
    const events: ImageEvent[] = [];
    const { images } = await stage
      .client(name, { poll: 2_000, onEvent: (event) => events.push(event) })
      .generate({ prompt });
    expect(images).toHaveLength(1);
    expect(stage.count("poll")).toBe(4);
    expect(stage.count("create")).toBe(1);
    expect(stage.clock.elapsedMs).toBe(8_000);
    expect(typesOf(events)).toEqual(["submitting", "submitted", "status", "succeeded"]);
    expect(events[2]).toMatchObject({ state: "running", word, known: false });
  },
);
