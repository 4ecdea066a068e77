import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ProviderClient } from "../../../src/client";
import {
  addImageJob,
  createImageProcessor,
  type ImageProcessorOptions,
  listUnknown,
} from "../../../src/doors/bullmq/index";
import { type Journal, memoryJournal } from "../../../src/journal/journal";
import type { JournalRecord } from "../../../src/journal/record";
import { openaiCompatible, shortapi } from "../../../src/providers/index";
import type { SandboxProvider } from "../../../src/testing/sandbox";
import { prompt, type Stage, startStage, until } from "../../support/stage";
import { ModelJob, ModelQueue, seenWith } from "./model-queue";

let stage: Stage;
let queue: ModelQueue;
let journal: Journal;

beforeEach(async () => {
  stage = await startStage();
  queue = new ModelQueue();
  journal = { ...memoryJournal(), shared: true, volatile: false };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await stage[Symbol.asyncDispose]();
});

const save: ImageProcessorOptions["save"] = async (image, { id, index }) => {
  await image.bytes();
  return `/out/${id}-${index}.png`;
};

const processorOf = (
  provider: SandboxProvider,
  options: Partial<ImageProcessorOptions> = {},
  timeoutMs = 600_000,
) =>
  createImageProcessor(stage.client(provider, { journal, timeoutMs }), { save, queue, ...options });

const stranger = (provider: ReturnType<typeof shortapi>) =>
  createImageProcessor(new ProviderClient({ provider, journal }, stage.clock), { save, queue });

function withoutKey() {
  vi.stubEnv("SHORTAPI_KEY", undefined);
  return stranger(shortapi({ baseURL: stage.sandbox.shortapi.baseURL }));
}

function withWrongKey() {
  const { baseURL } = stage.sandbox.openaiCompatible;
  return stranger(openaiCompatible({ baseURL, apiKey: "a-wrong-key" }));
}

const order = (n = 1) =>
  addImageJob(queue, { prompt, n }, { jobId: "order-1" }) as Promise<ModelJob>;

async function unknown(): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of listUnknown(queue)) found.push(id);
  return found;
}

/**
 * A run of a worker that is cut off from the queue before its next write, and comes back once its lock is
 * another's; or in the middle of that write, for which BullMQ checks no lock.
 */
function lateRun(job: ModelJob, processor: ReturnType<typeof processorOf>, isInWrite = false) {
  job.attemptsStarted += 1;
  let comeBack = () => {};
  const back = new Promise<void>((resolve) => {
    comeBack = resolve;
  });
  let isCut = false;
  const cut = async () => {
    isCut = true;
    await back;
  };
  if (!isInWrite) {
    vi.spyOn(queue, "getJob").mockImplementationOnce(async (id) => {
      await cut();
      return queue.jobs.get(id);
    });
  }
  const own: Partial<ModelJob> = {
    ...{ attemptsStarted: job.attemptsStarted, attemptsMade: job.attemptsMade },
    data: structuredClone(job.data),
    async updateData(data) {
      if (isInWrite) await cut();
      await job.updateData(data);
    },
    async moveToDelayed() {
      throw Object.assign(new Error("Missing lock"), { code: -2 });
    },
  };
  const end = processor(seenWith(job, own), "token").catch(() => {});
  return {
    cut: until(() => isCut),
    async comesBack() {
      comeBack();
      await end;
    },
  };
}

/** A run of a worker that is cut off before its intent record, and creates once it is back. */
function lateCreate(job: ModelJob, provider: SandboxProvider) {
  let comeBack = () => {};
  const back = new Promise<void>((resolve) => {
    comeBack = resolve;
  });
  let isCut = false;
  const slow: Journal = {
    ...journal,
    async create(record) {
      isCut = true;
      await back;
      return journal.create(record);
    },
  };
  job.attemptsStarted += 1;
  const { attemptsStarted } = job;
  const first = createImageProcessor(stage.client(provider, { journal: slow }), { save, queue });
  const end = first(seenWith(job, { attemptsStarted }), "token").catch(() => {});
  return {
    cut: until(() => isCut),
    async comesBack() {
      comeBack();
      await end;
    },
  };
}

const hourMs = 60 * 60 * 1000;

