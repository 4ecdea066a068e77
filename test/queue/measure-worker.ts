/** A worker whose CPU is measured: this package's processor, or one by hand that sends the same. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { DelayedError, type Job } from "bullmq";
import { Pool } from "pg";
import {
  createImageProcessor,
  type ImageJobData,
  type ImageJobResult,
} from "../../src/doors/bullmq/index";
import { createPostgresJournal } from "../../src/doors/postgres/index";
import { createImageClient, type JournalRecord, learnedSchedule, trinetra } from "../../src/index";
import type { SandboxAccess } from "../../src/testing/sandbox";
import { type EngineAddress, openQueue, openWorker } from "./support/engines";

export interface MeasuredPlan {
  readonly kind: "ours" | "hand";
  readonly address: EngineAddress;
  readonly journalUrl: string;
  readonly access: SandboxAccess;
  readonly queue: string;
  readonly concurrency: number;
  /** Milliseconds between polls; without it the schedule that learns. */
  readonly pollMs?: number;
  readonly directory: string;
}

const plan: MeasuredPlan = JSON.parse(process.argv[2] ?? "");
const pool = new Pool({ connectionString: plan.journalUrl, max: 10 });
const statements = new Map<string, number>();
const counted = {
  on: pool.on.bind(pool),
  listenerCount: pool.listenerCount.bind(pool),
  query(text: string, values?: unknown[]) {
    const name = text.trim().replaceAll(/\s+/g, " ").slice(0, 40);
    statements.set(name, (statements.get(name) ?? 0) + 1);
    return pool.query(text, values);
  },
};
const journal = createPostgresJournal(counted);
await mkdir(plan.directory, { recursive: true });

type OrderJob = Job<ImageJobData, ImageJobResult>;

/** The same requests, statements and steps, in a row. Nothing that goes wrong is looked at. */
async function byHand(job: OrderJob, token?: string): Promise<ImageJobResult> {
  const { baseURL, apiKey } = plan.access;
  const headers = { "x-api-key": apiKey, "content-type": "application/json" };
  const { data, id: jobId = "" } = job;
  const id = `${jobId}.0`;
  const taskId = data.reference?.tasks[0]?.id;
  if (taskId !== undefined) return goOn(job, token, { id, taskId }, headers);
  await journal.read(id);
  const record: JournalRecord = {
    ...{ v: 1, id, jobId, index: 0, n: 1, split: [1], provider: "trinetra", baseURL },
    ...{ operation: "generate", submittedAt: new Date().toISOString(), requestDigest: "x" },
    ...{ request: data.request, state: "submitting", account: "hand" },
  };
  await journal.create(record);
  const body = JSON.stringify({ prompt: data.request.prompt });
  const path = `${baseURL}/v1/image/gpt-image-2`;
  const response = await fetch(path, { method: "POST", headers, body });
  const accepted: { job_id: string } = JSON.parse(await response.text());
  const named = { ...record, state: "submitted" as const, taskId: accepted.job_id };
  await journal.update(named);
  records.set(id, named);
  const { submittedAt } = record;
  const tasks = [{ index: 0, n: 1, id: accepted.job_id, state: "queued" as const }];
  const reference = { v: 1 as const, id: jobId, provider: "trinetra", baseURL, submittedAt, tasks };
  await job.updateData({ ...data, reference: { ...reference, operation: "generate" } });
  return delay(job, token);
}

/** What was written, as ours holds its jobs: one worker alone is measured beside it. */
const records = new Map<string, JournalRecord>();

async function goOn(
  job: OrderJob,
  token: string | undefined,
  { id, taskId }: { readonly id: string; readonly taskId: string },
  headers: Record<string, string>,
): Promise<ImageJobResult> {
  const response = await fetch(`${plan.access.baseURL}/v1/jobs/${taskId}`, { headers });
  const state: { status: string; output?: { outputs: { url: string }[] } } = JSON.parse(
    await response.text(),
  );
  if (state.status !== "succeeded") return delay(job, token);
  const url = state.output?.outputs[0]?.url ?? "";
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const record = records.get(id);
  if (record === undefined) throw new Error("it is another worker's");
  await journal.writeImage(id, 0, bytes);
  await journal.update({ ...record, state: "succeeded", settledAt: new Date().toISOString() });
  const file = `${plan.directory}/${job.id}-0.png`;
  await writeFile(`${file}.part`, bytes);
  await rename(`${file}.part`, file);
  const facts = { provider: "trinetra", jobId: `${job.id}`, warnings: [], failures: [] };
  const result: ImageJobResult = { files: [file], ...facts, durationMs: 0 };
  await job.updateData({ ...job.data, result });
  return result;
}

async function delay(job: OrderJob, token?: string): Promise<never> {
  await job.moveToDelayed(Date.now() + (plan.pollMs ?? 1_000), token);
  throw new DelayedError();
}

const queue = await openQueue(plan.queue, plan.address);
const client = createImageClient({
  provider: trinetra(plan.access),
  journal,
  // Named, so that the schedule is not the one for this machine's own address.
  poll: plan.pollMs ?? learnedSchedule(),
});
const ours = createImageProcessor(client, {
  queue,
  save: (image, { id, index }) => image.save(`${plan.directory}/${id}-${index}.png`),
});
const worker = openWorker(queue.name, plan.kind === "ours" ? ours : byHand, plan.address, {
  concurrency: plan.concurrency,
});
const before = process.cpuUsage();
process.stdout.write("ready\n");
process.once("SIGTERM", async () => {
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(
    `${JSON.stringify({ cpuMs: (user + system) / 1_000, rssMiB: process.memoryUsage.rss() / 2 ** 20, statements: [...statements] })}\n`,
  );
  await worker.close();
  process.exit(0);
});
