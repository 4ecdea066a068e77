import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ProviderClient } from "../../../src/client";
import {
  addImageJob,
  createImageProcessor,
  type ImageProcessorOptions,
  listUnknown,
  scheduleImageSweep,
} from "../../../src/doors/bullmq/index";
import { type Journal, memoryJournal } from "../../../src/journal/journal";
import type { JournalRecord } from "../../../src/journal/record";
import { shortapi } from "../../../src/providers/index";
import type { SandboxProvider } from "../../../src/testing/sandbox";
import { prompt, type Stage, startStage, until } from "../../support/stage";
import { ModelJob, ModelQueue, seenWith } from "./model-queue";

let stage: Stage;
let queue: ModelQueue;
let journal: Journal;
/** Writes of images that the journal is to refuse, by the record's id. */
let refuses: (id: string) => boolean;
const saved: string[] = [];

beforeEach(async () => {
  stage = await startStage();
  queue = new ModelQueue();
  refuses = () => false;
  const memory = memoryJournal();
  journal = {
    ...memory,
    ...{ shared: true, volatile: false },
    async writeImage(id, position, bytes) {
      if (refuses(id)) throw new Error("no space left on device");
      return memory.writeImage(id, position, bytes);
    },
  };
  saved.length = 0;
});
afterEach(() => stage[Symbol.asyncDispose]());

const save: ImageProcessorOptions["save"] = async (image, { id, index }) => {
  await image.bytes();
  saved.push(`${id}-${index}`);
  return `/out/${id}-${index}.png`;
};

const processorOf = (provider: SandboxProvider, options: Partial<ImageProcessorOptions> = {}) =>
  createImageProcessor(stage.client(provider, { journal }), { save, queue, ...options });

const order = (n = 1, jobId = "order-1") =>
  addImageJob(queue, { prompt, n }, { jobId }) as Promise<ModelJob>;

async function unknown(): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of listUnknown(queue)) found.push(id);
  return found;
}

test("of a split order the image that the journal could not keep is waited for, not written off", async () => {
  let left = 4;
  let first: string | undefined;
  refuses = (id) => {
    first ??= id;
    return id === first && left-- > 0;
  };
  const job = await order(3);
  // Each step is another worker's.
  for (let steps = 0; job.state !== "completed" && steps < 50; steps += 1) {
    await queue.step(processorOf("shortapi"), job);
  }
  expect(job.returnvalue).toMatchObject({
    files: [0, 1, 2].map((index) => `/out/order-1-${index}.png`),
    failures: [],
  });
  expect(stage.count("create")).toBe(3);
  expect(stage.sandbox.charges).toHaveLength(3);
  expect(await unknown()).toEqual([]);
});

test("the image that nobody can ask for again is saved from its error", async () => {
  refuses = () => true;
  const job = await queue.run(processorOf("openaiCompatible"), await order());
  expect(job.returnvalue).toMatchObject({
    files: ["/out/order-1-0.png"],
    failures: [],
    warnings: [expect.stringContaining("no space left on device")],
  });
  expect(stage.count("create")).toBe(1);
  expect(await unknown()).toEqual([]);
});

test("a save that throws once loses nothing of what is in memory alone", async () => {
  refuses = () => true;
  let failures = 1;
  const processor = processorOf("openaiCompatible", {
    save(image, context) {
      failures -= 1;
      if (failures >= 0) throw new Error("the bucket is away");
      return save(image, context);
    },
  });
  const job = await queue.run(processor, await order());
  expect(job).toMatchObject({ state: "completed", delaysMs: [] });
  expect(saved).toEqual(["order-1-0"]);
});

test("what is in memory alone is saved though the worker is to stop", async () => {
  const abort = new AbortController();
  refuses = () => {
    abort.abort(new Error("the worker is to stop"));
    return true;
  };
  const job = await order();
  await queue.step(processorOf("openaiCompatible"), job, abort.signal);
  expect(job.state).toBe("completed");
  expect(saved).toEqual(["order-1-0"]);
});

test("an image that ends early is not delivered as a whole one", async () => {
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "truncated", times: 1 },
  } as const);
  const job = await queue.run(processorOf("openaiCompatible"), await order());
  expect(job.state).toBe("failed");
  expect(job.known.charged).not.toBe("no");
  expect(saved).toEqual([]);
  expect(await unknown()).toEqual(["order-1"]);
  expect(stage.count("create")).toBe(1);
});

test("an error of unknown origin does not claim that nothing was charged", async () => {
  const client = stage.client("trinetra", { journal });
  vi.spyOn(client, "submit").mockRejectedValue(new TypeError("a fault of ours"));
  const job = await queue.run(createImageProcessor(client, { save, queue }), await order());
  expect(job.state).toBe("failed");
  expect(job.known.charged).toBe("unknown");
});

