import { expect, test } from "vitest";
import type { ImageClientOptions, ImageJob } from "../../src/index";
import { memoryJournal } from "../../src/index";
import { TestClock } from "../support/clock";
import {
  aMoment,
  failureOf,
  prompt,
  reasonOf,
  startStage,
  until,
  untilStill,
} from "../support/stage";

const timeoutMs = 60_000;

/** A client of two slots whose time passes by hand, and jobs that are done at the first poll. */
async function startSlots(options: Partial<ImageClientOptions> = {}) {
  const stage = await startStage({ jobDurationMs: 0 });
  const clock = new TestClock({ auto: false });
  const client = stage.client("trinetra", { concurrency: 2, timeoutMs, ...options }, clock);
  const jobs: ImageJob[] = [];
  return {
    stage,
    clock,
    client,
    jobs,
    submit: (count: number) =>
      Promise.all(
        Array.from({ length: count }, async () => void jobs.push(await client.submit({ prompt }))),
      ),
    /** How many creates have left, once no more do. */
    async creates() {
      // The first takes a while on a busy machine, and is still until it leaves.
      await until(() => stage.count("create") > 0);
      await untilStill(() => stage.count("create"));
      return stage.count("create");
    },
    [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose](),
  };
}

test("submitted jobs that nobody asks after keep their slots until timeoutMs have passed since their creates", async () => {
  await using slots = await startSlots();
  const { clock } = slots;
  const all = slots.submit(5);
  expect(await slots.creates()).toBe(2);
  await clock.advance(timeoutMs - 1);
  expect(await slots.creates()).toBe(2);
  await clock.advance(1);
  expect(await slots.creates()).toBe(4);
  await clock.advance(timeoutMs);
  await all;
  expect(await slots.creates()).toBe(5);
  expect(slots.stage.count("poll")).toBe(0);
  // Nobody waits for a slot: no timer keeps the process alive.
  expect(clock.pending).toBe(0);
});

const ends: Record<
  string,
  (slots: Awaited<ReturnType<typeof startSlots>>, job: ImageJob) => unknown
> = {
  "its result": (_, job) => job.result(),
  "its status": (_, job) => job.status(),
  "the status of a job that was resumed": ({ client }, job) =>
    client.resume(job.reference).status(),
  "its release": (_, job) => job.release(),
  "the release of a job that was resumed": ({ client }, job) =>
    client.resume(job.reference).release(),
};

test.for(Object.entries(ends))("a slot is given back by %s", async ([, end]) => {
  await using slots = await startSlots({ poll: 0 });
  await slots.submit(2);
  const third = slots.submit(1);
  expect(await slots.creates()).toBe(2);
  const [job] = slots.jobs;
  if (job === undefined) throw new Error("no job");
  const ended = end(slots, job);
  await until(() => slots.stage.count("create") === 3 || slots.clock.pending > 1);
  await slots.clock.advance(1);
  await ended;
  await third;
  expect(await slots.creates()).toBe(3);
});

test("a poll that finds the job running, or fails for good, gives no slot back", async () => {
  await using slots = await startSlots();
  await slots.submit(2);
  const third = slots.submit(1);
  const { sandbox } = slots.stage;
  const poll = { provider: "trinetra", phase: "poll" } as const;
  sandbox.inject({ ...poll, fault: "unknown-state", word: "warming" });
  sandbox.inject({ ...poll, fault: "refusal", status: 401 });
  await slots.jobs[0]?.status();
  expect(await failureOf(slots.jobs[0]?.status() ?? Promise.resolve())).toMatchObject({
    ...{ code: "authentication", charged: "unknown" },
  });
  expect(await slots.creates()).toBe(2);
  await slots.client.close();
  await reasonOf(third);
});

test("a split submit of more tasks than there are slots asks after its own jobs, and comes back", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const client = stage.client("shortapi", { concurrency: 2, timeoutMs, poll: 1_000 });
  const job = await client.submit({ prompt, n: 5 });
  expect(stage.count("create")).toBe(5);
  expect(stage.clock.elapsedMs).toBeLessThan(timeoutMs);
  const polls = stage.count("poll");
  expect(polls).toBeGreaterThanOrEqual(3);
  // Those that were accepted last are left to the caller.
  await aMoment();
  expect(stage.count("poll")).toBe(polls);
  expect((await job.result()).images).toHaveLength(5);
});

test("generate waits for the slots of what was submitted, and its own time has not begun", async () => {
  await using slots = await startSlots({ poll: 0 });
  await slots.submit(2);
  const call = slots.client.generate({ prompt }, { timeoutMs: 1_000 });
  expect(await slots.creates()).toBe(2);
  await slots.clock.advance(timeoutMs);
  await until(() => slots.stage.count("create") === 3);
  const advancing = setInterval(() => void slots.clock.advance(1), 1);
  expect((await call).images).toHaveLength(1);
  clearInterval(advancing);
});

test("what one key has submitted twice is one job at the provider, and has one slot", async () => {
  await using slots = await startSlots({ journal: memoryJournal() });
  const options = { idempotencyKey: "m" };
  const first = await slots.client.submit({ prompt }, options);
  const second = await slots.client.submit({ prompt }, options);
  expect(second.id).toBe(first.id);
  await slots.submit(1);
  expect(await slots.creates()).toBe(2);
});

test("a submit that is settled by its create keeps no slot", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const client = stage.client("openaiCompatible", { concurrency: 1 });
  for (let count = 0; count < 3; count += 1) await client.submit({ prompt });
  expect(stage.count("create")).toBe(3);
  expect(stage.clock.elapsedMs).toBe(0);
});
