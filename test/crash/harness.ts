import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Pool } from "pg";
import { createPostgresJournal, migrate } from "../../src/doors/postgres/index";
import type { Journal } from "../../src/index";
import { directoryJournal } from "../../src/journal/directory";
import { type JournalRecord, journalRecordSchema } from "../../src/journal/record";
import type { SandboxAccess, SandboxFault, SandboxProvider } from "../../src/testing/sandbox";
import { seededRandom } from "../support/random";
import {
  type CrashTask,
  type Ledger,
  type Mutation,
  pointsOf,
  type TraceLine,
  tagsIn,
  type WorkerPlan,
} from "./plan";

export const providers = ["shortapi", "aigptimage", "trinetra", "openaiCompatible"] as const;

/** How many images one native request of a provider yields, by its page. */
const mostAtOnce = { shortapi: 1, aigptimage: 1, trinetra: 4, openaiCompatible: 10 } as const;

export interface CrashOptions {
  /** At each provider. */
  readonly kills: number;
  /** Resets, 5xx, slow responses and a full disk besides the kills. */
  readonly faults?: boolean;
  readonly providers?: readonly SandboxProvider[];
  readonly mutation?: Mutation;
  readonly seed?: number;
  /** One database for the workers of two machines, in place of a directory. */
  readonly postgres?: {
    readonly url: string;
    /** Kills the database and starts it again. */
    readonly crash?: () => Promise<void>;
  };
}

/** The books of one provider, compared. */
export interface CrashRow {
  readonly provider: SandboxProvider;
  kills: number;
  /** Native requests that the calls amount to. */
  tasks: number;
  /** Jobs that the provider billed. */
  charged: number;
  /** Charged jobs whose images are whole on disk. */
  onDisk: number;
  /** Records whose create nobody can know the fate of; `recover` handed each of them out as such. */
  unknown: number;
  /** Charged jobs that are neither on disk nor reported. */
  lost: number;
  /** Charged jobs beyond the native requests that were asked for. */
  double: number;
  /** Whatever else must not be: in sentences. */
  readonly wrong: string[];
  /** The named points at which a worker died, and how often. */
  readonly points: Map<string, number>;
}

/** Where a worker works. */
type Place = Pick<WorkerPlan, "directory" | "trace" | "postgres">;

interface Bench {
  readonly home: string;
  readonly workerFile: string;
  readonly control: string;
  readonly access: Readonly<Record<SandboxProvider, SandboxAccess>>;
}

