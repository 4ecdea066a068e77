/**
 * What a journal costs: the same generations without one, with a directory and with PostgreSQL, in turns.
 * `npm run bench:journal`
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createImageClient, directoryJournal, type Journal, trinetra } from "gpt-image-client";
import { createPostgresJournal, migrate } from "gpt-image-client/postgres";
import { PostgresServer, pathTo } from "../postgres/support/server";

const rounds = 5;
const jobsAt = { 1: 40, 64: 256 } as const;

// In a process of its own, so that the time of this one is the client's.
const sandbox = spawn(
  process.execPath,
  [...process.execArgv, fileURLToPath(new URL("../crash/sandbox-process.ts", import.meta.url))],
  { stdio: ["pipe", "pipe", "inherit"] },
);
const lines = createInterface(sandbox.stdout)[Symbol.asyncIterator]();
const { access } = JSON.parse((await lines.next()).value);
const directory = await mkdtemp(join(tmpdir(), "journal-bench-"));
const isThere = pathTo("postgres") !== undefined;
await using server = isThere ? await PostgresServer.start() : undefined;
const pool = server?.pool(await server.createDatabase());
if (pool !== undefined) await migrate(pool);

let made = 0;
const journals: Record<string, () => Journal | undefined> = {
  "no journal": () => undefined,
  "a directory": () => directoryJournal(join(directory, String(made++))),
  ...(pool && { PostgreSQL: () => createPostgresJournal(pool) }),
};

interface Figures {
  readonly ms: number;
  readonly cpuMs: number;
}

/** Milliseconds a generation; without a journal the bytes are fetched all the same. */
async function measure(journal: Journal | undefined, atOnce: 1 | 64): Promise<Figures> {
  const client = createImageClient({
    ...{ provider: trinetra(access.trinetra), poll: 5, concurrency: atOnce },
    ...(journal !== undefined && { journal }),
  });
  const jobs = jobsAt[atOnce];
  const startedAt = performance.now();
  const before = process.cpuUsage();
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      const { image } = await client.generate({ prompt: "test" });
      await image.bytes();
    }),
  );
  const { user, system } = process.cpuUsage(before);
  return {
    ms: (performance.now() - startedAt) / jobs,
    cpuMs: (user + system) / 1_000 / jobs,
  };
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

for (const atOnce of [1, 64] as const) {
  const figures = new Map<string, Figures[]>(Object.keys(journals).map((name) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, open] of Object.entries(journals)) {
      const figure = await measure(open(), atOnce);
      // The first round warms up.
      if (round >= 0) figures.get(name)?.push(figure);
    }
  }
  const table = [...figures].map(([name, all]) => {
    const of = (key: keyof Figures) => median(all.map((each) => each[key])).toFixed(1);
    return [name, { "ms a generation": of("ms"), "CPU ms a generation": of("cpuMs") }];
  });
  console.log(
    `${jobsAt[atOnce]} generations of 1024 × 1024, ${atOnce} at once, median of ${rounds}:`,
  );
  console.table(Object.fromEntries(table));
}
await rm(directory, { recursive: true });
sandbox.kill();
await pool?.end();