test("a failure that cost nothing does not speak for another task of the order that did", async () => {
  stage.sandbox.inject({ provider: "shortapi", phase: "create", fault: "moderation", times: 1 });
  stage.sandbox.inject({
    ...{ provider: "shortapi", phase: "create", fault: "reset-after-acceptance", times: 1 },
  } as const);
  const job = await queue.run(processorOf("shortapi"), await order(2));
  expect(job.state).toBe("failed");
  expect(job.known.charged).toBe("unknown");
  expect(await unknown()).toEqual(["order-1"]);
});

/** A sweep long after everything in the queue has ended. */
async function sweepLater(processor: ReturnType<typeof processorOf>, ageMs: number) {
  for (const job of queue.jobs.values()) {
    if (job.finishedOn !== undefined) job.finishedOn = Date.now() - ageMs;
  }
  const before = new Date(Date.now() - ageMs).toISOString();
  for await (const { record } of journal.list()) {
    const known = record as JournalRecord;
    const settledAt = known.settledAt === undefined ? {} : { settledAt: before };
    await journal.update({ ...known, submittedAt: before, ...settledAt });
  }
  let data: unknown;
  await scheduleImageSweep({
    async upsertJobScheduler(_id, _repeat, template) {
      data = template.data;
    },
  });
  const job = Object.assign(new ModelJob("repeat:1", data), { name: "image-sweep" });
  return processor(job, "token");
}

const hourMs = 60 * 60 * 1000;

test("the record of an order with a task of unknown fate is kept until its fate is known", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...fault });
  const job = await queue.run(processorOf("shortapi"), await order(3));
  expect(job.state).toBe("completed");
  expect(saved).toHaveLength(2);
  expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({ released: 0 });
  expect(await unknown()).toEqual(["order-1"]);
  // A person has found it in the provider's console.
  const known = new Set(job.known.reference?.tasks.map(({ id }) => id));
  const lost = stage.sandbox.jobs.find(({ jobId }) => !known.has(jobId));
  const settlement = { charged: "yes", taskId: lost?.jobId ?? "" } as const;
  await stage.client("shortapi", { journal }).settle(job.known.reference, settlement);
  expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({
    ...{ released: 0, retried: ["order-1"] },
  });
  await queue.run(processorOf("shortapi"), job);
  expect(job.known.result).toMatchObject({ files: { length: 3 }, failures: [] });
  expect(stage.count("create")).toBe(3);
  expect(await unknown()).toEqual([]);
  expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({ released: 1 });
});

test("a completed order leaves the list once a person has settled its task, and then the journal", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...fault });
  const job = await queue.run(processorOf("shortapi"), await order(3));
  expect(await unknown()).toEqual(["order-1"]);
  const client = stage.client("shortapi", { journal });
  await client.settle(job.known.reference, { charged: "no" });
  expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({
    ...{ released: 0, retried: [] },
  });
  expect(await unknown()).toEqual([]);
  expect(job.known.result).toMatchObject({ files: { length: 2 }, failures: [{ charged: "no" }] });
  expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({ released: 1 });
});

test("a completed order that was charged for a missing image can be let go of by hand", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...fault });
  const job = await queue.run(processorOf("shortapi"), await order(3));
  const client = stage.client("shortapi", { journal });
  await client.settle(job.known.reference, { charged: "yes" });
  for (const _ of [1, 2]) {
    expect(await sweepLater(processorOf("shortapi"), 2 * hourMs)).toMatchObject({ released: 0 });
  }
  expect(job.known.result).toMatchObject({ failures: [{ charged: "yes" }] });
  expect(await unknown()).toEqual(["order-1"]);
  for await (const each of client.recover({ jobId: job.known.reference?.id ?? "" })) {
    await each.release();
  }
  expect(await client.holds(job.known.reference)).toBe(false);
});

test("a sweep passes over a settled order whose image was saved from its error", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "openaiCompatible", ...fault });
  refuses = () => true;
  const job = await queue.run(processorOf("openaiCompatible"), await order(11));
  const { result } = job.known;
  expect(result).toMatchObject({
    files: ["/out/order-1-0.png"],
    failures: [{ charged: "unknown" }],
  });
  const client = stage.client("openaiCompatible", { journal });
  await client.settle(job.known.reference, { charged: "yes" });
  expect(await sweepLater(processorOf("openaiCompatible"), 2 * hourMs)).toMatchObject({
    ...{ released: 0, retried: [], orphans: [] },
  });
  expect(job.known.result).toEqual(result);
});

test("what was never delivered does not expire in a sweep, and its orphan is told of once", async () => {
  const job = await order();
  const told: string[] = [];
  const processor = processorOf("trinetra", { onOrphan: ({ id }) => told.push(id) });
  await queue.run(processor, job);
  queue.jobs.clear();
  for (const _ of [1, 2]) {
    expect(await sweepLater(processor, 60 * 24 * hourMs)).toMatchObject({
      orphans: [job.known.reference?.id],
    });
  }
  expect(told).toEqual([job.known.reference?.id]);
});

