import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, type Dispatcher } from "undici";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { SandboxFaultKind, SandboxProvider } from "../../src/testing/sandbox";
import type { ImageEvent, ImageJob } from "../../src/types";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  providerOf,
  reasonOf,
  shortestMs,
  startStage,
  systemClock,
  typesOf,
  unkeyed,
  until,
} from "../support/stage";

// One paragraph for each row of the table of anchors. What counts is what arrived at the server.

/** Of three calls of a split request: how many images to ask for, and how many one call brings. */
const thrice: Readonly<Record<SandboxProvider, { n: number; largest: number }>> = {
  shortapi: { n: 3, largest: 1 },
  aigptimage: { n: 3, largest: 1 },
  trinetra: { n: 9, largest: 4 },
  openaiCompatible: { n: 21, largest: 10 },
};

// ---- 1 ----

test.for(
  unkeyed.flatMap((name) => [
    { name, fault: "reset-before-acceptance" as const },
    { name, fault: "reset-after-acceptance" as const },
  ]),
)(
  "row 1: $name gets one create when its socket is reset ($fault), and the charge is unknown",
  async ({ name, fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault, times: Infinity });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
    expect(error.retryable).toBe(false);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
    // The server knows better: this is why nobody may send it again.
    expect(stage.sandbox.jobs).toHaveLength(fault === "reset-after-acceptance" ? 1 : 0);
  },
);

test.for(["reset-before-acceptance", "reset-after-acceptance"] as const)(
  "row 1: aigptimage is sent the same X-Request-ID again after a %s, and bills once",
  async (fault) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", fault, times: 2 });
    const { image } = await stage.client("aigptimage").generate({ prompt });
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    const creates = stage.requests("create");
    expect(creates).toHaveLength(3);
    expect(new Set(creates.map((each) => each.headers["x-request-id"])).size).toBe(1);
    expect(creates[0]?.headers["x-request-id"]).toMatch(/\S/);
    expect(new Set(creates.map((each) => JSON.stringify(each.body))).size).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 2 ----

test.for(
  jobProviders.flatMap((name) => [
    { name, ownBody: true },
    { name, ownBody: false },
  ]),
)(
  "row 2: a poll of $name that answers 503 (own body: $ownBody) is one more poll and no second create",
  async ({ name, ownBody }) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "unavailable", ownBody });
    const { image } = await stage.client(name).generate({ prompt });
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("poll")).toBe(2);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 3 ----

test.for(allProviders)(
  "row 3: an image of %s whose download answers 502 twice is downloaded again, with one create",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    stage.sandbox.inject({
      ...{ provider: name, phase: "download", fault: "unavailable" },
      ...{ status: 502, times: 2 },
    });
    const { image } = await stage.client(name).generate({ prompt });
    const polls = stage.count("poll");
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    expect(stage.count("download")).toBe(3);
    expect(stage.count("create")).toBe(1);
    expect(stage.count("poll")).toBe(polls);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 4 ----

test.for(jobProviders)(
  "row 4: a job of %s that was moderated ends at once in a ModerationError",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "moderation" });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error.name).toBe("ModerationError");
    expect(error.code).toBe("moderation");
    expect(stage.count("poll")).toBe(1);
    expect(stage.count("create")).toBe(1);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "failed" }]);
  },
);

test("row 4: an unknown state word of a moderated kind is a ModerationError at trinetra and shortapi", async () => {
  for (const name of ["trinetra", "shortapi"] as const) {
    await using stage = await startStage();
    stage.sandbox.inject({
      ...{ provider: name, phase: "poll", fault: "unknown-state" },
      word: "moderated",
    });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    expect(error.name).toBe("ModerationError");
    expect(stage.count("poll")).toBe(1);
  }
});

// ---- 5 ----

