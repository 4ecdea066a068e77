import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { JobReference } from "../../src/types/reference";
import { TestClock } from "../support/clock";
import {
  allProviders,
  aMoment,
  failureOf,
  imagesForThreeTasks,
  jobProviders,
  prompt,
  startStage,
  systemClock,
  until,
} from "../support/stage";
import { startCounting } from "./promise-support";

// ---- close ----

test.for(jobProviders)("close ends the waits for %s, and each error has its job", async (name) => {
  await using stage = await startStage();
  const clock = new TestClock({ auto: false });
  const client = stage.client(name, {}, clock);
  let accepted = 0;
  const onSubmitted = () => {
    accepted += 1;
  };
  const calls = [1, 2].map(() => failureOf(client.generate({ prompt }, { onSubmitted })));
  await until(() => accepted === 2);
  await client.close();
  for (const error of await Promise.all(calls)) {
    expect(error).toMatchObject({ name: "ClientClosedError", charged: "unknown" });
    const reference = JSON.parse(JSON.stringify(error.job));
    const resumed = await stage.client(name).resume(reference).result();
    expect(resumed.images).toHaveLength(1);
  }
  expect(clock.pending).toBe(0);
  expect(stage.count("create")).toBe(2);
  const late = await failureOf(client.generate({ prompt }));
  expect(late).toMatchObject({ name: "ClientClosedError", charged: "no" });
  expect(stage.count("create")).toBe(2);
});

test.for(jobProviders)(
  "close reads the create that is on its way to %s before it resolves",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "slow", delayMs: 250 });
    const client = stage.client(name, {}, systemClock);
    const learnt: JobReference[] = [];
    const call = failureOf(
      client.generate({ prompt }, { onSubmitted: (job) => learnt.push(job.reference) }),
    );
    await until(() => stage.sandbox.jobs.length === 1);
    const closing = client.close();
    expect(await call).toMatchObject({ name: "ClientClosedError", charged: "unknown" });
    expect(learnt).toHaveLength(0);
    await closing;
    expect(learnt).toMatchObject([{ tasks: [{ id: stage.sandbox.jobs[0]?.jobId }] }]);
  },
);

test("close ends what queues for a slot without sending it, and says that it was not charged", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "hang" });
  const client = stage.client("openaiCompatible", { concurrency: 1 }, systemClock);
  const first = failureOf(client.generate({ prompt }));
  await until(() => stage.count("create") === 1);
  const second = failureOf(client.generate({ prompt }));
  await aMoment();
  await client.close({ timeoutMs: 20 });
  expect((await first).charged).toBe("unknown");
  expect((await second).charged).toBe("no");
  expect(stage.count("create")).toBe(1);
});

// ---- splits and slots ----

test.for([
  ["shortapi", 3, [1, 1, 1]],
  ["aigptimage", 3, [1, 1, 1]],
  ["trinetra", 9, [4, 4, 1]],
  ["openaiCompatible", 12, [10, 2]],
] as const)("%s: %i images are split into native requests", async ([name, n, split]) => {
  await using stage = await startStage();
  const { images, job } = await stage.client(name, { concurrency: 1 }).generate({ prompt, n });
  expect(images).toHaveLength(n);
  expect(job.reference.tasks.map((task) => task.n)).toEqual(split);
  expect(stage.count("create")).toBe(split.length);
  expect(stage.sandbox.charges.map((charge) => charge.images)).toEqual(split);
});

test.for(allProviders)(
  "when all tasks of a split request to %s are refused, the first error has the others",
  async (name) => {
    await using stage = await startStage();
    const n = imagesForThreeTasks[name];
    const fault = { fault: "refusal", status: 400, times: Infinity } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const error = await failureOf(stage.client(name).generate({ prompt, n }));
    expect(error.charged).toBe("no");
    expect(error.failures).toHaveLength(2);
    expect(stage.count("create")).toBe(3);
  },
);

test.for(jobProviders)(
  "a job of %s of which one task was lost is resumed with what it has",
  async (name) => {
    await using stage = await startStage();
    const n = name === "trinetra" ? 9 : 3;
    const fault = { fault: "refusal", status: 400 } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const job = await stage.client(name).submit({ prompt, n });
    const reference = JSON.parse(JSON.stringify(job));
    const { images, failures } = await stage.client(name).resume(reference).result();
    expect(failures).toHaveLength(1);
    expect(failures[0]?.charged).toBe("no");
    expect([n - 1, n - 4]).toContain(images.length);
    expect(stage.count("create")).toBe(3);
  },
);