test("a completed order is kept in the queue for at least 30 days by default", async () => {
  let kept: unknown;
  const recording = {
    getJob: async () => undefined,
    async add(_name: string, _data: object, options?: { removeOnComplete?: { age: number } }) {
      kept = options?.removeOnComplete?.age;
    },
  };
  await addImageJob(recording, { prompt });
  expect(kept).toBeGreaterThanOrEqual(30 * 24 * 60 * 60);
});

test("what failed and cost nothing is no orphan, and leaves the journal with the sweep", async () => {
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "failure", times: 2 });
  const told: string[] = [];
  const processor = processorOf("trinetra", { onOrphan: ({ id }) => told.push(id) });
  for (const id of ["order-1", "order-2"]) {
    const job = await order(1, id);
    job.opts = { attempts: 1 };
    expect(await queue.run(processor, job)).toMatchObject({ state: "failed" });
  }
  // Nobody asks for that order again.
  queue.jobs.delete("order-2");
  expect(stage.sandbox.charges).toHaveLength(0);
  expect(await sweepLater(processor, 3 * hourMs)).toMatchObject({ released: 2, orphans: [] });
  expect(told).toEqual([]);
  const left = async () => {
    const found: unknown[] = [];
    for await (const { record } of journal.list()) found.push(record);
    return found;
  };
  // Another worker may be at the next try: the key must not lead past these while it can.
  expect(await left()).toMatchObject([{ released: true }, { released: true }]);
  await sweepLater(processor, 31 * 24 * hourMs);
  expect(await left()).toEqual([]);
});

/** A worker that sends the order and is killed before it writes anything to the queue. */
async function killedWorker(job: ModelJob): Promise<void> {
  const never = () => new Promise<void>(() => {});
  const written = { updateData: never, moveToDelayed: never, updateProgress: never };
  job.attemptsStarted += 1;
  void processorOf("shortapi")(seenWith(job, written), "token").catch(() => {});
  await until(() => stage.sandbox.charges.length === 1);
}

test.each([
  ["no API key", undefined],
  ["another account's key", "another-key"],
])(
  "a worker with %s does not say that an order cost nothing that one before it sent",
  async (_, apiKey) => {
    const { baseURL } = stage.sandbox.shortapi;
    const job = await order();
    stage.sandbox.inject({
      provider: "shortapi",
      phase: "create",
      fault: "reset-after-acceptance",
    });
    await killedWorker(job);
    vi.stubEnv("SHORTAPI_KEY", undefined);
    const provider = shortapi({ baseURL, ...(apiKey !== undefined && { apiKey }) });
    const stranger = new ProviderClient({ provider, journal }, stage.clock);
    await queue.run(createImageProcessor(stranger, { save, queue }), job);
    expect(job.state).toBe("failed");
    expect(job.known.charged).toBe("unknown");
    expect(job.failedReason).toMatch(/one before it may have sent the order\.$/);
    expect(await unknown()).toEqual(["order-1"]);
    // Nor does the next one.
    await job.retry("failed");
    await queue.run(createImageProcessor(stranger, { save, queue }), job);
    expect(job.known.charged).toBe("unknown");
    // With the key back, the order is found in the journal, and not sent again.
    await job.retry("failed");
    await queue.run(processorOf("shortapi"), job);
    expect(job.known.reference).toBeDefined();
    expect(stage.count("create")).toBe(1);
  },
);

test("an order that was refused, and whose next worker has no API key, is known to have cost nothing", async () => {
  const { baseURL } = stage.sandbox.shortapi;
  const stranger = new ProviderClient({ provider: shortapi({ baseURL }), journal }, stage.clock);
  const refused = { phase: "create", fault: "rate-limited", retryAfterSeconds: 5 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...refused });
  const job = await order();
  await queue.step(processorOf("shortapi"), job);
  expect(job.state).toBe("delayed");
  vi.stubEnv("SHORTAPI_KEY", undefined);
  await queue.run(createImageProcessor(stranger, { save, queue }), job);
  expect(job.known.charged).toBe("no");
  expect(job.failedReason).toMatch(/Nothing was charged\.$/);
});

test("an order whose first worker has no API key is known to have cost nothing", async () => {
  vi.stubEnv("SHORTAPI_KEY", undefined);
  const { baseURL } = stage.sandbox.shortapi;
  const stranger = new ProviderClient({ provider: shortapi({ baseURL }), journal }, stage.clock);
  const job = await queue.run(createImageProcessor(stranger, { save, queue }), await order());
  expect(job.known.charged).toBe("no");
  expect(await unknown()).toEqual([]);
});