async function abortDuringWait(name: (typeof jobProviders)[number]): Promise<number> {
  await using stage = await startStage();
  const clock = new TestClock({ auto: false });
  const controller = new AbortController();
  const reason = { mine: true };
  let submitted: ImageJob | undefined;
  const onSubmitted = (job: ImageJob) => {
    submitted = job;
  };
  const client = stage.client(name, { poll: 60_000 }, clock);
  const options = { signal: controller.signal, onSubmitted };
  const call = reasonOf(client.generate({ prompt }, options));
  await until(() => submitted !== undefined);
  await aMoment();
  const arrived = stage.sandbox.requests.length;
  const abortedAt = performance.now();
  controller.abort(reason);
  expect(await call).toBe(reason);
  const tookMs = performance.now() - abortedAt;
  // Nothing is left that could send anything, however long one waits.
  expect(clock.pending).toBe(0);
  await clock.advance(3_600_000);
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(arrived);
  expect(stage.count("create")).toBe(1);
  expect(stage.count("poll")).toBe(0);
  return tookMs;
}

test.for(jobProviders)(
  "row 5: an abort during the wait for %s's next poll rejects within 20 ms with the caller's own reason",
  async (name) => {
    expect(await shortestMs(20, () => abortDuringWait(name))).toBeLessThan(20);
  },
);

const hanging = [
  { name: "trinetra", phase: "poll" },
  { name: "shortapi", phase: "poll" },
  { name: "aigptimage", phase: "poll" },
  { name: "openaiCompatible", phase: "create" },
  { name: "aigptimage", phase: "download" },
] as const;

async function abortDuringHang({ name, phase }: (typeof hanging)[number]): Promise<number> {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: name, phase, fault: "hang" });
  const controller = new AbortController();
  const reason = new Error("changed my mind");
  const saveTo = join(tmpdir(), "gpt-image-client-anchors");
  const client = stage.client(name, { poll: 10 }, systemClock);
  const call = reasonOf(client.generate({ prompt }, { signal: controller.signal, saveTo }));
  await until(() => stage.count(phase) === 1);
  const arrived = stage.sandbox.requests.length;
  const abortedAt = performance.now();
  controller.abort(reason);
  expect(await call).toBe(reason);
  const tookMs = performance.now() - abortedAt;
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(arrived);
  return tookMs;
}

test.for(hanging)(
  "row 5: an abort during a $phase of $name that hangs rejects within 20 ms, and nothing more is sent",
  async (which) => {
    expect(await shortestMs(20, () => abortDuringHang(which))).toBeLessThan(20);
  },
);

// ---- 6 ----

test.for(allProviders)(
  "row 6: when one of three calls to %s is refused, the images of the other two are there",
  async (name) => {
    await using stage = await startStage();
    const { n, largest } = thrice[name];
    const fault = { fault: "refusal", status: 400, message: "No." } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const { images, failures, cost } = await stage.client(name).generate({ prompt, n });
    const lost = n - images.length;
    expect([1, largest]).toContain(lost);
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ name: "InvalidRequestError", charged: "no" });
    expect(stage.count("create")).toBe(3);
    expect(stage.sandbox.charges).toHaveLength(2);
    expect(stage.sandbox.charges.reduce((sum, each) => sum + each.images, 0)).toBe(images.length);
    const billed = stage.sandbox.charges.reduce((sum, each) => sum + each.amount, 0);
    if (name === "trinetra") expect(cost?.amount).toBe(billed);
    const bytes = await Promise.all(images.map((image) => image.bytes()));
    expect(bytes.every((each) => each.byteLength > 0)).toBe(true);
  },
);

// ---- 7 ----

test("row 7: an answer slower than the time-out is waited for once, and its charge is unknown", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "hang" });
  const clock = new TestClock({ auto: false });
  const call = failureOf(
    stage.client("openaiCompatible", { timeoutMs: 50_000 }, clock).generate({ prompt }),
  );
  await until(() => stage.sandbox.jobs.length === 1);
  await clock.advance(50_000);
  const error = await call;
  await clock.advance(600_000);
  await aMoment();
  expect(error).toMatchObject({ name: "TimeoutError", charged: "unknown", timeoutMs: 50_000 });
  expect(error.job?.reference.tasks).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
});

test.for(["shortapi", "trinetra"] as const)(
  "row 7: a create of %s that is not answered in time is not sent again",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "hang", times: Infinity });
    const clock = new TestClock({ auto: false });
    const call = failureOf(
      stage.client(name, { attemptTimeoutMs: 40_000 }, clock).generate({ prompt }),
    );
    await until(() => stage.sandbox.jobs.length === 1);
    await clock.advance(40_000);
    const error = await call;
    await clock.advance(600_000);
    await aMoment();
    expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
    expect(error.job).toBeDefined();
    expect(stage.count("create")).toBe(1);
  },
);

