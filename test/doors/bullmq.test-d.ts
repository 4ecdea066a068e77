import { createPostgresBackend, type Job, Queue, Worker } from "bullmq";
import type { GeneratedImage, ImageClient, ImageJob, JobReference } from "gpt-image-client";
import {
  addImageJob,
  createImageProcessor,
  type ImageJobData,
  type ImageJobResult,
  imageWorkerOptions,
  listUnknown,
  promoteImageJob,
  type SaveContext,
  scheduleImageSweep,
} from "gpt-image-client/bullmq";
import { expectTypeOf, test } from "vitest";

declare const client: ImageClient;
declare const job: ImageJob;
const save = (image: GeneratedImage, { id, index }: SaveContext) =>
  image.save(`${id}-${index}.png`);

test("queues and workers of BullMQ 6 go in as they are, on Redis", () => {
  const connection = { port: 6379 };
  const queue = new Queue<ImageJobData, ImageJobResult>("images", { connection });
  const processor = createImageProcessor(client, { queue, save });
  new Worker("images", processor, { connection, concurrency: 50, ...imageWorkerOptions });
  new Worker<ImageJobData, ImageJobResult>("images", processor, { connection });
  expectTypeOf(
    addImageJob(queue, { prompt: "a boat" }, { jobId: "1", priority: 3 }),
  ).resolves.toEqualTypeOf<Job<ImageJobData, ImageJobResult, string>>();
  scheduleImageSweep(queue);
  promoteImageJob(queue, job);
  for (const each of [listUnknown(queue)]) {
    expectTypeOf(each[Symbol.asyncIterator]().next).toBeFunction();
  }
  // @ts-expect-error there is no such option of BullMQ
  addImageJob(queue, { prompt: "a boat" }, { prioritee: 3 });
  // @ts-expect-error a prompt is a text
  addImageJob(queue, { prompt: 7 });
});

test("a queue that nobody gave types is taken as well", () => {
  const queue = new Queue("images", { connection: {} });
  const processor = createImageProcessor(client, { queue, save });
  new Worker("images", processor, { connection: {} });
  addImageJob(queue, { prompt: "a boat" });
  scheduleImageSweep(queue, { everyMs: 30_000 });
});

test("the same on PostgreSQL", () => {
  const connection = { connectionString: "postgres://" };
  const queue = new Queue("images", { connection }, createPostgresBackend);
  const processor = createImageProcessor(client, { queue, save });
  new Worker("images", processor, { connection, ...imageWorkerOptions }, createPostgresBackend);
  addImageJob(queue, { prompt: "a boat" }, { jobId: "order:1" });
  scheduleImageSweep(queue);
  promoteImageJob(queue, job);
  listUnknown(queue);
});

test("what a person must look at has its reference and what is known of the money", () => {
  type Listed =
    ReturnType<typeof listUnknown> extends AsyncIterableIterator<infer Each> ? Each : never;
  expectTypeOf<Listed["charged"]>().toEqualTypeOf<"yes" | "unknown">();
  expectTypeOf<Listed["reference"]>().toEqualTypeOf<JobReference | undefined>();
});
