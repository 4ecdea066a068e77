import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  addImageJob,
  createImageProcessor,
  type ImageProcessorOptions,
  imageWorkerOptions,
  listUnknown,
  promoteImageJob,
  scheduleImageSweep,
  type UnknownImageJob,
} from "../../../src/doors/bullmq/index";
import { type Journal, memoryJournal } from "../../../src/journal/journal";
import type { JournalRecord } from "../../../src/journal/record";
import type { SandboxProvider } from "../../../src/testing/sandbox";
import { allProviders, jobProviders, prompt, type Stage, startStage } from "../../support/stage";
import { ModelJob, ModelQueue } from "./model-queue";

let stage: Stage;
let queue: ModelQueue;
let journal: Journal;
const saved: string[] = [];

beforeEach(async () => {
  stage = await startStage();
  queue = new ModelQueue();
  // As another machine would see it too.
  journal = { ...memoryJournal(), shared: true, volatile: false };
  saved.length = 0;
});
afterEach(() => stage[Symbol.asyncDispose]());

const save: ImageProcessorOptions["save"] = async (image, { id, index }) => {
  await image.bytes();
  saved.push(`${id}-${index}`);
  return `/out/${id}-${index}.png`;
};

const client = (provider: SandboxProvider = "trinetra") => stage.client(provider, { journal });

const processorOf = (
  provider: SandboxProvider = "trinetra",
  options: Partial<ImageProcessorOptions> = {},
) => createImageProcessor(client(provider), { save, queue, ...options });

const order = (jobId = "order-1") => addImageJob(queue, { prompt }, { jobId }) as Promise<ModelJob>;

async function recordsOf(): Promise<JournalRecord[]> {
  const found: JournalRecord[] = [];
  for await (const { record } of journal.list()) found.push(record as JournalRecord);
  return found;
}

async function unknown(): Promise<UnknownImageJob[]> {
  const found: UnknownImageJob[] = [];
  for await (const job of listUnknown(queue)) found.push(job);
  return found;
}

test.each(allProviders)("%s: an order is made, saved and paid for once", async (provider) => {
  const job = await queue.run(processorOf(provider), await order());
  expect(job.returnvalue).toMatchObject({
    files: ["/out/order-1-0.png"],
    ...{ provider: client(provider).name, failures: [], jobId: job.known.reference?.id },
  });
  expect(JSON.stringify(job.returnvalue).length).toBeLessThan(1_000);
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
  // A worker that was cut off may come with the same order yet, and must not buy it.
  expect(await recordsOf()).toMatchObject([{ state: "succeeded" }]);
});

test.each(jobProviders)(
  "%s: while it runs it waits in the queue, and any worker goes on",
  async (provider) => {
    await using slow = await startStage({ jobDurationMs: 60 });
    const worker = () =>
      createImageProcessor(slow.client(provider, { journal, poll: 25.4 }), { save, queue });
    const job = await order();
    await queue.step(worker(), job);
    expect(job.state).toBe("delayed");
    expect(job.known.reference?.tasks[0]?.id).toBeDefined();
    expect(slow.count("poll")).toBe(0);
    // Every step is another process, which has the job's data alone.
    while (job.state !== "completed") {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await queue.step(worker(), job);
    }
    expect(slow.count("create")).toBe(1);
    expect(slow.sandbox.charges).toHaveLength(1);
    for (const delayMs of job.delaysMs) expect(delayMs).toBeGreaterThan(20);
    expect(await recordsOf()).toMatchObject([{ state: "succeeded" }]);
  },
);

test("a worker that dies before it could write the reference pays nothing twice", async () => {
  const job = await order();
  const data = structuredClone(job.data);
  await queue.step(processorOf(), job);
  // Redis never heard of it.
  job.data = data;
  await queue.run(processorOf(), job);
  expect(job.state).toBe("completed");
  expect(stage.count("create")).toBe(1);
});

