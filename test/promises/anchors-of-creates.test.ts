import { expect, test } from "vitest";
import type { SandboxProvider } from "../../src/testing/sandbox";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import {
  allProviders,
  aMoment,
  failureOf,
  imagesForThreeTasks,
  prompt,
  startStage,
  until,
} from "../support/stage";

// One paragraph for each row of the table of anchors. What counts is what arrived at the server.

/** How many images one native request brings at most. */
const mostInOneTask: Readonly<Record<SandboxProvider, number>> = {
  shortapi: 1,
  aigptimage: 1,
  trinetra: 4,
  openaiCompatible: 10,
};

// ---- 6 ----

test.for(allProviders)(
  "row 6: when one of three calls to %s is refused, the images of the other two are there",
  async (name) => {
    await using stage = await startStage();
    const n = imagesForThreeTasks[name];
    const fault = { fault: "refusal", status: 400, message: "No." } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const { images, failures, cost } = await stage.client(name).generate({ prompt, n });
    const lost = n - images.length;
    expect([1, mostInOneTask[name]]).toContain(lost);
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

test("row 7: a response slower than the time-out is waited for once, and its charge is unknown", async () => {
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
