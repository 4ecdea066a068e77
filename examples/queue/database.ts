/** Where the example's queue and journal are: your PostgreSQL, your Redis, or a Redis of its own. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { createPostgresBackend, type Processor, Queue, Worker } from "bullmq";
import { directoryJournal, type Journal } from "gpt-image-client";
import type { ImageJobData, ImageJobResult } from "gpt-image-client/bullmq";
import { createPostgresJournal, migrate } from "gpt-image-client/postgres";

/** A URL of either kind, and what ends the server where it is our own. */
export interface Found {
  readonly url: string;
  readonly isOurs: boolean;
  stop(): void;
}

export const howToGetOne = `This example needs a Redis or a PostgreSQL, and found none. Either
  name one:     REDIS_URL=redis://… or DATABASE_URL=postgres://… npm run queue
  or get one:   apt-get install redis-server | brew install redis | docker run -p 6379:6379 redis`;

export async function findDatabase(directory: string): Promise<Found | undefined> {
  const { DATABASE_URL, REDIS_URL } = process.env;
  const named = DATABASE_URL ?? REDIS_URL;
  if (named !== undefined) return { url: named, isOurs: false, stop() {} };
  const port = await freePort();
  const options = ["--port", String(port), "--dir", directory, "--save", "", "--bind", "127.0.0.1"];
  const durable = ["--appendonly", "yes", "--appendfsync", "always"];
  const server = spawn("redis-server", [...options, ...durable], { stdio: "ignore" });
  let isMissing = false;
  server.once("error", () => {
    isMissing = true;
  });
  process.once("exit", () => server.kill());
  // BullMQ asks again until it is there.
  await pause(300);
  if (!isMissing)
    return { url: `redis://127.0.0.1:${port}`, isOurs: true, stop: () => server.kill() };
  return undefined;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

const isPostgres = (url: string) => url.startsWith("postgres");

export function openQueue(name: string, url: string) {
  return isPostgres(url)
    ? new Queue(
        name,
        { connection: { connectionString: url, migrate: true } },
        createPostgresBackend,
      )
    : new Queue(name, { connection: { url } });
}

interface Settings {
  readonly concurrency: number;
  readonly lockDuration: number;
  readonly stalledInterval: number;
}

export function openWorker(
  name: string,
  processor: Processor<ImageJobData, ImageJobResult>,
  url: string,
  settings: Settings,
) {
  const worker = isPostgres(url)
    ? new Worker(
        name,
        processor,
        { connection: { connectionString: url }, ...settings },
        createPostgresBackend,
      )
    : new Worker(name, processor, { connection: { url, maxRetriesPerRequest: null }, ...settings });
  // Without a listener BullMQ prints them; what they are about is done again.
  worker.on("error", () => {});
  return worker;
}

/** In PostgreSQL, or beside Redis in a directory, which all the workers of this machine reach. */
export async function openJournal(url: string, directory: string): Promise<Journal> {
  if (!isPostgres(url)) return directoryJournal(`${directory}/journal`);
  const { Pool } = await import("pg");
  const pool = new Pool({ connectionString: url });
  await migrate(pool);
  return createPostgresJournal(pool);
}