test.each(allProviders)(
  "%s: what could not be saved is saved later, and nothing is paid again",
  async (provider) => {
    let failures = 3;
    const processor = processorOf(provider, {
      save(image, context) {
        failures -= 1;
        if (failures >= 0) throw new Error("the bucket is away");
        return save(image, context);
      },
    });
    const job = await queue.run(processor, await order());
    expect(job.state).toBe("completed");
    expect(job.delaysMs.slice(-3).map((each) => Math.round(each / 1_000))).toEqual([1, 2, 4]);
    expect(job.known.problem).toBeUndefined();
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test("a worker that was cut off before its intent record, and comes after the delivery, buys nothing", async () => {
  const job = await order();
  const [late, data] = [new ModelJob(job.id, job.data), structuredClone(job.data)];
  await queue.run(processorOf(), job);
  late.data = data;
  await queue.run(processorOf(), late);
  expect(stage.count("create")).toBe(1);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("a job that was saved, and whose end the queue has lost, is not made again", async () => {
  const job = await queue.run(processorOf(), await order());
  const { returnvalue } = job;
  Object.assign(job, { state: "wait", returnvalue: null });
  await queue.run(processorOf(), job);
  expect(job.returnvalue).toEqual(returnvalue);
  expect(saved).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
});

test("a record that a person released is not bought again once its job has ended", async () => {
  const job = await order();
  await queue.step(processorOf(), job);
  await client().resume(job.known.reference).result();
  for (const { id } of await recordsOf()) await journal.delete(id);
  await queue.run(processorOf(), job);
  expect(job.state).toBe("completed");
  expect(stage.count("create")).toBe(1);
});

test("a rate limit pauses the queue for as long as the provider says, and uses up no attempt", async () => {
  const fault = {
    phase: "create",
    fault: "rate-limited",
    retryAfterSeconds: 30,
    times: 1,
  } as const;
  stage.sandbox.inject({ provider: "trinetra", ...fault });
  const job = await order();
  await queue.step(processorOf(), job);
  expect(queue.pausesMs).toEqual([30_000]);
  expect(job).toMatchObject({ state: "delayed", attemptsMade: 0 });
  expect(job.delaysMs[0]).toBeGreaterThan(29_000);
  await queue.run(processorOf(), job);
  expect(job.state).toBe("completed");
});

test("a worker without the queue pauses it by itself, as BullMQ calls it", async () => {
  const fault = { phase: "create", fault: "rate-limited", retryAfterSeconds: 7, times: 1 } as const;
  stage.sandbox.inject({ provider: "trinetra", ...fault });
  const pausesMs: number[] = [];
  const worker = { opts: imageWorkerOptions, rateLimit: async (ms: number) => pausesMs.push(ms) };
  const processor = createImageProcessor(client(), { save });
  await expect(processor.call(worker, await order(), "token")).rejects.toMatchObject({
    name: "DelayedError",
  });
  expect(pausesMs).toEqual([7_000]);
});

test("an attempt that cost nothing is BullMQ's to repeat, and a last one says so", async () => {
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "failure", times: 2 });
  const job = await order();
  job.opts = { attempts: 2 };
  await queue.run(processorOf(), job);
  expect(job).toMatchObject({ state: "failed", attemptsMade: 2 });
  expect(job.known).toMatchObject({ charged: "no" });
  expect(stage.count("create")).toBe(2);
  expect(stage.sandbox.charges).toHaveLength(0);
});

test("what can never be sent ends at once, charged no", async () => {
  stage.sandbox.inject({
    provider: "trinetra",
    phase: "create",
    fault: "refusal",
    status: 402,
    times: 1,
  });
  const job = await order();
  job.opts = { attempts: 5 };
  await queue.run(processorOf(), job);
  expect(job).toMatchObject({ state: "failed", attemptsMade: 1 });
  expect(queue.errors[0]).toMatchObject({ name: "UnrecoverableError" });
  expect(job.known.charged).toBe("no");
  expect(await recordsOf()).toEqual([]);
});

test.each(["shortapi", "trinetra", "openaiCompatible"] as const)(
  "%s: a create of unknown fate ends there, is listed, and goes on by a person's word",
  async (provider) => {
    const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
    stage.sandbox.inject({ provider, ...fault });
    const job = (await addImageJob(
      queue,
      { prompt },
      { jobId: "order-1", metadata: { shelf: 7 } },
    )) as ModelJob;
    job.opts = { attempts: 5 };
    await queue.run(processorOf(provider), job);
    expect(job).toMatchObject({ state: "failed", attemptsMade: 1 });
    const listed = await unknown();
    expect(listed).toMatchObject([
      { id: "order-1", charged: "unknown", state: "failed", metadata: { shelf: 7 } },
    ]);
    // Run again, it is still not bought again.
    await job.retry("failed");
    await queue.run(processorOf(provider), job);
    expect(job.state).toBe("failed");
    expect(stage.count("create")).toBe(1);
    await client(provider).settle(listed[0]?.reference, { charged: "no" });
    await job.retry("failed");
    await queue.run(processorOf(provider), job);
    expect(job.state).toBe("completed");
    expect(stage.count("create")).toBe(2);
    expect(await unknown()).toEqual([]);
  },
);

test("of a split order the pictures are delivered, and the task of unknown fate is listed", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "shortapi", ...fault });
  const job = (await addImageJob(queue, { prompt, n: 3 }, { jobId: "order-1" })) as ModelJob;
  await queue.run(processorOf("shortapi"), job);
  expect(job.state).toBe("completed");
  expect(saved).toEqual(["order-1-0", "order-1-1"]);
  const listed = await unknown();
  expect(listed).toMatchObject([{ id: "order-1", charged: "unknown", state: "completed" }]);
});

