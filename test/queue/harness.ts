import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { addImageJob, imageJobId, scheduleImageSweep } from "../../src/doors/bullmq/index";
import { createPostgresJournal, migrate } from "../../src/doors/postgres/index";
import type { JournalRecord } from "../../src/index";
import type { SandboxAccess, SandboxProvider } from "../../src/testing/sandbox";
import { type Ledger, tagsIn } from "../crash/plan";
import { PostgresServer } from "../postgres/support/server";
import { seededRandom } from "../support/random";
import { type Order, orderProviders, points, type QueueWorkerPlan, queueNameOf } from "./plan";
import { type Engine, type EngineAddress, type ImageQueue, openQueue } from "./support/engines";
import { RedisServer } from "./support/redis";
import { StallingProxy } from "./support/stalling-proxy";

/** How many images one native request of a provider yields, by its page. */
const mostAtOnce = { shortapi: 1, aigptimage: 1, trinetra: 4, openaiCompatible: 10 } as const;

export interface QueueCrashOptions {
  readonly engine: Engine;
  readonly kills: number;
  readonly orders: number;
  readonly seed: number;
  readonly mutation?: QueueWorkerPlan["mutation"];
}

/** The books of one provider, compared. */
export interface QueueCrashRow {
  readonly provider: SandboxProvider;
  orders: number;
  /** Native requests that the orders amount to. */
  tasks: number;
  /** Jobs that the provider billed. */
  charged: number;
  /** Those whose pictures are where `save` puts them. */
  delivered: number;
  /** Native requests that are told to be of unknown fate. */
  unknown: number;
  /** Billed, and neither delivered nor told. */
  lost: number;
  /** Billed beyond what was ordered. */
  twice: number;
}

export interface QueueCrashReport {
  readonly rows: readonly QueueCrashRow[];
  readonly kills: number;
  /** How often a database was killed and started again. */
  readonly restarts: number;
  /** How often the fourth worker was cut off. */
  readonly cuts: number;
  /** How often a process ended by itself as its database did. */
  readonly fell: number;
  readonly points: ReadonlyMap<string, number>;
  /** Whatever else must not be: in sentences. */
  readonly wrong: readonly string[];
  readonly seconds: number;
}

/** How long a job of the sandbox takes: long enough to be delayed a few times. */
const jobDurationMs = 700;