test.for([1, 2] as const)(
  "with concurrency %i no more tasks than that are at the provider at once, in order",
  async (concurrency) => {
    const { server, provider, counted } = await startCounting(3);
    await using _ = server;
    const client = new ProviderClient({ provider, concurrency }, new TestClock());
    const prompts = ["a", "b", "c", "d", "e", "f"];
    await Promise.all(prompts.map((each) => client.generate({ prompt: each })));
    expect(counted.most).toBe(concurrency);
    expect(counted.creates).toBe(6);
    expect(counted.prompts).toEqual(prompts);
  },
);

test("without concurrency all tasks are at the provider at once", async () => {
  const { server, provider, counted } = await startCounting(3);
  await using _ = server;
  const client = new ProviderClient({ provider }, new TestClock());
  await Promise.all(["a", "b", "c", "d"].map((each) => client.generate({ prompt: each })));
  expect(counted.most).toBe(4);
});

test("a slot is given back after a refusal, a failure and a time-out", async () => {
  await using stage = await startStage();
  const client = stage.client("trinetra", { concurrency: 1, timeoutMs: 20_000 });
  const target = { provider: "trinetra", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "refusal", status: 400 });
  expect((await failureOf(client.generate({ prompt }))).name).toBe("InvalidRequestError");
  stage.sandbox.inject({ ...target, fault: "failure" });
  expect((await failureOf(client.generate({ prompt }))).name).toBe("GenerationFailedError");
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "missing", times: 99 });
  const impatient = failureOf(client.generate({ prompt }, { timeoutMs: 5_000 }));
  expect((await impatient).name).toBe("TimeoutError");
  await using fresh = await startStage();
  expect((await fresh.client("trinetra").generate({ prompt })).images).toHaveLength(1);
  expect(stage.count("create")).toBe(3);
});

test("the time-out of a task does not count the time that it queues for a slot", async () => {
  // Six polls a second apart: 6 s a job, and 18 s for the last of three.
  const { server, provider, counted } = await startCounting(6);
  await using _ = server;
  const clock = new TestClock();
  const options = { provider, concurrency: 1, poll: 1_000, timeoutMs: 7_000 };
  const client = new ProviderClient(options, clock);
  const calls = ["a", "b", "c"].map((each) => client.generate({ prompt: each }));
  const results = await Promise.all(calls);
  expect(results.map(({ images }) => images.length)).toEqual([1, 1, 1]);
  expect(clock.elapsedMs).toBe(18_000);
  expect(counted.most).toBe(1);
});

test("a schedule that throws at once keeps no task of a submit waiting", async () => {
  await using stage = await startStage();
  const next = () => {
    throw new Error("no idea");
  };
  const client = stage.client("shortapi", { concurrency: 1, poll: { next } });
  const startedAt = stage.clock.now();
  const job = await client.submit({ prompt, n: 3 });
  expect(stage.clock.now() - startedAt).toBeLessThan(10_000);
  expect(job.reference.tasks.map(({ id }) => typeof id)).toEqual(["string", "string", "string"]);
});

test("a submit whose last task has its slot keeps the slots of those that still run", async () => {
  await using stage = await startStage({ jobDurationMs: 3_600_000 });
  // The first that is polled ends, and the third task has its slot.
  stage.sandbox.inject({ provider: "shortapi", phase: "poll", fault: "failure", times: 1 });
  const client = stage.client("shortapi", { concurrency: 2, timeoutMs: 60_000 });
  await client.submit({ prompt, n: 3 });
  const startedAt = stage.clock.now();
  await client.submit({ prompt });
  expect(stage.clock.now() - startedAt).toBeGreaterThan(50_000);
  expect(stage.count("create")).toBe(4);
});

test("a task that cannot be asked after keeps no other of its submit waiting", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "shortapi", phase: "poll", fault: "refusal", status: 401 });
  const client = stage.client("shortapi", { concurrency: 1 });
  const startedAt = stage.clock.now();
  const job = await client.submit({ prompt, n: 2 });
  expect(stage.clock.now() - startedAt).toBeLessThan(10_000);
  expect(job.reference.tasks.map(({ id }) => typeof id)).toEqual(["string", "string"]);
  expect((await job.result()).images).toHaveLength(2);
  expect(stage.count("create")).toBe(2);
});
