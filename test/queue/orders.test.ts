import { setTimeout as pause } from "node:timers/promises";
import { UnrecoverableError } from "bullmq";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  addImageJob,
  createImageProcessor,
  type ImageJobResult,
  type ImageProcessorOptions,
  listUnknown,
  promoteImageJob,
  scheduleImageSweep,
  type UnknownImageJob,
} from "../../src/doors/bullmq/index";
import { createImageRouter } from "../../src/doors/router/index";
import { createImageClient, type Journal } from "../../src/index";
import { type Sandbox, type SandboxProvider, startSandbox } from "../../src/testing/sandbox";
import { PostgresServer } from "../postgres/support/server";
import { allProviders, prompt, providerOf } from "../support/stage";
import { describeWithServers } from "./support/describe";
import {
  type EngineAddress,
  Engines,
  type ImageQueue,
  type ImageWorker,
  openQueue,
  openWorker,
} from "./support/engines";
import { RedisServer } from "./support/redis";

describeWithServers("orders in a queue", () => {
  let engines: Engines;
  beforeAll(async () => {
    engines = new Engines(await RedisServer.start(), await PostgresServer.start());
  });
  afterAll(async () => {
    await engines.redis[Symbol.asyncDispose]();
    await engines.postgres[Symbol.asyncDispose]();
  });

  describe.each(["redis", "postgres"] as const)("on %s", (engine) => {
    let address: EngineAddress;
    let journal: Journal;
    let sandbox: Sandbox;
    let made = 0;
    const open: { close(): Promise<unknown> }[] = [];
    const saved: string[] = [];

    beforeAll(async () => {
      ({ address, journal } = await engines.open(engine));
      sandbox = await startSandbox({ jobDurationMs: 400, plainImages: true });
    });
    // After each: some fifteen workers and their queues would take all of PostgreSQL's connections.
    afterEach(async () => {
      for (const each of open.splice(0).toReversed()) await each.close();
    });

    afterAll(async () => {
      await sandbox.close();
    });

    const save: ImageProcessorOptions["save"] = async (image, { id, index }) => {
      await image.bytes();
      saved.push(`${id}-${index}`);
      return `${id}-${index}.png`;
    };

    const clientOf = (provider: SandboxProvider) =>
      createImageClient({ provider: providerOf(provider, sandbox[provider]), journal });

    async function queueOf(): Promise<ImageQueue> {
      made += 1;
      const queue = await openQueue(`images-${engine}-${made}`, address);
      open.push(queue);
      return queue;
    }

    function work(
      queue: ImageQueue,
      provider: SandboxProvider,
      options: Partial<Parameters<typeof openWorker>[3]> = {},
    ): ImageWorker {
      const processor = createImageProcessor(clientOf(provider), { save, queue });
      const worker = openWorker(queue.name, processor, address, options);
      open.push(worker);
      return worker;
    }

    async function ended(queue: ImageQueue, count: number): Promise<void> {
      for (let tries = 0; tries < 400; tries += 1) {
        const { completed = 0, failed = 0 } = await queue.getJobCounts("completed", "failed");
        if (completed + failed >= count) return;
        await pause(50);
      }
      throw new Error(`it stands at ${JSON.stringify(await queue.getJobCounts())}`);
    }

    async function unknown(queue: ImageQueue): Promise<UnknownImageJob[]> {
      const found: UnknownImageJob[] = [];
      for await (const each of listUnknown(queue)) found.push(each);
      return found;
    }

    test.each(allProviders)(
      "%s: two workers make ten orders, and each is paid for once",
      async (provider) => {
        const queue = await queueOf();
        const before = sandbox.charges.length;
        work(queue, provider, { concurrency: 3 });
        work(queue, provider, { concurrency: 3 });
        const jobs = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            addImageJob(queue, { prompt: `${prompt} ${index}` }, { jobId: `order:${index}` }),
          ),
        );
        await ended(queue, 10);
        expect(await queue.getCompletedCount()).toBe(10);
        expect(sandbox.charges.length - before).toBe(10);
        const [first] = jobs;
        const done = await queue.getJob(first?.id ?? "");
        expect(done?.returnvalue.files).toEqual([`${first?.id}-0.png`]);
        expect(done?.attemptsMade).toBeLessThanOrEqual(1);
      },
    );

    test("a router's orders go to whoever can make them, and each is paid for once", async () => {
      const queue = await queueOf();
      const before = sandbox.charges.length;
      const fault = { phase: "create", fault: "refusal", status: 402 } as const;
      sandbox.inject({ provider: "trinetra", ...fault, times: 1 });
      for (const _ of ["one machine", "another"]) {
        const clients = [clientOf("trinetra"), clientOf("shortapi"), clientOf("openaiCompatible")];
        const router = createImageRouter({ clients, journal });
        const processor = createImageProcessor(router, { save, queue });
        open.push(openWorker(queue.name, processor, address, { concurrency: 3 }));
      }
      for (let index = 0; index < 10; index += 1)
        await addImageJob(queue, { prompt: `${prompt} ${index}` }, { jobId: `order:${index}` });
      await ended(queue, 10);
      expect(await queue.getCompletedCount()).toBe(10);
      expect(sandbox.charges.length - before).toBe(10);
    });

    test("a rate limit pauses the whole queue, and no other order is sent meanwhile", async () => {
      const queue = await queueOf();
      const fault = { phase: "create", fault: "rate-limited", retryAfterSeconds: 2 } as const;
      sandbox.inject({ provider: "trinetra", ...fault, times: 1 });
      const creates = () => sandbox.requests.filter(({ phase }) => phase === "create").length;
      const before = creates();
      for (const jobId of ["order-1", "order-2", "order-3"])
        await addImageJob(queue, { prompt }, { jobId });
      const startedAt = performance.now();
      work(queue, "trinetra", { concurrency: 1 });
      while (creates() === before) await pause(10);
      await pause(1_500);
      expect(creates() - before).toBe(1);
      await ended(queue, 3);
      expect(performance.now() - startedAt).toBeGreaterThan(2_000);
      expect(await queue.getCompletedCount()).toBe(3);
    });

    test("a create of unknown fate is failed once and for all, and listed", async () => {
      const queue = await queueOf();
      sandbox.inject({
        provider: "shortapi",
        phase: "create",
        fault: "reset-after-acceptance",
        times: 1,
      });
      await addImageJob(queue, { prompt }, { jobId: "order-1", metadata: 7 });
      work(queue, "shortapi");
      await ended(queue, 1);
      const [job, ...others] = await unknown(queue);
      expect(others).toEqual([]);
      expect(job).toMatchObject({
        id: "order-1",
        charged: "unknown",
        state: "failed",
        metadata: 7,
      });
      // By a person's word it goes on.
      await clientOf("shortapi").settle(job?.reference, { charged: "no" });
      await (await queue.getJob("order-1"))?.retry();
      await ended(queue, 1);
      expect(await queue.getCompletedCount()).toBe(1);
      expect(await unknown(queue)).toEqual([]);
    });

    test("a webhook in any process has a delayed job asked after at once", async () => {
      const queue = await queueOf();
      await addImageJob(queue, { prompt }, { jobId: "order-1" });
      const client = createImageClient({
        ...{ provider: providerOf("trinetra", sandbox.trinetra), journal, poll: 60_000 },
      });
      const worker = openWorker(queue.name, createImageProcessor(client, { save, queue }), address);
      open.push(worker);
      while ((await queue.getDelayedCount()) === 0) await pause(20);
      await pause(500);
      const reference = (await queue.getJob("order-1"))?.data.reference;
      expect(await promoteImageJob(queue, { id: reference?.id ?? "" })).toBe(true);
      await ended(queue, 1);
      expect(await queue.getCompletedCount()).toBe(1);
    });

    test("an aborted worker leaves its job to another one", async () => {
      const queue = await queueOf();
      const before = sandbox.charges.length;
      await addImageJob(queue, { prompt }, { jobId: "order-1" });
      const first = work(queue, "openaiCompatible");
      while ((await queue.getActiveCount()) === 0) await pause(10);
      await pause(100);
      first.cancelAllJobs("a deploy");
      await first.close();
      work(queue, "openaiCompatible");
      await ended(queue, 1);
      expect(await queue.getCompletedCount()).toBe(1);
      expect(sandbox.charges.length - before).toBe(1);
    });

    test("a sweep puts back what was failed or completed without our word for it", async () => {
      const queue = await queueOf();
      const ids = ["failed-1", "completed-1"];
      for (const jobId of ids) await addImageJob(queue, { prompt }, { jobId });
      // As after a connection that was lost at the end: of the one BullMQ made a failure, of the other nothing.
      const wrong = openWorker(
        queue.name,
        // What a worker of BullMQ makes of a processor that is none of ours.
        (async ({ id }: { id?: string }) => {
          if (id === "failed-1") throw new UnrecoverableError("Connection terminated unexpectedly");
        }) as never,
        address,
      );
      await ended(queue, 2);
      await wrong.close();
      expect(await queue.getJobCounts("failed", "completed")).toEqual({ failed: 1, completed: 1 });
      await scheduleImageSweep(queue, { everyMs: 1_000 });
      work(queue, "trinetra");
      const files = async (id: string) => (await queue.getJob(id))?.returnvalue?.files ?? [];
      for (let tries = 0; tries < 200; tries += 1) {
        const all = await Promise.all(ids.map(files));
        if (all.every(({ length }) => length === 1)) break;
        await pause(50);
      }
      expect(await Promise.all(ids.map(files))).toEqual(ids.map((id) => [`${id}-0.png`]));
      await queue.removeJobScheduler("image-sweep");
    });

    test("no order that has ended leaves the queue as a sweep ends, however many there are", async () => {
      const queue = await queueOf();
      const swept: string[] = [];
      const makeNothing: Parameters<typeof openWorker>[1] = async ({ name, data }) => {
        if (name !== "image") {
          swept.push(name);
          if (swept.length === 1) throw new UnrecoverableError("its database is away");
        } else if (data.request.prompt === "fails") throw new UnrecoverableError("nothing");
        return {} as ImageJobResult;
      };
      open.push(openWorker(queue.name, makeNothing, address, { concurrency: 20 }));
      // More than a sweep's own jobs were ever kept.
      const orders = Array.from({ length: 210 }, (_, index) => index % 2 === 0);
      for (const isMade of orders) await addImageJob(queue, { prompt: isMade ? "made" : "fails" });
      await ended(queue, orders.length);
      await scheduleImageSweep(queue, { everyMs: 300 });
      for (let tries = 0; tries < 200 && swept.length < 3; tries += 1) await pause(50);
      expect(swept.length).toBeGreaterThanOrEqual(3);
      await queue.removeJobScheduler("image-sweep");
      expect(await queue.getJobCounts("completed", "failed")).toEqual({
        completed: 105,
        failed: 105,
      });
    });

    test("a job that BullMQ fails without running it, since its workers died, is made all the same", async () => {
      const queue = await queueOf();
      const before = sandbox.charges.length;
      await addImageJob(queue, { prompt }, { jobId: "order-1" });
      const quick = { lockDuration: 400, stalledInterval: 400, maxStalledCount: 0 };
      // It never ends, and as one that is cut off it renews no lock.
      const dead = openWorker(queue.name, (() => new Promise(() => {})) as never, address, {
        ...quick,
        skipLockRenewal: true,
      });
      while ((await queue.getActiveCount()) === 0) await pause(10);
      await dead.close(true);
      work(queue, "trinetra", quick);
      await ended(queue, 1);
      const failed = await queue.getJob("order-1");
      expect(failed?.failedReason).toBe("job stalled more than allowable limit");
      expect(sandbox.charges.length).toBe(before);
      await scheduleImageSweep(queue, { everyMs: 1_000 });
      while ((await queue.getJob("order-1"))?.returnvalue?.files === undefined) await pause(50);
      expect(sandbox.charges.length).toBe(before + 1);
      await queue.removeJobScheduler("image-sweep");
    });
  });
});