/** Kills workers of four processes until their number is full, and compares the books. */
export async function crashQueue(options: QueueCrashOptions): Promise<QueueCrashReport> {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const cache = join(root, "node_modules/.cache");
  await mkdir(cache, { recursive: true });
  const home = await mkdtemp(join(cache, "queue-crash-"));
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  try {
    await build({
      entryPoints: { worker: here("worker.ts"), sandbox: here("../crash/sandbox-process.ts") },
      ...{ bundle: true, platform: "node", target: "node20", format: "esm", packages: "external" },
      ...{ outdir: home, outExtension: { ".js": ".mjs" }, logLevel: "error" },
    });
    await using run = await Run.start(home, options);
    return await run.report();
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("no output");
  for await (const line of createInterface(stdout)) return line;
  throw new Error("it ended before it was ready");
}

interface Servers {
  readonly redis: RedisServer;
  readonly postgres: PostgresServer;
  readonly proxies: readonly StallingProxy[];
  readonly sandbox: ChildProcess;
  readonly control: string;
  readonly queues: ReadonlyMap<SandboxProvider, ImageQueue>;
}

class Run implements AsyncDisposable {
  readonly #home: string;
  readonly #options: QueueCrashOptions;
  readonly #servers: Servers;
  readonly #plans: readonly QueueWorkerPlan[];
  readonly #random: () => number;
  readonly #orders: Order[] = [];
  readonly #workers = new Set<ChildProcess>();
  #kills = 0;
  #restarts = 0;
  #cuts = 0;
  #fell = 0;
  #nextPoint = 0;
  readonly #wrong: string[] = [];

  private constructor(
    home: string,
    options: QueueCrashOptions,
    servers: Servers,
    plans: readonly QueueWorkerPlan[],
  ) {
    this.#home = home;
    this.#options = options;
    this.#servers = servers;
    this.#plans = plans;
    this.#random = seededRandom(options.seed);
  }

  static async start(home: string, options: QueueCrashOptions): Promise<Run> {
    const { engine } = options;
    const [redis, postgres] = [
      await RedisServer.start(),
      // Each of BullMQ's queues and workers has a pool, and one connection more to listen by.
      await PostgresServer.start({ maxConnections: 400 }),
    ];
    const sandbox = spawn(process.execPath, [join(home, "sandbox.mjs"), String(jobDurationMs)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const told: {
      control: string;
      access: Readonly<Record<SandboxProvider, SandboxAccess>>;
    } = JSON.parse(await firstLine(sandbox));
    const [queueDatabase, journalDatabase] = [
      await postgres.createDatabase(),
      await postgres.createDatabase(),
    ];
    const pool = postgres.pool(journalDatabase, { max: 2 });
    await migrate(pool);
    const proxies = [
      await StallingProxy.start(redis.port),
      await StallingProxy.start(postgres.port),
    ] as const;
    const addressAt = (redisPort: number, port: number): EngineAddress => ({
      ...{ engine, redisPort, databaseUrl: postgres.url(queueDatabase, port) },
    });
    const address = addressAt(redis.port, postgres.port);
    const queues = new Map<SandboxProvider, ImageQueue>();
    for (const provider of orderProviders) {
      const queue = await openQueue(queueNameOf(provider), address);
      await scheduleImageSweep(queue, { everyMs: 2_000 });
      queues.set(provider, queue);
    }
    const directory = join(home, "pictures");
    const common = { access: told.access, directory, trace: join(home, "trace") };
    // Two machines, and on the second one a process that a network can cut off.
    const plans = ["first", "first", "second", "second"].map((host, index): QueueWorkerPlan => {
      const isBehind = index === 3;
      const { mutation } = options;
      return {
        ...common,
        host,
        address: isBehind ? addressAt(proxies[0].port, proxies[1].port) : address,
        journalUrl: postgres.url(journalDatabase, isBehind ? proxies[1].port : postgres.port),
        ...(mutation !== undefined && { mutation }),
      };
    });
    const servers = { redis, postgres, proxies, sandbox, control: told.control, queues };
    return new Run(home, options, servers, plans);
  }

  async report(): Promise<QueueCrashReport> {
    const startedAt = performance.now();
    const killing = Promise.all(this.#plans.map((plan) => this.#lane(plan)));
    await Promise.all([killing, this.#order(), this.#disturb(killing)]);
    // As a shop goes on: workers that nobody kills.
    for (const plan of this.#plans) this.#spawn(plan);
    await this.#settled();
    const wrong = this.#wrong;
    const rows = await this.#compare(wrong);
    const trace = await readFile(join(this.#home, "trace"), "utf8").catch(() => "");
    const hit = new Map<string, number>();
    for (const line of trace.split("\n")) {
      if (line.startsWith("unhandled")) wrong.push(line);
      else if (line !== "") hit.set(line, (hit.get(line) ?? 0) + 1);
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    const counts = {
      kills: this.#kills,
      restarts: this.#restarts,
      cuts: this.#cuts,
      fell: this.#fell,
    };
    return { rows, ...counts, points: hit, wrong, seconds };
  }

  /** Orders come in as workers die, so that there is something to lose until the last kill. */
  async #order(): Promise<void> {
    const { orders, kills } = this.#options;
    while (this.#orders.length < orders) {
      const due = Math.min(orders, 24 + Math.ceil((orders * this.#kills) / kills));
      if (this.#orders.length >= due) {
        await pause(100);
        continue;
      }
      const number = this.#orders.length;
      const provider = orderProviders[number % orderProviders.length] ?? "shortapi";
      const order = { provider, tag: `crash-${provider}-${number}`, n: 1 + (number % 3) };
      this.#orders.push(order);
      const queue = this.#servers.queues.get(provider);
      if (queue === undefined) throw new Error("no queue");
      await this.#insist(() =>
        addImageJob(queue, { prompt: `Picture of ${order.tag}`, n: order.n }, { jobId: order.tag }),
      );
    }
  }

  /** The producer, too, finds its database away. */
  async #insist<Value>(work: () => Promise<Value>): Promise<Value> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await work();
      } catch (error) {
        if (tries > 60) throw error;
        await pause(500);
      }
    }
  }

  /** One process after another, each of which is killed. */
  async #lane(plan: QueueWorkerPlan): Promise<void> {
    while (this.#kills < this.#options.kills) {
      const isNamed = this.#random() < 0.65;
      const point = points[this.#nextPoint % points.length] ?? "return";
      if (isNamed) this.#nextPoint += 1;
      const nth = 1 + Math.floor(this.#random() * 4);
      const worker = this.#spawn(isNamed ? { ...plan, kill: { point, nth } } : plan);
      const ended = once(worker, "exit");
      // One that dies before it is ready was killed at its first job; and one may never be, cut off.
      await Promise.race([firstLine(worker).catch(() => {}), ended, pause(20_000)]);
      // A point that does not come ends at a random instant, too.
      const afterMs = isNamed ? 9_000 : 500 + this.#random() * 7_000;
      const timer = setTimeout(() => worker.kill("SIGKILL"), afterMs);
      const [code, signal] = await ended;
      clearTimeout(timer);
      if (signal === "SIGKILL") this.#kills += 1;
      // BullMQ (6.7) on PostgreSQL leaves a connection without a listener, whose end ends the process.
      else if (this.#options.engine === "postgres" && code === 1) this.#fell += 1;
      else this.#wrong.push(`a worker ended with ${signal ?? code}`);
    }
  }

  #spawn(plan: QueueWorkerPlan): ChildProcess {
    const worker = spawn(process.execPath, [join(this.#home, "worker.mjs"), JSON.stringify(plan)], {
      // What ends it where it ends by itself is told by its code.
      stdio: ["ignore", "pipe", process.env.DEBUG === undefined ? "ignore" : "inherit"],
    });
    this.#workers.add(worker);
    worker.once("exit", () => this.#workers.delete(worker));
    return worker;
  }

  /** Restarts the databases, and cuts the fourth worker off from them, until the workers have been killed. */
  async #disturb(killing: Promise<unknown>): Promise<void> {
    const { redis, postgres, proxies } = this.#servers;
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    killing.then(over, over);
    for (let round = 0; !isOver; round += 1) {
      for (const proxy of proxies) proxy.stall();
      this.#cuts += 1;
      await Promise.race([killing, pause(5_000)]);
      for (const proxy of proxies) proxy.resume(round % 2 === 0 ? "deliver" : "tear");
      await Promise.race([killing, pause(7_000)]);
      if (isOver) return;
      // The journal's database, and where it is another the queue's.
      if (this.#options.engine === "redis" && round % 2 === 0) {
        await redis.crash();
        await redis.restart();
      } else {
        await postgres.stop("immediate");
        await postgres.restart();
      }
      this.#restarts += 1;
    }
  }

  /** Waits until every order has ended, and nothing is left for a sweep to put back. */
  async #settled(): Promise<void> {
    let calm = 0;
    for (let tries = 0; calm < 6 && tries < 600; tries += 1) {
      await pause(500);
      const open = await this.#insist(async () => {
        const counts = await Promise.all(
          [...this.#servers.queues.values()].map((queue) =>
            queue.getJobs(["wait", "active", "delayed", "prioritized"]),
          ),
        );
        return counts.flat().filter((job) => job?.name === "image").length;
      });
      calm = open === 0 ? calm + 1 : 0;
    }
  }

  async #compare(wrong: string[]): Promise<QueueCrashRow[]> {
    const { control, queues } = this.#servers;
    const { charges, creates } = (await (await fetch(control)).json()) as Ledger;
    const tagOf = new Map(creates.map(({ jobId, tag }) => [jobId, tag]));
    const kept = await this.#records();
    const rows: QueueCrashRow[] = [];
    for (const provider of orderProviders) {
      const none = { orders: 0, tasks: 0, charged: 0, delivered: 0, unknown: 0, lost: 0, twice: 0 };
      const row: QueueCrashRow = { provider, ...none };
      rows.push(row);
      const queue = queues.get(provider);
      for (const { tag, n } of this.#orders.filter((each) => each.provider === provider)) {
        const wanted = Math.ceil(n / mostAtOnce[provider]);
        const billed = charges.filter(
          (each) => each.provider === provider && tagOf.get(each.jobId) === tag,
        ).length;
        const job = await queue?.getJob(imageJobId(tag));
        const result = job?.data.result;
        const whole = await wholeFiles(result?.files ?? []);
        if (whole !== (result?.files.length ?? 0)) wrong.push(`${tag}: a file is not whole`);
        const isFinal = job?.data.charged === "unknown" || job?.data.charged === "yes";
        const untold = (result?.failures ?? []).filter(({ charged }) => charged !== "no").length;
        const unknown = isFinal ? wanted : untold;
        const delivered = mostAtOnce[provider] === 1 ? whole : Math.ceil(whole / n);
        const records = kept.filter(({ request }) => tagsIn(request).includes(tag));
        if (result === undefined && !isFinal) {
          wrong.push(
            `${tag} has ended as ${job?.failedReason ?? "nothing"}, charged ${job?.data.charged}`,
          );
        }
        if (unknown > 0 && provider === "aigptimage")
          wrong.push(`${tag} is unknown in spite of its key`);
        const named = records.filter(({ taskId }) => taskId !== undefined);
        if (isFinal && named.length > 0) wrong.push(`${tag} was given up, and its job is known`);
        row.orders += 1;
        row.tasks += wanted;
        row.charged += billed;
        row.delivered += delivered;
        row.unknown += unknown;
        row.lost += Math.max(0, billed - delivered - unknown);
        row.twice += Math.max(0, billed - wanted);
      }
    }
    return rows;
  }

  async #records(): Promise<JournalRecord[]> {
    const [plan] = this.#plans;
    const database = new URL(plan?.journalUrl ?? "").pathname.slice(1);
    const journal = createPostgresJournal(this.#servers.postgres.pool(database, { max: 1 }));
    const found: JournalRecord[] = [];
    for await (const { record } of journal.list()) found.push(record as JournalRecord);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) worker.kill("SIGKILL");
    const { queues, proxies, sandbox, redis, postgres } = this.#servers;
    for (const queue of queues.values()) await queue.close();
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    sandbox.kill();
    await redis[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  }
}

async function wholeFiles(files: readonly string[]): Promise<number> {
  const whole = await Promise.all(
    files.map(async (file) => {
      const bytes = await readFile(file).catch(() => Buffer.alloc(0));
      return (
        bytes.subarray(1, 4).toString() === "PNG" && bytes.subarray(-8, -4).toString() === "IEND"
      );
    }),
  );
  return whole.filter(Boolean).length;
}

/** What must be nothing. */
export function faultsOf({ rows, wrong }: QueueCrashReport): string[] {
  return [
    ...rows.flatMap(({ provider, lost, twice }) => [
      ...(lost > 0 ? [`${provider}: ${lost} lost`] : []),
      ...(twice > 0 ? [`${provider}: ${twice} paid twice`] : []),
    ]),
    ...wrong,
  ];
}

const columns = ["orders", "tasks", "charged", "delivered", "unknown", "lost", "twice"] as const;

/** What came of it, a line each provider. */
export function tableOf(report: QueueCrashReport): string {
  const { rows, kills, restarts, cuts, fell, seconds } = report;
  const cells = [
    ["provider", "orders", "tasks", "charged", "delivered", "unknown", "lost", "paid twice"],
    ...rows.map((row) => [row.provider, ...columns.map((name) => String(row[name]))]),
    ["all", ...columns.map((name) => String(rows.reduce((sum, row) => sum + row[name], 0)))],
  ];
  const widths = (cells[0] ?? []).map((_, at) =>
    Math.max(...cells.map((row) => row[at]?.length ?? 0)),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("  "),
  );
  const named = [...report.points].map(([point, count]) => `${point} ${count}`).join(", ");
  const head = `${kills} kills, ${restarts} restarts of a database, cut off ${cuts} times, ${fell} processes ended with their database, ${seconds.toFixed(0)} s`;
  return [head, ...lines, `at named points: ${named}`].join("\n");
}
