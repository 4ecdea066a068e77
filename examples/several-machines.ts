/**
 * Two machines over one PostgreSQL: the first is killed in the middle of a paid job, and the second, which
 * shares no disk with it, has the pictures for one charge.
 *
 * With DATABASE_URL it uses that database by `pg` (npm install pg), in a schema of its own. Without it
 * PGlite (npm install @electric-sql/pglite) stands in, which is PostgreSQL in the process.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createImageClient, trinetra } from "gpt-image-client";
import { createPostgresJournal, migrate } from "gpt-image-client/postgres";
import { startSandbox } from "gpt-image-client/testing";

const directory = "output/several-machines";
const { DATABASE_URL } = process.env;
const [role, baseURL = "", apiKey = ""] = process.argv.slice(2);

async function openPool() {
  if (DATABASE_URL !== undefined) {
    const { Pool } = await import("pg");
    return new Pool({ connectionString: DATABASE_URL });
  }
  const { PGlite } = await import("@electric-sql/pglite");
  return PGlite.create(`${directory}/database`);
}

/** What a worker does as it starts, on whichever machine. The real service: `trinetra()`. */
async function openClient() {
  const pool = await openPool();
  await migrate(pool);
  return createImageClient({
    provider: trinetra({ baseURL, apiKey }),
    journal: createPostgresJournal(pool),
  });
}

if (role === "first") {
  const client = await openClient();
  await client.generate(
    { prompt: "A lighthouse in a storm", n: 2 },
    {
      // With its order's number: wherever the message is delivered again, it is the same job.
      idempotencyKey: "order-1",
      onEvent({ type }) {
        console.log(`  the first machine: ${type}`);
        // Not even a handler of its own can run after this.
        if (type === "status") process.kill(process.pid, "SIGKILL");
      },
    },
  );
} else if (role === "second") {
  const client = await openClient();
  // Every minute, say: what others have left, and nothing that is settled.
  for await (const job of client.recover({ settled: false })) {
    const { images, cost } = await job.result({ saveTo: directory });
    const files = images.map(({ file }) => file).join(", ");
    console.log(`  the second machine: ${cost?.amount} ${cost?.unit}, ${files}`);
  }
  const { job } = await client.generate(
    { prompt: "A lighthouse in a storm", n: 2 },
    { idempotencyKey: "order-1" },
  );
  console.log("  the order comes again, and is the same job");
  await job.release();
  process.exit();
} else {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await using sandbox = await startSandbox({ jobDurationMs: 1_500 });
  const access = [sandbox.trinetra.baseURL, sandbox.trinetra.apiKey];
  console.log(`The database: ${DATABASE_URL === undefined ? "PGlite" : "yours"}`);
  for (const machine of ["first", "second"]) {
    const program = [...process.execArgv, fileURLToPath(import.meta.url), machine, ...access];
    const [code, signal] = await once(
      spawn(process.execPath, program, { stdio: "inherit" }),
      "exit",
    );
    console.log(signal === null ? `It ended with ${code}` : `It was ended by ${signal}`);
  }
  console.log(`Charges at the provider: ${sandbox.charges.length}`);
}
