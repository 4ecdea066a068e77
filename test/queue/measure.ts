/**
 * `tsx test/queue/measure.ts [cost|workers|waiting] [engine]`: what an order costs beside a processor by
 * hand, how many are made a second by 1, 2 and 4 workers, and what a small concurrency costs.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { addImageJob } from "../../src/doors/bullmq/index";
import { migrate } from "../../src/doors/postgres/index";
import { startSandbox } from "../../src/testing/sandbox";
import { PostgresServer } from "../postgres/support/server";
import type { MeasuredPlan } from "./measure-worker";
import { type Engine, openQueue } from "./support/engines";
import { RedisServer } from "./support/redis";

const [what = "cost", only] = process.argv.slice(2);
const redis = await RedisServer.start();
const postgres = await PostgresServer.start({ maxConnections: 400 });
const directory = await mkdtemp(join(tmpdir(), "queue-measure-"));
let made = 0;

interface Measurement {
  readonly engine: Engine;
  readonly kind: MeasuredPlan["kind"];
  readonly workers: number;
  readonly concurrency: number;
  readonly orders: number;
  readonly jobDurationMs: number;
  readonly pollMs?: number;
}

async function measure(given: Measurement) {
  const { engine, kind, workers, concurrency, orders, jobDurationMs, pollMs } = given;
  made += 1;
  await using sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  const [queueDatabase, journalDatabase] = [
    await postgres.createDatabase(),
    await postgres.createDatabase(),
  ];
  const pool = postgres.pool(journalDatabase, { max: 1 });
  await migrate(pool);
  const name = `measured-${made}`;
  const address = { engine, redisPort: redis.port, databaseUrl: postgres.url(queueDatabase) };
  const queue = await openQueue(name, address);
  const plan: MeasuredPlan = {
    ...{ kind, address, concurrency, directory, queue: name, access: sandbox.trinetra },
    journalUrl: postgres.url(journalDatabase),
    ...(pollMs !== undefined && { pollMs }),
  };
  const file = fileURLToPath(new URL("measure-worker.ts", import.meta.url));
  const running = Array.from({ length: workers }, () => {
    const child: ChildProcess = spawn(
      process.execPath,
      ["--import", "tsx", file, JSON.stringify(plan)],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]();
    return { child, next: async () => String((await lines.next()).value) };
  });
  await Promise.all(running.map(({ next }) => next()));
  const startedAt = performance.now();
  for (let index = 0; index < orders; index += 50) {
    await Promise.all(
      Array.from({ length: Math.min(50, orders - index) }, () =>
        addImageJob(queue, { prompt: "test picture" }),
      ),
    );
  }
  while ((await queue.getCompletedCount()) < orders) await pause(50);
  const wallMs = performance.now() - startedAt;
  const figures = await Promise.all(
    running.map(async ({ child, next }) => {
      child.kill("SIGTERM");
      const told: { cpuMs: number; rssMiB: number; statements: [string, number][] } = JSON.parse(
        await next(),
      );
      await once(child, "exit");
      return told;
    }),
  );
  await queue.close();
  await pool.end();
  const sum = (pick: (each: (typeof figures)[number]) => number) =>
    figures.reduce((total, each) => total + pick(each), 0);
  return {
    wallMs,
    cpuMs: sum(({ cpuMs }) => cpuMs) / orders,
    rssMiB: Math.max(...figures.map(({ rssMiB }) => rssMiB)),
    statements: figures[0]?.statements ?? [],
    polls: sandbox.requests.filter(({ phase }) => phase === "poll").length / orders,
    charges: sandbox.charges.length,
  };
}

const range = (values: readonly number[], digits = 1) =>
  `${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}`;
const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

const engines = (["redis", "postgres"] as const).filter(
  (each) => only === undefined || each === only,
);
for (const engine of engines) {
  if (what === "cost") {
    const common = {
      engine,
      workers: 1,
      concurrency: 20,
      orders: 200,
      jobDurationMs: 1_000,
      pollMs: 400,
    };
    const found = { ours: [] as number[], hand: [] as number[] };
    for (let turn = 0; turn < 3; turn += 1) {
      for (const kind of ["hand", "ours"] as const) {
        const { cpuMs, polls, statements } = await measure({ ...common, kind });
        found[kind].push(cpuMs);
        if (turn === 0) {
          const each = statements.map(
            ([name, count]) => `  ${(count / common.orders).toFixed(2)} ${name}`,
          );
          console.log(`${engine}, ${kind}: ${polls.toFixed(1)} polls an order\n${each.join("\n")}`);
        }
      }
    }
    const ratio = median(found.ours) / median(found.hand);
    console.log(
      `${engine}: CPU ms an order, ours ${range(found.ours)}, by hand ${range(found.hand)}: ${ratio.toFixed(2)} times`,
    );
  }
  if (what === "workers") {
    for (const workers of [1, 2, 4]) {
      const rates: number[] = [];
      for (let turn = 0; turn < 3; turn += 1) {
        const orders = 300;
        const common = {
          engine,
          kind: "ours",
          concurrency: 20,
          jobDurationMs: 300,
          pollMs: 350,
        } as const;
        const { wallMs } = await measure({ ...common, workers, orders });
        rates.push(orders / (wallMs / 1_000));
      }
      console.log(`${engine}: ${workers} workers, ${range(rates)} orders a second`);
    }
  }
  if (what === "waiting") {
    for (const concurrency of [10, 2_000]) {
      const common = {
        engine,
        kind: "ours",
        workers: 1,
        orders: 2_000,
        jobDurationMs: 60_000,
      } as const;
      const { wallMs, polls, rssMiB, charges } = await measure({ ...common, concurrency });
      console.log(
        `${engine}: concurrency ${concurrency}: ${(wallMs / 1_000).toFixed(1)} s, ${polls.toFixed(1)} polls an order, ${rssMiB.toFixed(0)} MiB, ${charges} charges`,
      );
    }
  }
}
await rm(directory, { recursive: true, force: true });
await redis[Symbol.asyncDispose]();
await postgres[Symbol.asyncDispose]();
process.exit(0);