/** Kills workers until every provider has had its number, and compares the books. */
export async function crash(options: CrashOptions): Promise<CrashRow[]> {
  const home = await mkdtemp(join(tmpdir(), "image-crash-"));
  let sandbox: ChildProcess | undefined;
  try {
    const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
    await build({
      entryPoints: { worker: here("worker.ts"), sandbox: here("sandbox-process.ts") },
      ...{ bundle: true, platform: "node", target: "node20", format: "esm" },
      ...{ outdir: home, outExtension: { ".js": ".mjs" }, logLevel: "error" },
      external: ["sharp", "pg-native", "cloudflare:sockets"],
      // undici is CommonJS, and requires what Node brings along.
      banner: {
        js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
      },
    });
    sandbox = spawn(process.execPath, [join(home, "sandbox.mjs")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const bench = {
      ...{ home, workerFile: join(home, "worker.mjs") },
      ...JSON.parse(await firstLine(sandbox)),
    };
    const names = options.providers ?? providers;
    const lanes = Promise.all(
      names.map((name, index) => new Lane(name, index, options, bench).run()),
    );
    await crashDatabase(lanes, options);
    return await lanes;
  } finally {
    sandbox?.kill();
    await rm(home, { recursive: true, force: true });
  }
}

/** Kills the database again and again, until the workers have ended. */
async function crashDatabase(work: Promise<unknown>, { postgres }: CrashOptions): Promise<void> {
  if (postgres?.crash === undefined) return;
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  work.then(over, over);
  while (!isOver) {
    await Promise.race([work, pause(6_000)]);
    if (!isOver) await postgres.crash();
  }
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("no output");
  for await (const line of createInterface(stdout)) return line;
  throw new Error("it ended before it was ready");
}

/** One provider's workers, two at a time on one directory, and a new directory now and then. */
class Lane {
  readonly #row: CrashRow;
  readonly #options: CrashOptions;
  readonly #bench: Bench;
  readonly #random: () => number;
  readonly #points: readonly string[];
  #nextPoint = 0;
  #made = 0;

  constructor(provider: SandboxProvider, index: number, options: CrashOptions, bench: Bench) {
    const none = { kills: 0, tasks: 0, charged: 0, onDisk: 0, unknown: 0, lost: 0, double: 0 };
    this.#row = { provider, ...none, wrong: [], points: new Map() };
    this.#options = options;
    this.#bench = bench;
    this.#random = seededRandom((options.seed ?? 1) * 1_000 + index);
    this.#points = pointsOf(provider, options.postgres === undefined ? "directory" : "postgres");
  }

  async run(): Promise<CrashRow> {
    for (let epoch = 0; this.#row.kills < this.#options.kills; epoch += 1) await this.#epoch(epoch);
    return this.#row;
  }

  async #epoch(epoch: number): Promise<void> {
    const row = this.#row;
    const { postgres } = this.#options;
    const place = join(this.#bench.home, `${row.provider}-${epoch}`);
    await mkdir(place);
    const schema = `${row.provider}_${epoch}`.toLowerCase();
    const trace = join(place, "trace.jsonl");
    const on = (host: string): Place => ({
      ...{ directory: join(place, host), trace },
      ...(postgres && { postgres: { url: postgres.url, schema, host } }),
    });
    // Machines share the database and nothing else; without one they are one machine.
    const paths = on("journal");
    const hosts = postgres === undefined ? [paths] : [on("first"), on("second")];
    const pool = postgres && new Pool({ connectionString: postgres.url, max: 2 });
    if (pool !== undefined) await migrate(pool, { schema });
    const journal =
      pool === undefined
        ? directoryJournal(paths.directory)
        : createPostgresJournal(pool, { schema });
    const tasks: CrashTask[] = [];
    const keyed: CrashTask[] = [];
    const killedBefore = row.kills;
    while (row.kills < this.#options.kills && row.kills - killedBefore < 16) {
      const own = [this.#task(false), this.#task(false)] as const;
      const shared = this.#task(true);
      tasks.push(...own, shared);
      keyed.push(shared);
      // The message that was redelivered meets its first delivery, which may run, or have died.
      const again = keyed[Math.floor(this.#random() * keyed.length)] ?? shared;
      if (this.#options.faults) await this.#inject(this.#faults());
      await Promise.all([
        this.#worker({ ...(hosts[0] ?? paths), tasks: [own[0], shared] }),
        this.#worker({ ...(hosts[1] ?? paths), tasks: [own[1], again] }),
      ]);
    }
    // As a queue does: delivered until it is done. Faults that are left over may still be met.
    for (let round = 0; round < 8; round += 1) {
      const history = await lines(trace);
      const open = keyed.filter(({ tag }) => !isDone(history, tag));
      if (open.length === 0) break;
      await this.#worker({ ...(hosts[round % hosts.length] ?? paths), tasks: open }, true);
    }
    const before = await lines(trace);
    // Each says of its own processes that they have ended, which no other machine can.
    for (const host of hosts) await this.#worker({ ...host, tasks: [] }, true);
    const recovered = (await lines(trace)).slice(before.length);
    await this.#compare({ journal, trace }, tasks, keyed, recovered);
    await pool?.end();
    await rm(place, { recursive: true, force: true });
  }

  #task(keyed: boolean): CrashTask {
    this.#made += 1;
    const n = 1 + (this.#made % 3);
    return { tag: `crash-${this.#row.provider}-${this.#made}`, n, keyed };
  }

  #faults(): SandboxFault[] {
    const { provider } = this.#row;
    const create = { provider, phase: "create" } as const;
    const poll = { provider, phase: "poll" } as const;
    const download = { provider, phase: "download" } as const;
    const any: SandboxFault[] = [
      { ...create, fault: "reset-before-acceptance" },
      { ...create, fault: "reset-after-acceptance" },
      { ...create, fault: "accepted-but-unavailable" },
      { ...create, fault: "unavailable", status: 500 },
      { ...create, fault: "unavailable", ownBody: true },
      { ...create, fault: "refusal", status: 402 },
      { ...create, fault: "slow", delayMs: 200 },
      { ...create, fault: "truncated" },
    ];
    const asked: SandboxFault[] = [
      { ...poll, fault: "reset-before-acceptance" },
      { ...poll, fault: "unavailable", status: 500 },
      { ...poll, fault: "slow", delayMs: 200 },
      { ...poll, fault: "missing" },
      { ...download, fault: "reset-before-acceptance" },
      { ...download, fault: "unavailable", status: 503 },
      { ...download, fault: "slow", delayMs: 200 },
      { ...download, fault: "truncated" },
      { ...download, fault: "expired" },
    ];
    const all = provider === "openaiCompatible" ? any : [...any, ...asked];
    return [this.#anyOf(all)].map((fault) => ({
      ...fault,
      after: Math.floor(this.#random() * 3),
    }));
  }

  #anyOf<Value>(values: readonly [Value, ...Value[]] | readonly Value[]): Value {
    const value = values[Math.floor(this.#random() * values.length)];
    if (value === undefined) throw new Error("nothing to choose from");
    return value;
  }

  async #inject(faults: readonly SandboxFault[]): Promise<Ledger> {
    const response = await fetch(this.#bench.control, {
      method: "POST",
      body: JSON.stringify(faults),
    });
    return (await response.json()) as Ledger;
  }

  /** Runs a worker to its end, which is a kill more often than not. */
  async #worker(work: Place & Pick<WorkerPlan, "tasks">, isLast = false): Promise<void> {
    const { provider } = this.#row;
    const { access, workerFile } = this.#bench;
    const { mutation, faults } = this.#options;
    const isNamed = !isLast && this.#random() < 0.65;
    const point = this.#points[this.#nextPoint % this.#points.length] ?? "";
    if (isNamed) this.#nextPoint += 1;
    const nth = this.#random() < 0.6 ? 1 : 1 + Math.floor(this.#random() * 4);
    const fullAt = faults && !isLast ? [this.#writeNumber()] : [];
    // So long a create of another machine is waited for; a database that starts again takes less.
    const timeoutMs = work.postgres !== undefined && isLast ? 12_000 : 15_000;
    const plan: WorkerPlan = {
      ...{ provider, access: access[provider], ...work, fullAt, timeoutMs },
      ...(mutation !== undefined && { mutation }),
      ...(isNamed && { kill: { point, nth } }),
    };
    const worker = spawn(process.execPath, [workerFile, JSON.stringify(plan)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(worker, "exit");
    await firstLine(worker);
    const isShared = work.postgres !== undefined;
    // It waits for its connections, and for a database that starts again.
    const randomMs = this.#random() * (isShared ? 3_000 : faults ? 1_200 : 600);
    // Named points that do not come end at a random instant, too: nobody waits for a worker that hangs.
    const killAfterMs = isLast ? 30_000 : isNamed ? (isShared ? 6_000 : 2_500) : randomMs;
    const timer = setTimeout(() => worker.kill("SIGKILL"), killAfterMs);
    const [code, signal] = await ended;
    clearTimeout(timer);
    if (signal === "SIGKILL" && !isLast) this.#row.kills += 1;
    else if (code !== 0) this.#row.wrong.push(`a worker ended with ${signal ?? code}`);
  }

  #writeNumber(): number {
    return 1 + Math.floor(this.#random() * 14);
  }

  async #compare(
    { journal, trace }: { journal: Journal; trace: string },
    tasks: readonly CrashTask[],
    keyed: readonly CrashTask[],
    recovered: readonly TraceLine[],
  ): Promise<void> {
    const row = this.#row;
    // Whatever was accepted last is billed by now.
    await pause(150);
    const { charges, creates } = await this.#inject([]);
    const tagOf = new Map(creates.map(({ jobId, tag }) => [jobId, tag]));
    const kept = await keptIn(journal, row.wrong);
    const history = await lines(trace);
    const handedOut = new Map<string, readonly string[]>();
    for (const line of recovered) {
      if (line.type !== "recovered") continue;
      handedOut.set(line.jobId, [...(handedOut.get(line.jobId) ?? []), ...line.codes]);
    }
    for (const line of history) {
      if (line.type === "kill") row.points.set(line.point, (row.points.get(line.point) ?? 0) + 1);
      if (line.type === "skipped") row.wrong.push(`${line.id} was skipped as no record`);
    }
    for (const { record } of kept) {
      if (record.state !== "submitting" && record.state !== "unknown") continue;
      row.unknown += 1;
      const answered = history.some(
        (line) =>
          line.type === "durable" &&
          line.id === record.id &&
          (line.state === "submitted" || line.state === "succeeded"),
      );
      if (answered) row.wrong.push(`${record.id} is unknown, and its response was written`);
      if (row.provider === "aigptimage")
        row.wrong.push(`${record.id} is unknown in spite of its key`);
      const codes = handedOut.get(record.jobId) ?? [];
      if (!codes.includes("submission_unknown")) {
        row.wrong.push(`${record.id} is unknown, and recover said only "${codes}" of it`);
      }
    }
    for (const { tag, n } of tasks) {
      const most = mostAtOnce[row.provider];
      const wanted = Math.ceil(n / most);
      const billed = charges.filter(({ jobId }) => tagOf.get(jobId) === tag);
      const own = kept.filter(({ record }) => tagsIn(record.request).includes(tag));
      const there = billed.filter(({ jobId, images }) =>
        own.some(
          ({ record, whole }) =>
            whole === images &&
            record.state === "succeeded" &&
            // A provider that answers with the images names no job: there is one for each call.
            (record.taskId === jobId || row.provider === "openaiCompatible"),
        ),
      ).length;
      const unknown = own.filter(
        ({ record: { state } }) => state === "submitting" || state === "unknown",
      ).length;
      // A response that broke off after a whole image: the caller has the error, and on it the image.
      const inPart = own.filter(
        ({ record: { state, failure } }) =>
          state === "failed" && failure?.kind === "malformed_response" && failure.charged === "yes",
      ).length;
      row.tasks += wanted;
      row.charged += billed.length;
      row.onDisk += there;
      row.lost += Math.max(0, billed.length - there - unknown - inPart);
      row.double += Math.max(0, billed.length - wanted);
      const resolved = history.filter((line) => line.type === "resolved" && line.tag === tag);
      for (const line of resolved) {
        const files = new Set(own.flatMap(({ digests }) => digests));
        const isKept = line.type === "resolved" && line.images.every((each) => files.has(each));
        if (!isKept) row.wrong.push(`${tag} resolved with images that are not on disk`);
      }
    }
    for (const { tag, n } of keyed) {
      const done = history.flatMap((line) =>
        line.type === "resolved" && line.tag === tag ? [line.images.length] : [],
      );
      if (done.includes(n)) continue;
      const own = kept.filter(({ record }) => tagsIn(record.request).includes(tag));
      const isUnknown = own.some(({ record: { state } }) => /submitting|unknown/.test(state));
      if (!isUnknown) row.wrong.push(`${tag} was delivered to the end, and is not there`);
    }
  }
}

interface Kept {
  readonly record: JournalRecord;
  /** How many of its images are whole. */
  readonly whole: number;
  readonly digests: readonly string[];
}

async function keptIn(journal: Journal, wrong: string[]): Promise<Kept[]> {
  const kept: Kept[] = [];
  for await (const { id, record: found } of journal.list()) {
    const parsed = journalRecordSchema.safeParse(found);
    if (!parsed.success) {
      wrong.push(`${id} is no whole record`);
      continue;
    }
    const record = parsed.data;
    const images = await Promise.all(
      (record.images ?? []).map((_, position) => journal.readImage(id, position)),
    );
    const whole = images.filter((bytes) => bytes !== undefined && isWholePng(bytes));
    if (record.state === "succeeded" && whole.length < images.length) {
      wrong.push(`${id} says succeeded, and has ${whole.length} of ${images.length} images`);
    }
    const digests = images.flatMap((bytes) => (bytes === undefined ? [] : [digestOf(bytes)]));
    kept.push({ record, whole: whole.length, digests });
  }
  return kept;
}

function isWholePng(bytes: Uint8Array): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (
    buffer.subarray(1, 4).toString() === "PNG" && buffer.subarray(-8, -4).toString() === "IEND"
  );
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Whether a message needs no other delivery: its last one gave images, or said that nobody can know. */
function isDone(history: readonly TraceLine[], tag: string): boolean {
  const ends = history.flatMap((line) => {
    if (line.type === "resolved" && line.tag === tag) return [true];
    return line.type === "rejected" && line.tag === tag ? [line.code === "submission_unknown"] : [];
  });
  return ends.at(-1) === true;
}

async function lines(trace: string): Promise<TraceLine[]> {
  const text = await readFile(trace, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}

/** What must be nothing. */
export function faultsOf(rows: readonly CrashRow[]): string[] {
  return rows.flatMap(({ provider, lost, double, wrong }) => [
    ...(lost > 0 ? [`${provider}: ${lost} lost`] : []),
    ...(double > 0 ? [`${provider}: ${double} charged twice`] : []),
    ...wrong.map((each) => `${provider}: ${each}`),
  ]);
}

const columns = ["kills", "tasks", "charged", "onDisk", "unknown", "lost", "double"] as const;

/** Provider × what came of it. */
export function tableOf(rows: readonly CrashRow[]): string {
  const head = ["provider", "kills", "tasks", "charged", "on disk", "unknown reported"];
  const sums = columns.map((name) => rows.reduce((sum, row) => sum + row[name], 0));
  const table = [
    [...head, "lost", "double"],
    ...rows.map((row) => [row.provider, ...columns.map((name) => String(row[name]))]),
    ["all", ...sums.map(String)],
  ];
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  return table
    .map((row) =>
      row
        .map((cell, at) =>
          at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
        )
        .join("  "),
    )
    .join("\n");
}

/** The kills of each provider by the points that they hit, a line each, and the points that none hit. */
export function pointLinesOf(rows: readonly CrashRow[], journal?: "postgres"): string[] {
  return rows.map(({ provider, points }) => {
    const missed = pointsOf(provider, journal).filter((point) => !points.has(point));
    const named = [...points.values()].reduce((sum, count) => sum + count, 0);
    const rest = missed.length === 0 ? "" : `; never at ${missed.join(", ")}`;
    return `${provider}: ${named} kills at ${points.size} named points${rest}`;
  });
}
