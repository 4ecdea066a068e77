import { afterEach, beforeEach, expect, test } from "vitest";
import { addImageJob, createImageProcessor } from "../../../src/doors/bullmq/index";
import { createImageRouter, type ImageRouterOptions } from "../../../src/doors/router/index";
import { type Journal, memoryJournal } from "../../../src/journal/journal";
import type { JournalRecord } from "../../../src/journal/record";
import type { SandboxProvider } from "../../../src/testing/sandbox";
import { prompt, type Stage, startStage } from "../../support/stage";
import { type ModelJob, ModelQueue } from "./model-queue";

let stage: Stage;
let queue: ModelQueue;
let journal: Journal;

beforeEach(async () => {
  stage = await startStage();
  queue = new ModelQueue();
  // As another machine would see it too.
  journal = { ...memoryJournal(), shared: true, volatile: false };
});
afterEach(() => stage[Symbol.asyncDispose]());

const minuteMs = 60_000;

const save = async () => "/out/picture.png";

/** As each process has one of its own. */
const router = (
  providers: readonly SandboxProvider[] = ["trinetra", "openaiCompatible"],
  options: Partial<ImageRouterOptions> = {},
) =>
  createImageRouter({
    clients: providers.map((name) => stage.client(name, { journal })),
    ...{ journal, ...options },
  });

const processorOf = (...given: Parameters<typeof router>) =>
  createImageProcessor(router(...given), { save, queue });

const order = (jobId = "order-1") => addImageJob(queue, { prompt }, { jobId }) as Promise<ModelJob>;

const sweep = async (processor: ReturnType<typeof processorOf>) => {
  const job = await queue.add("image-sweep", { everyMs: 60_000 } as never);
  return (await queue.run(processor, job)).returnvalue;
};

async function recordsOf(): Promise<JournalRecord[]> {
  const found: JournalRecord[] = [];
  for await (const { record } of journal.list()) found.push(record as JournalRecord);
  return found;
}

test("a router's journal is shared where its own and those of all its clients are", () => {
  const own = { ...memoryJournal(), shared: false, volatile: false };
  expect(router().journal).toEqual({ shared: true });
  expect(router([], { clients: [stage.client("trinetra")] }).journal).toBeUndefined();
  expect(router(undefined, { journal: own }).journal).toEqual({ shared: false });
  const forgetful = router(undefined, { journal: memoryJournal() }).journal;
  expect(forgetful).toEqual({ shared: false, volatile: true });
  const clients = [stage.client("trinetra", { journal: own })];
  expect(router([], { clients }).journal).toEqual({ shared: false });
});

test.each<SandboxProvider[][]>([[["trinetra", "openaiCompatible"]], [["openaiCompatible"]]])(
  "%j: every step of an order is another process's, and it is paid for once",
  async (providers) => {
    const job = await order();
    for (let steps = 0; steps < 60 && job.state !== "completed"; steps += 1) {
      if (job.state === "failed") throw queue.errors.at(-1);
      await queue.step(processorOf(providers), job);
    }
    expect(job.returnvalue).toMatchObject({ files: ["/out/picture.png"], failures: [] });
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
    // A chain of claims is read link by link: it must not grow with each step.
    const claims = (await recordsOf()).filter(({ provider }) => provider.includes("router"));
    expect(claims.length).toBeLessThanOrEqual(3);
  },
);

test("a client without credits is passed over, within one step", async () => {
  const fault = { phase: "create", fault: "refusal", status: 402, times: 1 } as const;
  stage.sandbox.inject({ provider: "trinetra", ...fault });
  const job = await queue.run(processorOf(), await order());
  expect(job.returnvalue).toMatchObject({ provider: "openai-compatible" });
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("while all clients pause, an order waits in the queue and uses up no attempt", async () => {
  const fault = { phase: "create", fault: "rate-limited", retryAfterSeconds: 30 } as const;
  for (const provider of ["trinetra", "shortapi"] as const) {
    stage.sandbox.inject({ provider, ...fault, times: 1 });
  }
  const processor = processorOf(["trinetra", "shortapi"]);
  const [first, second] = [await order("order-1"), await order("order-2")];
  await queue.step(processor, first);
  await queue.step(processor, second);
  expect(stage.count("create")).toBe(2);
  for (const job of [first, second]) {
    expect(job).toMatchObject({ state: "delayed", attemptsMade: 0 });
    expect(job.delaysMs[0]).toBeGreaterThan(25_000);
  }
});

test("a budget that is used up lets an order wait until it is renewed", async () => {
  const processor = processorOf(["trinetra"], {
    budget: [{ amount: 10, unit: "credits", per: "hour" }],
  });
  await queue.run(processor, await order("order-1"));
  const late = await order("order-2");
  // A picture is 7 credits.
  await queue.step(processor, late);
  expect(late).toMatchObject({ state: "delayed", attemptsMade: 0 });
  expect(late.known.problem).toMatchObject({ code: "budget_exceeded" });
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("a sweep lets go of what was delivered, and of the claims of its key", async () => {
  const processor = processorOf();
  const job = await queue.run(processor, await order());
  job.finishedOn = Date.now() - 11 * minuteMs;
  for (const record of await recordsOf()) {
    const submittedAt = new Date(Date.now() - 30 * minuteMs).toISOString();
    await journal.update({ ...record, submittedAt });
  }
  expect(await sweep(processor)).toMatchObject({ released: 1, orphans: [] });
  expect(await recordsOf()).toEqual([]);
});

test("a router tells whether the journal of any client has a job, whosever it is", async () => {
  const several = router(["trinetra", "openaiCompatible"]);
  const { job } = await several.generate({ prompt }, { idempotencyKey: "order 1" });
  expect(await several.holds(job)).toBe(true);
  expect(await router(["trinetra"], { journal: memoryJournal() }).holds(job)).toBe(true);
  await job.release();
  expect(await several.holds(job)).toBe(false);
  const foreign = { ...job.reference, provider: "aigptimage" };
  await expect(several.holds(foreign)).rejects.toMatchObject({ field: "reference.provider" });
});

test("a worker whose router has no such client does not call an accepted order free", async () => {
  const job = await order();
  await queue.step(processorOf(["trinetra"]), job);
  expect(job.known.reference?.tasks[0]?.id).toBeDefined();
  // An older deploy, say.
  await queue.step(processorOf(["shortapi"]), job);
  expect(job).toMatchObject({ state: "delayed", attemptsMade: 0 });
  expect(job.known).not.toHaveProperty("charged");
  await queue.run(processorOf(["trinetra"]), job);
  expect(job.state).toBe("completed");
  expect(stage.sandbox.charges).toHaveLength(1);
});
