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
import { shortapi } from "../../../src/providers/index";
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

const processorOf = (provider: SandboxProvider, options: Partial<ImageProcessorOptions> = {}) =>
  createImageProcessor(stage.client(provider, { journal }), { save, queue, ...options });

const order = () => addImageJob(queue, { prompt }, { jobId: "order-1" }) as Promise<ModelJob>;

async function unknown(): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of listUnknown(queue)) found.push(id);
  return found;
}

/** A run of a worker that is cut off from the queue at its next write, and comes back once its lock is another's. */
function lateRun(job: ModelJob, processor: ReturnType<typeof processorOf>) {
  job.attemptsStarted += 1;
  let comeBack = () => {};
  const back = new Promise<void>((resolve) => {
    comeBack = resolve;
  });
  let isCut = false;
  const own: Partial<ModelJob> = {
    ...{ attemptsStarted: job.attemptsStarted, attemptsMade: job.attemptsMade },
    data: structuredClone(job.data),
    // BullMQ checks no lock here.
    async updateData(data) {
      isCut = true;
      await back;
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
  const late = lateRun(job, processorOf("trinetra"));
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
  vi.stubEnv("SHORTAPI_KEY", undefined);
  const provider = shortapi({ baseURL: stage.sandbox.shortapi.baseURL });
  const stranger = new ProviderClient({ provider, journal }, stage.clock);
  await queue.run(createImageProcessor(stranger, { save, queue }), job);
  expect(await unknown()).toEqual(["order-1"]);
  const orphans: string[] = [];
  // Its job was ordered before its create left.
  Object.assign(job, { timestamp: Date.now() - 3 * hourMs });
  await sweepLater(processorOf("shortapi", { onOrphan: ({ id }) => orphans.push(id) }));
  expect(orphans).toEqual([]);
});
