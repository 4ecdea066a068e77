import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  startStage,
  typesOf,
  until,
} from "../support/stage";
import { startCounting } from "./promise-support";

// ---- submit, status, resume, events ----

test.for(jobProviders)(
  "submit to %s resolves once it is accepted, without a poll",
  async (name) => {
    await using stage = await startStage();
    const job = await stage.client(name).submit({ prompt });
    await aMoment();
    expect(stage.sandbox.requests.map(({ phase }) => phase)).toEqual(["create"]);
    expect(job.reference.tasks).toMatchObject([{ state: "queued" }]);
  },
);

test.for(allProviders)("submit to %s rejects if no task was accepted", async (name) => {
  await using stage = await startStage();
  const fault = { fault: "refusal", status: 402, times: Infinity } as const;
  stage.sandbox.inject({ provider: name, phase: "create", ...fault });
  const error = await failureOf(stage.client(name).submit({ prompt }));
  expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
  expect(stage.count("create")).toBe(1);
});

test("submit to a provider that answers with the images settles the job, and its images are in it", async () => {
  await using stage = await startStage();
  const client = stage.client("openaiCompatible");
  const job = await client.submit({ prompt });
  expect(await job.status()).toMatchObject({ state: "succeeded", settled: true });
  expect((await job.result()).images).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
  expect(() => client.resume(job.reference)).toThrow(/resume|references/);
});

test.for(jobProviders)("status of a job of %s is one poll", async (name) => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const word = { shortapi: 0, aigptimage: "waiting", trinetra: "queued" }[name];
  stage.sandbox.inject({ provider: name, phase: "poll", fault: "unknown-state", word });
  const job = await stage.client(name).submit({ prompt });
  expect(await job.status()).toMatchObject({ state: "queued", settled: false });
  expect(stage.count("poll")).toBe(1);
  const resumed = stage.client(name).resume(JSON.stringify(job));
  await aMoment();
  expect(stage.count("poll")).toBe(1);
  expect(await resumed.status()).toMatchObject({ state: "succeeded", settled: true });
  expect(stage.count("poll")).toBe(2);
  expect((await resumed.result()).images).toHaveLength(1);
  expect(stage.count("poll")).toBe(2);
});

test("status that cannot be had rejects with the failure and the job", async () => {
  await using stage = await startStage();
  const job = await stage.client("trinetra").submit({ prompt });
  const target = { provider: "trinetra", phase: "poll" } as const;
  stage.sandbox.inject({ ...target, fault: "unavailable" });
  const failed = await failureOf(job.status());
  expect(failed).toMatchObject({ name: "ProviderUnavailableError", charged: "unknown" });
  expect(failed.job?.id).toBe(job.id);
  stage.sandbox.inject({ ...target, fault: "refusal", status: 401 });
  expect(await failureOf(job.status())).toMatchObject({ name: "AuthenticationError" });
  expect(stage.count("poll")).toBe(2);
  expect((await job.result()).images).toHaveLength(1);
});

test("several listeners and waiters of a job share one polling loop", async () => {
  const { server, provider, counted } = await startCounting(5);
  await using _ = server;
  const client = new ProviderClient({ provider, poll: 1_000 }, new TestClock());
  const job = await client.submit({ prompt });
  const listen = async () => {
    const events: ImageEvent[] = [];
    for await (const event of job.events()) events.push(event);
    return events;
  };
  const [one, two, first, second] = await Promise.all([
    listen(),
    listen(),
    job.result(),
    job.result(),
  ]);
  expect(counted.polls).toBe(5);
  expect(one).toEqual(two);
  expect(typesOf(one)).toEqual(["submitted", "status", "succeeded"]);
  expect(first.images[0]).toBe(second.images[0]);
});

test("a listener that leaves early stops the loop that it alone kept going", async () => {
  const { server, provider, counted } = await startCounting(99);
  await using _ = server;
  const clock = new TestClock();
  const job = await new ProviderClient({ provider, poll: 1_000 }, clock).submit({ prompt });
  for await (const event of job.events()) if (event.type === "status") break;
  const polls = counted.polls;
  expect(polls).toBe(1);
  await until(() => clock.pending === 0);
  await clock.advance(60_000);
  await aMoment();
  expect(counted.polls).toBe(polls);
});

test.for(jobProviders)(
  "events of a failed job of %s end without throwing, and the last one says why",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "failure" });
    const job = await stage.client(name).submit({ prompt });
    const events: ImageEvent[] = [];
    for await (const event of job.events()) events.push(event);
    expect(events.at(-1)).toMatchObject({
      ...{ type: "failed", error: { name: "GenerationFailedError" } },
      ...{ jobId: job.id, task: 0, provider: name },
    });
  },
);

test("events end when their signal aborts, without throwing", async () => {
  const { server, provider } = await startCounting(99);
  await using _ = server;
  const client = new ProviderClient({ provider, poll: 1_000 }, new TestClock());
  const job = await client.submit({ prompt });
  const controller = new AbortController();
  let seen = 0;
  for await (const _event of job.events({ signal: controller.signal })) {
    seen += 1;
    if (seen === 3) controller.abort();
  }
  expect(seen).toBeGreaterThanOrEqual(3);
});

test("metadata comes back in every event, and what onEvent throws touches nothing", async () => {
  await using stage = await startStage();
  const events: ImageEvent[] = [];
  const metadata = { order: 7 };
  const { images } = await stage
    .client("shortapi", {
      onEvent: () => Promise.reject(new Error("rejected")),
    })
    .generate(
      { prompt },
      {
        metadata,
        onEvent(event) {
          events.push(event);
          throw new Error("thrown");
        },
      },
    );
  expect(images).toHaveLength(1);
  expect(events.length).toBeGreaterThan(2);
  expect(events.every((event) => event.metadata === metadata)).toBe(true);
});