test("row 7: a create of aigptimage that is not answered in time is sent again under its key, and billed once", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "aigptimage", phase: "create", fault: "hang" });
  const clock = new TestClock({ auto: false });
  const call = stage.client("aigptimage", { attemptTimeoutMs: 40_000 }, clock).generate({ prompt });
  await until(() => stage.sandbox.jobs.length === 1);
  await clock.advance(45_000);
  await until(() => stage.count("create") === 2);
  for (let polls = 0; polls < 200 && stage.sandbox.jobs[0]?.state !== "succeeded"; polls += 1) {
    await aMoment();
  }
  let done = false;
  const watched = call.finally(() => {
    done = true;
  });
  while (!done) {
    await clock.advance(1_000);
    await aMoment();
  }
  expect((await watched).images).toHaveLength(1);
  expect(stage.count("create")).toBe(2);
  expect(stage.sandbox.charges).toHaveLength(1);
});

// ---- 8 ----

test.for(allProviders)(
  "row 8: a success of %s without an image is a MalformedResponseError, asked for once and charged",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "no-image", times: Infinity });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ name: "MalformedResponseError", charged: "yes" });
    expect(error.retryable).toBe(false);
    expect(error.job).toBeDefined();
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

// ---- 9 ----

const rateLimits = allProviders.flatMap((name) => [
  { name, as: "header" as const },
  { name, as: "date" as const },
  ...(name === "aigptimage" ? [{ name, as: "body" as const }] : []),
]);

test.for(rateLimits)(
  "row 9: $name's 429 with 90 s as $as is obeyed: sent again after 90 s and no sooner",
  async ({ name, as }) => {
    await using stage = await startStage();
    const fault = { fault: "rate-limited", retryAfterSeconds: 90, as } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const sentAt: number[] = [];
    const onEvent = (event: ImageEvent) => {
      if (event.type === "submitting") sentAt.push(event.at);
    };
    const { images } = await stage.client(name, { onEvent }).generate({ prompt });
    expect(images).toHaveLength(1);
    expect(stage.count("create")).toBe(2);
    expect(stage.sandbox.charges).toHaveLength(1);
    const waitedMs = (sentAt[1] ?? 0) - (sentAt[0] ?? 0);
    expect(waitedMs).toBeGreaterThanOrEqual(as === "date" ? 89_000 : 90_000);
    expect(waitedMs).toBeLessThanOrEqual(92_000);
  },
);

test.for(rateLimits)(
  "row 9: $name's 429 with 90 s as $as is an error at once when the time-out comes sooner",
  async ({ name, as }) => {
    await using stage = await startStage();
    const fault = { fault: "rate-limited", retryAfterSeconds: 90, as } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const error = await failureOf(stage.client(name, { timeoutMs: 60_000 }).generate({ prompt }));
    expect(stage.clock.elapsedMs).toBe(0);
    expect(error).toMatchObject({ name: "RateLimitError", charged: "no", retryable: true });
    expect(error.retryAfterMs).toBeGreaterThan(88_000);
    expect(error.retryAfterMs).toBeLessThanOrEqual(92_000);
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

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

test("row 14: an answer that takes ten minutes less a second is waited for, over undici", async () => {
  let answer: () => void = () => {};
  await using server = await startServer((_, response) => {
    answer = () => sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
  });
  const provider = providerOf("openaiCompatible", { baseURL: server.url, apiKey: "a-key" });
  const clock = new TestClock({ auto: false });
  const call = new ProviderClient({ provider }, clock).generate({ prompt });
  await until(() => server.requests.length === 1);
  await clock.advance(599_000);
  answer();
  const { images, timing } = await call;
  expect(images).toHaveLength(1);
  expect(timing.durationMs).toBe(599_000);
  expect(server.requests).toHaveLength(1);
});

test("row 14: an answer that never comes is waited for until the time-out and no longer", async () => {
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
