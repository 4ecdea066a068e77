import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { Adapter, Outcome } from "../../src/provider";
import { defineProvider } from "../../src/provider";
import type { PollMoment, PollSchedule } from "../../src/schedule/schedule";
import type { ImageEvent } from "../../src/types";
import { promptOperation } from "../support/adapter";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import { aMoment, failureOf, prompt, startStage } from "../support/stage";

// ---- schedules ----

test("a schedule hears how old the job is and how often it was asked, and learns when it settled", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const target = { provider: "trinetra", phase: "poll" } as const;
  stage.sandbox.inject({ ...target, fault: "unknown-state", word: "warming", times: 2 });
  const moments: PollMoment[] = [];
  const settled: PollMoment[] = [];
  const poll: PollSchedule = {
    next(moment) {
      moments.push(moment);
      return 1_000 * (moment.attempt + 1);
    },
    settled: (moment) => settled.push(moment),
  };
  await stage.client("trinetra", { poll }).generate({ prompt });
  const common = { provider: "trinetra", operation: "generate" };
  expect(moments).toMatchObject([
    { attempt: 0, ageMs: 0, ...common },
    { attempt: 1, ageMs: 1_000, ...common },
    { attempt: 2, ageMs: 3_000, ...common },
  ]);
  expect(settled).toMatchObject([{ attempt: 3, ageMs: 6_000, ...common }]);
});

test("a schedule that throws is a CallbackError with the job, which can still be had", async () => {
  await using stage = await startStage();
  const cause = new Error("oops");
  let broken = true;
  const poll: PollSchedule = {
    next() {
      if (broken) throw cause;
      return 1_000;
    },
  };
  const client = stage.client("trinetra", { poll });
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "CallbackError", callback: "poll.next", cause });
  expect(error.charged).toBe("unknown");
  expect(stage.count("poll")).toBe(0);
  broken = false;
  expect((await error.job?.result())?.images).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
});

test("a schedule that throws when it learns costs the caller nothing", async () => {
  await using stage = await startStage();
  const poll: PollSchedule = {
    next: () => 1_000,
    settled() {
      throw new Error("oops");
    },
  };
  const events: ImageEvent[] = [];
  const onEvent = (event: ImageEvent) => events.push(event);
  const { images } = await stage.client("trinetra", { poll, onEvent }).generate({ prompt });
  expect(images).toHaveLength(1);
  expect(events.at(-1)?.type).toBe("succeeded");
});

test.for([Number.NaN, undefined, "soon"])(
  "where a schedule gives %s the wait is 5 s, so that it does not poll without end",
  async (given) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    // What JavaScript callers may do.
    const poll = { next: () => given } as unknown as PollSchedule;
    const { timing } = await stage.client("trinetra", { poll }).generate({ prompt });
    expect(stage.count("poll")).toBe(1);
    expect(timing.durationMs).toBe(5_000);
  },
);

test("a schedule that gives less than nothing polls at once", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const poll = { next: () => -5 };
  const { timing } = await stage.client("trinetra", { poll }).generate({ prompt });
  expect(timing.durationMs).toBe(0);
});

// ---- adapters of somebody else's, which may break the contract ----

/** A provider of the test's own, whose adapter reads as the test wants. */
async function startStranger(read: (phase: string, body: unknown) => Outcome, query = true) {
  const server = await startServer((_, response) => sendJson(response, { n: 1 }));
  const adapter: Adapter = {
    name: "stranger",
    authorize: (apiKey) => ({ Authorization: apiKey }),
    answersWith: "job",
    idempotent: false,
    operations: {
      generate: promptOperation({ method: "POST", path: "/jobs", body: { json: {} } }),
    },
    ...(query && { query: (id: string) => ({ method: "GET" as const, path: `/jobs/${id}` }) }),
    read: (phase, { body }) => read(phase, body),
  };
  const provider = defineProvider(server.url, adapter)({ apiKey: "the-key" });
  const clock = new TestClock();
  return { server, clock, client: new ProviderClient({ provider, poll: 1_000 }, clock) };
}

const queued: Outcome = { state: "queued", id: "1", word: "queued", known: true };

test("an adapter that throws while it reads a create leaves a charge unknown", async () => {
  const { server, client } = await startStranger(() => {
    throw new Error("bug");
  });
  await using _ = server;
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "MalformedResponseError", charged: "unknown" });
  await aMoment();
  expect(server.requests).toHaveLength(1);
});

test("an adapter that throws while it reads a poll makes one more poll of it, until the time-out", async () => {
  const { server, client, clock } = await startStranger((phase) => {
    if (phase === "query") throw new Error("bug");
    return queued;
  });
  await using _ = server;
  const error = await failureOf(client.generate({ prompt }, { timeoutMs: 5_500 }));
  expect(error).toMatchObject({ name: "TimeoutError", charged: "unknown" });
  expect(clock.elapsedMs).toBe(5_500);
  expect(server.requests).toHaveLength(6);
  // What went wrong last is the cause.
  expect(error.cause).toMatchObject({ name: "MalformedResponseError" });
});

test.for([
  { what: "queued without an id", outcome: { state: "queued", word: "queued", known: true } },
  { what: "absent", outcome: { state: "absent", message: "no" } },
] as const)(
  "a create that an adapter reads as $what is of unknown fate and not sent again",
  async ({ outcome }) => {
    const { server, client } = await startStranger(() => outcome);
    await using _ = server;
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({ name: "MalformedResponseError", charged: "unknown" });
    await aMoment();
    expect(server.requests).toHaveLength(1);
  },
);

test("a provider that answers a create with the images of a job ends it without a poll", async () => {
  const outputs = [{ base64: pixel.toString("base64") }];
  const { server, client } = await startStranger(() => ({ state: "succeeded", outputs }));
  await using _ = server;
  const { image, timing } = await client.generate({ prompt });
  expect(pixel.equals(await image.bytes())).toBe(true);
  expect(timing.polls).toBe(0);
  expect(server.requests).toHaveLength(1);
});

test("a job whose adapter has no query is not polled, and its fate is unknown", async () => {
  const { server, client } = await startStranger(() => queued, false);
  await using _ = server;
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ charged: "unknown" });
  expect(error.job?.reference.tasks).toMatchObject([{ id: "1" }]);
  expect(server.requests).toHaveLength(1);
});

// ---- what two polls of one job say ----

test("two polls that both see the end settle the job once", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const events: ImageEvent[] = [];
  const onEvent = (event: ImageEvent) => events.push(event);
  const job = await stage.client("trinetra", { onEvent }).submit({ prompt });
  await Promise.all([job.status(), job.status()]);
  expect(stage.count("poll")).toBe(2);
  expect(events.filter((event) => event.type === "succeeded")).toHaveLength(1);
});

test("a missing key during the polls ends them, with the job and a charge that is not denied", async () => {
  await using stage = await startStage();
  const { baseURL, apiKey } = stage.sandbox.trinetra;
  const { trinetra } = await import("../../src/providers/index");
  let key = apiKey;
  const provider = trinetra({ baseURL, apiKey: () => key });
  const client = new ProviderClient({ provider }, stage.clock);
  const job = await client.submit({ prompt });
  key = "";
  const error = await failureOf(job.result());
  expect(error).toMatchObject({ name: "AuthenticationError", charged: "unknown" });
  expect(error.message).toMatch(/It may have been charged\.$/);
  expect(error.job?.id).toBe(job.id);
  expect(stage.count("poll")).toBe(0);
  key = apiKey;
  expect((await job.result()).images).toHaveLength(1);
});
