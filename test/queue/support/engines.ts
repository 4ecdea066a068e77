import { createPostgresBackend, type Processor, Queue, Worker, type WorkerOptions } from "bullmq";
import type { Pool } from "pg";
import {
  type ImageJobData,
  type ImageJobResult,
  imageWorkerOptions,
} from "../../../src/doors/bullmq/index";
import { createPostgresJournal, migrate } from "../../../src/doors/postgres/index";
import type { Journal } from "../../../src/index";
import type { PostgresServer } from "../../postgres/support/server";
import type { RedisServer } from "./redis";

/** A queue over either engine. */
export type ImageQueue = Pick<
  Queue<ImageJobData, ImageJobResult>,
  | "add"
  | "close"
  | "getActiveCount"
  | "getCompletedCount"
  | "getDelayedCount"
  | "getJob"
  | "getJobCounts"
  | "getJobs"
  | "getWaitingCount"
  | "name"
  | "rateLimit"
  | "removeJobScheduler"
  | "upsertJobScheduler"
>;
/** A worker over either engine. */
export type ImageWorker = Pick<Worker, "cancelAllJobs" | "close" | "isRunning">;

export type WorkerSettings = Omit<WorkerOptions, "connection" | "telemetry">;

/** What BullMQ stands on. */
export type Engine = "redis" | "postgres";

/** Where an engine is reached: the port of Redis, or the URL of a database. */
export interface EngineAddress {
  readonly engine: Engine;
  readonly redisPort: number;
  readonly databaseUrl: string;
}

/**
 * A queue of an engine. On PostgreSQL BullMQ makes its tables here, unless they are there: under a lock of the
 * database's, which a process that is cut off would keep from all others.
 */
export async function openQueue(
  name: string,
  address: EngineAddress,
  { migrate = true }: { readonly migrate?: boolean } = {},
): Promise<ImageQueue> {
  const { engine, redisPort: port, databaseUrl: connectionString } = address;
  const queue =
    engine === "redis"
      ? new Queue(name, { connection: { port } })
      : new Queue(
          name,
          { connection: { connectionString, migrate, max: 3 } },
          createPostgresBackend,
        );
  queue.on("error", () => {});
  await queue.waitUntilReady();
  return queue;
}

/** A worker of an engine. */
export function openWorker(
  name: string,
  processor: Processor<ImageJobData, ImageJobResult>,
  address: EngineAddress,
  options: Partial<WorkerSettings> = {},
): ImageWorker {
  const { engine, redisPort: port, databaseUrl: connectionString } = address;
  const given = { ...imageWorkerOptions, ...options };
  const worker =
    engine === "redis"
      ? new Worker(name, processor, { connection: { port, maxRetriesPerRequest: null }, ...given })
      : new Worker(
          name,
          processor,
          { connection: { connectionString, max: 5 }, ...given },
          createPostgresBackend,
        );
  worker.on("error", () => {});
  return worker;
}

/** Both servers, and a journal in a database of its own. */
export class Engines {
  readonly redis: RedisServer;
  readonly postgres: PostgresServer;

  constructor(redis: RedisServer, postgres: PostgresServer) {
    this.redis = redis;
    this.postgres = postgres;
  }

  async open(engine: Engine): Promise<{ address: EngineAddress; journal: Journal; pool: Pool }> {
    const database = await this.postgres.createDatabase();
    const pool = this.postgres.pool(database);
    await migrate(pool);
    const databaseUrl = this.postgres.url(database);
    const address = { engine, redisPort: this.redis.port, databaseUrl };
    return { address, journal: createPostgresJournal(pool), pool };
  }
}
