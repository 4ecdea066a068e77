/** A process that generates with a journal, recovers what others left, and dies where it is told. */
import { createHash } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";
import { appendFileSync } from "node:fs";
import * as fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { Pool } from "pg";
import { createPostgresJournal, type PostgresPool } from "../../src/doors/postgres/index";
import {
  aigptimage,
  createImageClient,
  isImageError,
  type Journal,
  memoryJournal,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import type { JournalFileSystem } from "../../src/journal/directory-file-system";
import { journalIn } from "../../src/journal/directory-files";
import { type CrashTask, type TraceLine, tagsIn, type WorkerPlan } from "./plan";

const plan: WorkerPlan = JSON.parse(process.argv[2] ?? "");
const { provider, access, directory, mutation } = plan;
let untilKill = plan.kill?.nth ?? 0;

function trace(line: TraceLine): void {
  appendFileSync(plan.trace, `${JSON.stringify(line)}\n`);
}

function at(point: string): void {
  if (plan.kill?.point !== point) return;
  untilKill -= 1;
  if (untilKill > 0) return;
  trace({ type: "kill", point });
  process.kill(process.pid, "SIGKILL");
}

// ---- the wire ----

interface Sent {
  readonly request: { readonly method: string; readonly path: string };
}

function isSent(message: unknown): message is Sent {
  return typeof message === "object" && message !== null && "request" in message;
}

const wire = { create: "send", bodySent: "sent", headers: "head", trailers: "received" };
for (const [moment, name] of Object.entries(wire)) {
  subscribe(`undici:request:${moment}`, (message) => {
    if (!isSent(message)) return;
    const { method, path } = message.request;
    const isPicture = path.startsWith("/pictures/");
    const phase = method === "POST" ? "create" : isPicture ? "download" : "poll";
    at(`${phase}:${name}`);
  });
}

// ---- the disk ----

let writes = 0;

function full(): Error {
  return Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
}

/** The real file system, on which it can die half-way and run out of room. */
const disk: JournalFileSystem = {
  ...fs,
  async open(path, flags, mode) {
    const handle = await fs.open(path, flags, mode);
    const write = handle.writeFile.bind(handle);
    const sync = handle.sync.bind(handle);
    const isDirectory = flags === "r";
    if (!isDirectory) at("file:opened");
    handle.writeFile = async (data) => {
      writes += 1;
      const bytes = typeof data === "string" ? Buffer.from(data) : data;
      const dies = plan.kill?.point === "file:half";
      const isFull = plan.fullAt.includes(writes);
      if ((dies || isFull) && bytes instanceof Uint8Array) {
        await write(bytes.subarray(0, bytes.byteLength / 2));
        at("file:half");
        if (isFull) throw full();
        await write(bytes.subarray(bytes.byteLength / 2));
      } else await write(data);
      at("file:written");
    };
    handle.sync = async () => {
      await sync();
      at(isDirectory ? "directory:synced" : "file:synced");
    };
    return handle;
  },
  async link(from, to) {
    at("link:before");
    await fs.link(from, to);
    at("link:after");
  },
  async rename(from, to) {
    at("rename:before");
    await fs.rename(from, to);
    at("rename:after");
  },
};

// ---- the database ----

/** The journal of several machines, in which it can die around each statement, or with one on its way. */
function postgresJournal({ url, schema, host }: NonNullable<WorkerPlan["postgres"]>): Journal {
  // Whether a process of another machine lives, nobody here can tell.
  os.hostname = () => host;
  syncBuiltinESMExports();
  const pool = new Pool({ connectionString: url, max: 4 });
  const watchedPool: PostgresPool = {
    on: (event, listener) => pool.on(event, listener),
    listenerCount: (event) => pool.listenerCount(event),
    async query(text, values) {
      at("statement:before");
      const result = pool.query(text, values);
      result.catch(() => {});
      await turn();
      at("statement:sent");
      const found = await result;
      at("statement:after");
      return found;
    },
  };
  return createPostgresJournal(watchedPool, { schema });
}

// ---- the journal ----

const updates: Readonly<Record<string, string>> = { submitted: "id", succeeded: "succeeded" };

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
      const point = updates[record.state] ?? record.state;
      at(`${point}:before`);
      await inner.update(record);
      const tag = tagsIn(record.request)[0] ?? "none";
      trace({ type: "durable", tag, id: record.id, state: record.state });
      at(`${point}:after`);
    },
    async writeImage(id, position, bytes) {
      at("image:before");
      await inner.writeImage(id, position, bytes);
      at("image:after");
    },
  };
}

/** The same journal with one of its promises broken. */
function mutated(inner: Journal): Journal {
  if (mutation === "no-marker") return { ...inner, create: async () => true };
  if (mutation === "no-image") return { ...inner, writeImage: memoryJournal().writeImage };
  if (mutation === "not-exclusive") {
    return { ...inner, create: (record) => inner.update(record).then(() => true) };
  }
  if (mutation === "forgets-id") {
    return {
      ...inner,
      update: async (record) => (record.state === "submitted" ? undefined : inner.update(record)),
    };
  }
  return inner;
}

// ---- the work ----

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };
const client = createImageClient({
  provider: makers[provider](access),
  journal: watched(
    mutated(plan.postgres ? postgresJournal(plan.postgres) : journalIn(directory, disk)),
  ),
  poll: 15,
  timeoutMs: plan.timeoutMs,
});

function codeOf(error: unknown): string {
  return isImageError(error) ? error.code : String(error);
}

async function generate({ tag, n, keyed }: CrashTask): Promise<void> {
  try {
    // A machine's disk is its own: what another has to find is in the database alone.
    const call = {
      ...(keyed && { idempotencyKey: tag }),
      ...(plan.postgres !== undefined && { saveTo: directory }),
    };
    const { images } = await client.generate({ prompt: `Picture of ${tag}`, n }, call);
    at("resolved");
    const digests = await Promise.all(
      images.map(async (image) =>
        createHash("sha256")
          .update(await image.bytes())
          .digest("hex"),
      ),
    );
    trace({ type: "resolved", tag, images: digests });
  } catch (error) {
    trace({ type: "rejected", tag, code: codeOf(error) });
  }
}

function traceRecovered(jobId: string, errors: readonly unknown[]): void {
  trace({ type: "recovered", jobId, codes: errors.map(codeOf) });
}

async function recover(): Promise<void> {
  const ends: Promise<void>[] = [];
  const onSkipped = (id: string) => trace({ type: "skipped", id });
  for await (const job of client.recover({ onSkipped })) {
    ends.push(
      job.result().then(
        ({ failures }) => traceRecovered(job.id, failures),
        (error: unknown) =>
          traceRecovered(job.id, [error, ...(isImageError(error) ? error.failures : [])]),
      ),
    );
  }
  await Promise.all(ends);
}

process.stdout.write("ready\n");
await Promise.all([recover(), ...plan.tasks.map(generate)]);
process.exit(0);