async function sweepLater(processor: ReturnType<typeof processorOf>) {
  for (const job of queue.jobs.values()) {
    if (job.finishedOn !== undefined) job.finishedOn = Date.now() - 2 * hourMs;
  }
  const before = new Date(Date.now() - 2 * hourMs).toISOString();
  for await (const { record } of journal.list()) {
    const known = record as JournalRecord;
    const settledAt = known.settledAt === undefined ? {} : { settledAt: before };
    await journal.update({ ...known, submittedAt: before, ...settledAt });
  }
  const sweep = { name: "image-sweep", timestamp: Date.now() };
  return processor(
    Object.assign(new ModelJob("repeat:1", { everyMs: 60_000 }), sweep) as never,
    "token",
  );
}

test("a worker that was refused, and comes back late, takes nothing from the one that went on", async () => {
  const refusal = { phase: "create", fault: "refusal", status: 402, times: 1 } as const;
  stage.sandbox.inject({ provider: "trinetra", ...refusal });
  const job = await order();
  const late = lateRun(job, processorOf("trinetra"), true);
  await late.cut;
  // It stalled, and the account has been topped up.
  await queue.step(processorOf("trinetra"), job);
  expect(job.known.reference?.tasks[0]?.id).toBeDefined();
  await late.comesBack();
  await queue.run(processorOf("trinetra"), job);
  expect(job.state).toBe("completed");
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("an order given up by a worker without a key is no orphan", async () => {
  const job = await order();
  const cutOff = seenWith(job, { updateData: () => new Promise<void>(() => {}) });
  job.attemptsStarted = 1;
  void processorOf("shortapi")(cutOff, "token").catch(() => {});
  await until(() => stage.sandbox.charges.length === 1);
  await queue.run(withoutKey(), job);
  expect(await unknown()).toEqual(["order-1"]);
  const orphans: string[] = [];
  // Its job was ordered before its create left.
  Object.assign(job, { timestamp: Date.now() - 3 * hourMs });
  await sweepLater(processorOf("shortapi", { onOrphan: ({ id }) => orphans.push(id) }));
  expect(orphans).toEqual([]);
});

const moments: readonly [string, boolean][] = [
  ["before its write", false],
  ["in the middle of it", true],
];

test.each(moments)(
  "what was bought by a worker that is cut off %s is not lost behind an order that failed meanwhile",
  async (_, isInWrite) => {
    const job = await order();
    const late = lateRun(job, processorOf("shortapi"), isInWrite);
    await late.cut;
    await queue.run(withoutKey(), job);
    expect(job.state).toBe("failed");
    expect(await unknown()).toEqual(["order-1"]);
    await late.comesBack();
    await sweepLater(processorOf("shortapi"));
    if (!isInWrite) expect(await unknown()).toEqual(["order-1"]);
    else await queue.run(processorOf("shortapi"), job);
    expect(job.state).toBe(isInWrite ? "completed" : "failed");
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test.each(moments)(
  "a task that was bought after a refusal, while a worker was cut off %s, is delivered in the end",
  async (_, isInWrite) => {
    const refusal = { phase: "create", fault: "refusal", status: 402, times: 1 } as const;
    stage.sandbox.inject({ provider: "shortapi", ...refusal });
    const first = processorOf("shortapi");
    const job = await order(2);
    await queue.step(first, job);
    expect(job.known.reference?.tasks.map(({ state }) => state)).toContain("refused");
    const unavailable = { phase: "poll", fault: "unavailable", status: 500, times: 1 } as const;
    stage.sandbox.inject({ provider: "shortapi", ...unavailable });
    const late = lateRun(job, first, isInWrite);
    await late.cut;
    // Another worker sees the end of the one task, and buys the other.
    const second = processorOf("shortapi", {
      save() {
        throw new Error("the bucket is away");
      },
    });
    while (job.known.problem?.code !== "save_failed") await queue.step(second, job);
    expect(stage.sandbox.charges).toHaveLength(2);
    await late.comesBack();
    await queue.run(first, job);
    expect(job.state).toBe("completed");
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      await sweepLater(first);
      await queue.run(first, job);
    }
    expect(job.known.result?.files).toHaveLength(2);
  },
);

test.each([1, 2])(
  "an order of %i whose machine is gone in the middle of its creates comes to an end",
  async (n) => {
    const job = await order(n);
    await queue.step(processorOf("shortapi"), job);
    // The machine died before it could write what came of its last create, and its job into the queue.
    for await (const { record } of journal.list()) {
      const { taskId, cost, ...known } = record as JournalRecord;
      if (known.index !== n - 1) continue;
      await journal.update({ ...known, state: "submitting", owner: { host: "gone", pid: 7 } });
    }
    job.data = { request: job.known.request };
    for (let steps = 0; steps < 12 && !["completed", "failed"].includes(job.state); steps += 1) {
      await queue.step(processorOf("shortapi", {}, 3_100), job);
    }
    expect(job.state).toBe(n === 1 ? "failed" : "completed");
    expect(await unknown()).toEqual(["order-1"]);
    expect(stage.sandbox.charges).toHaveLength(n);
  },
  60_000,
);

test("a worker that was refused, and comes back late, does not call another's order free", async () => {
  const phase = { provider: "trinetra", phase: "create", times: 1 } as const;
  stage.sandbox.inject({ ...phase, fault: "refusal", status: 402 });
  const job = await order();
  const late = lateRun(job, processorOf("trinetra"));
  await late.cut;
  stage.sandbox.inject({ ...phase, fault: "reset-after-acceptance" });
  await queue.run(processorOf("trinetra"), job);
  expect(job).toMatchObject({ state: "failed", data: { charged: "unknown" } });
  await late.comesBack();
  await until(() => stage.sandbox.charges.length === 1);
  expect(job.known.charged).not.toBe("no");
  expect(await unknown()).toEqual(["order-1"]);
});

test.each(["shortapi", "openaiCompatible"] as const)(
  "%s: what a worker buys late, after another has given the order up as refused, is delivered",
  async (provider) => {
    const job = await order();
    const late = lateCreate(job, provider);
    await late.cut;
    const refusal = { phase: "create", fault: "refusal", status: 402, times: 1 } as const;
    stage.sandbox.inject({ provider, ...refusal });
    await queue.run(processorOf(provider), job);
    expect(job).toMatchObject({ state: "failed", data: { charged: "no" } });
    await late.comesBack();
    expect(stage.sandbox.charges).toHaveLength(1);
    await sweepLater(processorOf(provider));
    await queue.run(processorOf(provider), job);
    expect(job).toMatchObject({ state: "completed", data: { result: { failures: [] } } });
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test("a worker without a key does not call an order free that one before it sent late", async () => {
  const job = await order();
  const late = lateCreate(job, "shortapi");
  await late.cut;
  // The next worker is refused: nothing was sent so far.
  const refused = { phase: "create", fault: "rate-limited", retryAfterSeconds: 5 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...refused, times: 1 });
  await queue.step(processorOf("shortapi"), job);
  expect(job.state).toBe("delayed");
  await late.comesBack();
  expect(stage.sandbox.charges).toHaveLength(1);
  await queue.run(withoutKey(), job);
  expect(job).toMatchObject({ state: "failed", data: { charged: "unknown" } });
});

test("a worker with a wrong key does not call an order free of which the journal has the pictures", async () => {
  const job = await order();
  const cutOff = seenWith(job, {
    attemptsStarted: 1,
    updateData: () => new Promise<void>(() => {}),
  });
  job.attemptsStarted = 1;
  void processorOf("openaiCompatible")(cutOff, "token").catch(() => {});
  const isKept = async () => {
    for await (const { record } of journal.list()) {
      if ((record as JournalRecord).state === "succeeded") return true;
    }
    return false;
  };
  while (!(await isKept())) await setImmediate();
  await queue.run(withWrongKey(), job);
  expect(job).toMatchObject({ state: "failed", data: { charged: "unknown" } });
  expect(await unknown()).toEqual(["order-1"]);
});

test("an order that a sweep has put back is not called free by a run that never looks it up", async () => {
  const job = await order();
  const late = lateCreate(job, "openaiCompatible");
  await late.cut;
  const refusal = { phase: "create", fault: "refusal", status: 402, times: 1 } as const;
  stage.sandbox.inject({ provider: "openaiCompatible", ...refusal });
  await queue.run(processorOf("openaiCompatible"), job);
  expect(job).toMatchObject({ state: "failed", data: { charged: "no" } });
  await late.comesBack();
  await sweepLater(processorOf("openaiCompatible"));
  await queue.run(withWrongKey(), job);
  expect(job).toMatchObject({ state: "failed", data: { charged: "unknown" } });
  expect(await unknown()).toEqual(["order-1"]);
});

test("a queue that never had the job refuses none of its writes", async () => {
  const job = await order();
  const other = new ModelQueue();
  await queue.run(processorOf("shortapi", { queue: other }), job);
  expect(job.state).toBe("completed");
});