test("polls that fail are never final, and cost no attempt", async () => {
  stage.sandbox.inject({
    provider: "trinetra",
    phase: "poll",
    fault: "unavailable",
    status: 500,
    times: 4,
  });
  const job = await queue.run(processorOf(), await order());
  expect(job).toMatchObject({ state: "completed", attemptsMade: 0 });
  expect(stage.count("create")).toBe(1);
});

test("an aborted worker puts its job back for another one", async () => {
  const abort = new AbortController();
  abort.abort(new Error("the worker is to stop"));
  const job = await order();
  await queue.step(processorOf(), job, abort.signal);
  expect(job).toMatchObject({ state: "delayed", attemptsMade: 0 });
  expect(stage.count("create")).toBe(0);
  await queue.run(processorOf(), job);
  expect(job.state).toBe("completed");
});

test("a picture that is on its way when the worker is aborted is read to its end", async () => {
  await using slow = await startStage({ jobDurationMs: 300 });
  const processor = createImageProcessor(slow.client("openaiCompatible", { journal }), {
    save,
    queue,
  });
  const abort = new AbortController();
  const job = await order();
  const step = queue.step(processor, job, abort.signal);
  while (slow.count("create") === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  abort.abort(new Error("the worker is to stop"));
  await step;
  expect(job.state).toBe("completed");
  expect(slow.sandbox.charges).toHaveLength(1);
  expect(slow.count("create")).toBe(1);
});

test("a connection that breaks in the middle of a step fails nothing", async () => {
  const job = await order();
  job.faults.push(new Error("Connection terminated unexpectedly"), new Error("ECONNRESET"));
  await queue.run(processorOf(), job);
  expect(job).toMatchObject({ state: "completed", attemptsMade: 0 });
  expect(stage.count("create")).toBe(1);
});

test("a job whose lock is another worker's is left to it", async () => {
  const job = await order();
  job.faults.push(Object.assign(new Error("Missing key for job"), { code: -1 }));
  await queue.step(processorOf(), job);
  expect(queue.errors).toEqual([]);
  expect(job.state).toBe("active");
});

test("progress is the newest event as JSON, without prompt, key or the provider's id", async () => {
  const job = await queue.run(processorOf(), await order());
  expect(job.progresses.length).toBeGreaterThan(0);
  for (const each of job.progresses) expect(each).toMatchObject({ provider: "trinetra", task: 0 });
  const text = JSON.stringify(job.progresses);
  expect(text).not.toContain(prompt);
  expect(text).not.toContain(job.known.reference?.tasks[0]?.id);
});

test("a sweep puts back what BullMQ ended by itself, and leaves what we ended", async () => {
  const [stalled, empty, refused] = [
    await order("stalled-1"),
    await order("empty-1"),
    await order("refused-1"),
  ];
  const processor = processorOf();
  await queue.step(processor, stalled);
  Object.assign(stalled, { state: "failed", finishedOn: Date.now(), failedReason: "job stalled" });
  Object.assign(empty, { state: "completed", finishedOn: Date.now(), returnvalue: null });
  stage.sandbox.inject({
    provider: "trinetra",
    phase: "create",
    fault: "refusal",
    status: 402,
    times: 1,
  });
  await queue.run(processor, refused);
  const report = await sweep(processor);
  expect(report).toMatchObject({ retried: ["stalled-1", "empty-1"], orphans: [] });
  await queue.run(processor, stalled);
  await queue.run(processor, empty);
  expect([stalled.state, empty.state, refused.state]).toEqual(["completed", "completed", "failed"]);
  expect(stage.sandbox.charges).toHaveLength(2);
});

/** A sweep, by a worker, of a queue that was last swept long ago. */
async function sweep(processor: ReturnType<typeof processorOf>): Promise<unknown> {
  let data: unknown;
  await scheduleImageSweep({
    async upsertJobScheduler(_id, _repeat, template) {
      data = template.data;
    },
  });
  const job = Object.assign(new ModelJob("repeat:1", data), { name: "image-sweep" });
  return processor(job, "token");
}

test("a sweep lets the journal forget what was delivered, and hands out what no job is about", async () => {
  const [delivered, gone, running] = [
    await order("delivered-1"),
    await order("gone-1"),
    await order("running-1"),
  ];
  await queue.run(processorOf(), delivered);
  await queue.step(processorOf(), gone);
  await queue.step(processorOf(), running);
  queue.jobs.delete("gone-1");
  expect(await recordsOf()).toHaveLength(3);
  const orphans: string[] = [];
  const sweeping = () =>
    sweep(processorOf("trinetra", { onOrphan: (job) => orphans.push(job.id) }));
  // A job that has just been sent may be about to be written down.
  expect(await sweeping()).toMatchObject({ released: 0, orphans: [] });
  const submittedAt = new Date(Date.now() - 3 * 60 * 60 * 1000).toISOString();
  for (const record of await recordsOf()) await journal.update({ ...record, submittedAt });
  expect(await sweeping()).toMatchObject({ released: 0 });
  delivered.finishedOn = Date.now() - 11 * 60 * 1000;
  orphans.length = 0;
  const orphan = gone.known.reference?.id;
  expect(await sweeping()).toMatchObject({ released: 1, orphans: [orphan] });
  expect(orphans).toEqual([orphan]);
  expect((await recordsOf()).map(({ jobId }) => jobId)).not.toContain(
    delivered.known.reference?.id,
  );
  // One that was begun and has no reference yet may be any of them.
  const begun = await order("begun-1");
  begun.attemptsStarted = 1;
  expect(await sweeping()).toMatchObject({ released: 0, orphans: [] });
});

test("a sweep goes on with an order of unknown fate whose response is known by now", async () => {
  const fault = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;
  stage.sandbox.inject({ provider: "trinetra", ...fault });
  const job = await queue.run(processorOf(), await order());
  expect(job.known.charged).toBe("unknown");
  for (const record of await recordsOf()) {
    const submittedAt = new Date(Date.now() - 3 * 60 * 60 * 1000).toISOString();
    await journal.update({ ...record, submittedAt });
  }
  expect(await sweep(processorOf())).toMatchObject({ retried: [], orphans: [] });
  // A person has found it in the provider's console.
  const [taskId = ""] = stage.sandbox.jobs.map(({ jobId }) => jobId);
  await client().settle(job.known.reference, { charged: "yes", taskId });
  expect(await sweep(processorOf())).toMatchObject({ retried: ["order-1"], orphans: [] });
  await queue.run(processorOf(), job);
  expect(job.state).toBe("completed");
  expect(stage.count("create")).toBe(1);
});

test("a webhook has the delayed job asked after at once", async () => {
  const job = await order();
  await queue.step(processorOf(), job);
  expect(job.state).toBe("delayed");
  const reference = job.known.reference ?? { id: "" };
  expect(await promoteImageJob(queue, reference)).toBe(true);
  expect(job.state).toBe("wait");
  expect(await promoteImageJob(queue, reference)).toBe(false);
  expect(await promoteImageJob(queue, { id: "of-nobody" })).toBe(false);
});

test("counted ids of an emptied queue are no old orders", async () => {
  const first = new ModelJob("1", { request: { prompt } });
  const second = Object.assign(new ModelJob("1", { request: { prompt } }), { timestamp: 2_000 });
  queue.jobs.set("1", first);
  await queue.run(processorOf(), first);
  queue.jobs.set("1", second);
  await queue.run(processorOf(), second);
  expect(stage.count("create")).toBe(2);
});

test.each<[string, Journal | undefined, boolean | undefined, boolean]>([
  ["none", undefined, true, false],
  ["memoryJournal()", memoryJournal(), true, false],
  [
    "one that does not say",
    { ...memoryJournal(), shared: false, volatile: false },
    undefined,
    false,
  ],
  [
    "the same, where its owner says it",
    { ...memoryJournal(), shared: false, volatile: false },
    true,
    true,
  ],
  ["a shared one", { ...memoryJournal(), shared: true, volatile: false }, undefined, true],
])("a journal that is %s", (_, given, sharedJournal, isTaken) => {
  const make = () =>
    createImageProcessor(stage.client("trinetra", given === undefined ? {} : { journal: given }), {
      save,
      ...(sharedJournal !== undefined && { sharedJournal }),
    });
  if (isTaken) expect(make).not.toThrow();
  else expect(make).toThrow(expect.objectContaining({ field: "client.journal" }));
});

test("a worker that fails jobs after one stall is warned about, once", async () => {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const processor = createImageProcessor(client(), { save });
  const worker = { opts: { maxStalledCount: 1 }, rateLimit: async () => {} };
  for (const id of ["a1", "b1"])
    await processor.call(worker, await order(id), "token").catch(() => {});
  expect(warned).toHaveBeenCalledTimes(1);
  warned.mockRestore();
});

test("a job that is none of ours ends at once", async () => {
  const job = await queue.run(processorOf(), new ModelJob("x", { hello: 1 }));
  expect(queue.errors[0]).toMatchObject({ name: "UnrecoverableError" });
  expect(job.state).toBe("failed");
});
