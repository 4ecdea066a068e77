/** A process with a worker of each queue, which dies where it is told. */
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Job } from "bullmq";
import { Pool } from "pg";
import {
  createImageProcessor,
  type ImageJobData,
  type ImageJobResult,
} from "../../src/doors/bullmq/index";
import { createPostgresJournal } from "../../src/doors/postgres/index";
import {
  aigptimage,
  createImageClient,
  type ImageClient,
  type Journal,
  openaiCompatible,
  type ProviderImageClient,
  shortapi,
  trinetra,
} from "../../src/index";
import type { SandboxProvider } from "../../src/testing/sandbox";
import { orderProviders, type QueueWorkerPlan, queueNameOf } from "./plan";
import { type ImageQueue, openQueue, openWorker } from "./support/engines";

const plan: QueueWorkerPlan = JSON.parse(process.argv[2] ?? "");
let untilKill = plan.kill?.nth ?? 0;

function at(point: string): void {
  if (plan.kill?.point !== point) return;
  untilKill -= 1;
  if (untilKill > 0) return;
  appendFileSync(plan.trace, `${point}\n`);
  process.kill(process.pid, "SIGKILL");
}

// Whether a process of another machine lives, nobody here can tell.
os.hostname = () => plan.host;
syncBuiltinESMExports();
process.on("warning", () => {});
// A connection that is torn is BullMQ's and the pool's to make anew.
process.on("unhandledRejection", (reason) => {
  appendFileSync(plan.trace, `unhandled: ${String(reason)}\n`);
});

const pool = new Pool({ connectionString: plan.journalUrl, max: 4 });
pool.on("error", () => {});

function watched(inner: Journal): Journal {
  return {
    ...inner,
    async create(record) {
      at("marker:before");
      const created = await inner.create(record);
      at("marker:after");
      return created;
    },
    async update(record) {
      await inner.update(record);
      if (record.state === "submitted") at("id:after");
      if (record.state === "succeeded") at("succeeded:after");
    },
  };
}

/** The client, which dies after a submit. */
function dying(client: ProviderImageClient): ImageClient {
  const { name, capabilities, journal } = client;
  const { mutation } = plan;
  return {
    ...{ name, capabilities, ...(journal && { journal }) },
    check: (request) => client.check(request),
    estimate: (request) => client.estimate(request),
    generate: (request, options) => client.generate(request, options),
    edit: (request, options) => client.edit(request, options),
    resume: (reference) => client.resume(reference),
    close: (options) => client.close(options),
    [Symbol.asyncDispose]: () => client.close(),
    async submit(request, options) {
      const { idempotencyKey: _, ...others } = options ?? {};
      const job = await client.submit(request, mutation === "no-key" ? others : options);
      at("submit:after");
      return job;
    },
    // Beyond an `ImageClient`: what a client of a provider tells of its journal.
    ...{
      holds: (reference: unknown) => client.holds(reference),
      recover: () => client.recover(),
    },
  };
}

/** A job that dies around what is written to it. */
function dyingJob(job: Job<ImageJobData, ImageJobResult>): typeof job {
  const [updateData, moveToDelayed] = [job.updateData.bind(job), job.moveToDelayed.bind(job)];
  return Object.assign(job, {
    async updateData(data: ImageJobData) {
      at("data:before");
      await updateData(data);
      at("data:after");
    },
    async moveToDelayed(timestamp: number, token?: string) {
      at("delay:before");
      await moveToDelayed(timestamp, token);
      at("delay:after");
    },
  });
}

/** Its database may be away as the process starts. */
async function opened(provider: SandboxProvider): Promise<ImageQueue> {
  for (;;) {
    try {
      return await openQueue(queueNameOf(provider), plan.address, { migrate: false });
    } catch {
      await pause(300);
    }
  }
}

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };
for (const provider of orderProviders) {
  const client = createImageClient({
    provider: makers[provider](plan.access[provider]),
    journal: watched(createPostgresJournal(pool)),
    ...{ poll: 200, timeoutMs: 12_000 },
  });
  const queue = await opened(provider);
  const processor = createImageProcessor(dying(client), {
    queue,
    async save(image, { id, index }) {
      at("save:before");
      const file = await image.save(join(plan.directory, `${id}-${index}.png`));
      at("save:after");
      return file;
    },
  });
  openWorker(
    queue.name,
    async (job, token, signal) => {
      const result = await processor(dyingJob(job), token, signal);
      at("return");
      return result;
    },
    plan.address,
    {
      // One that answers with the picture is killed in the middle of each that it is at.
      concurrency: provider === "openaiCompatible" ? 2 : 6,
      ...{ lockDuration: 2_000, stalledInterval: 1_000, runRetryDelay: 1_000 },
    },
  );
}
process.stdout.write("ready\n");
