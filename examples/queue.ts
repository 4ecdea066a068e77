/**
 * A producer, a queue and three workers, one of which is killed while you watch: every order is made, and
 * none is paid for twice. `npm run queue`, with REDIS_URL or DATABASE_URL, or with Redis installed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createImageClient, type GeneratedImage, trinetra } from "gpt-image-client";
import {
  addImageJob,
  createImageProcessor,
  imageWorkerOptions,
  type SaveContext,
  scheduleImageSweep,
} from "gpt-image-client/bullmq";
import { startSandbox } from "gpt-image-client/testing";
import { findDatabase, howToGetOne, openJournal, openQueue, openWorker } from "./queue/database";
import { liveTable } from "./queue/live-table";

const directory = "output/queue";
const [role = "producer", url = "", access = "{}", name = "images"] = process.argv.slice(2);

/** What each worker does. The real service: `trinetra()`. */
async function work(): Promise<void> {
  const journal = await openJournal(url, directory);
  const client = createImageClient({ provider: trinetra(JSON.parse(access)), journal });
  const queue = openQueue(name, url);
  const save = (image: GeneratedImage, { id, index }: SaveContext) =>
    image.save(`${directory}/${id}-${index}.png`);
  // Of a directory only we can know that all workers reach it.
  const processor = createImageProcessor(client, { queue, save, sharedJournal: true });
  const worker = openWorker(queue.name, processor, url, {
    ...imageWorkerOptions,
    // A dead worker's jobs are taken up after so long: 30 s each by default.
    ...{ concurrency: 2, lockDuration: 1_500, stalledInterval: 1_000 },
  });
  worker.on("active", ({ id }) => process.send?.({ id, is: "active" }));
  process.once("SIGTERM", async () => {
    await worker.close();
    process.exit();
  });
}

async function produce(): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const database = await findDatabase(directory);
  if (database === undefined) {
    console.log(howToGetOne);
    return;
  }
  await using sandbox = await startSandbox({ jobDurationMs: 6_000 });
  const queueName = `images-${Date.now()}`;
  const queue = openQueue(queueName, database.url);
  console.log(`The queue: ${database.isOurs ? "a Redis of this example's own" : "yours"}`);
  const orders = Array.from({ length: 8 }, (_, index) => `order-${index + 1}`);
  const table = liveTable(orders);
  for (const jobId of orders) {
    await addImageJob(queue, { prompt: `A lighthouse in a storm, ${jobId}` }, { jobId });
  }
  await scheduleImageSweep(queue);

  /** Whether every order has been sent: from then on the second worker dies at the next that it is given. */
  let isArmed = false;
  const start = (worker: string): ChildProcess => {
    const program = [...process.execArgv, fileURLToPath(import.meta.url)];
    const given = ["worker", database.url, JSON.stringify(sandbox.trinetra), queueName];
    const child = spawn(process.execPath, [...program, ...given], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child.on("message", ({ id }: { id: string }) => {
      table.worker(id, worker);
      if (!isArmed || worker !== "second" || child.killed) return;
      // Not even a handler of its own can run after this.
      child.kill("SIGKILL");
      table.note(`the second worker was killed, in the middle of ${id}`);
    });
    return child;
  };
  const workers = ["first", "second", "third"].map(start);

  for (let isOver = false; !isOver; ) {
    const jobs = await Promise.all(orders.map((id) => queue.getJob(id)));
    const states = await Promise.all(jobs.map((job) => job?.getState()));
    for (const [index, id] of orders.entries()) {
      const { cost } = jobs[index]?.returnvalue ?? {};
      table.state(id, `${states[index]}`, cost && `${cost.amount} ${cost.unit}`);
    }
    isArmed = jobs.every((job) => job?.data.reference !== undefined);
    isOver = states.every((state) => state === "completed" || state === "failed");
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  table.end();
  for (const worker of workers) worker.kill("SIGTERM");
  await Promise.all(
    workers.map(
      (worker) =>
        worker.exitCode ??
        worker.signalCode ??
        new Promise((resolve) => worker.once("exit", resolve)),
    ),
  );
  const jobs = await Promise.all(orders.map((id) => queue.getJob(id)));
  const files = jobs.flatMap((job) => job?.returnvalue.files ?? []);
  console.log(`Orders: ${orders.length}, pictures: ${files.length}, in ${directory}`);
  console.log(`Charges at the provider: ${sandbox.charges.length}`);
  await queue.obliterate({ force: true });
  await queue.close();
  database.stop();
}

await (role === "worker" ? work() : produce());
