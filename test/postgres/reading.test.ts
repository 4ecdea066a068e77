import {
  aigptimage,
  createImageClient,
  type ImageJob,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { createPostgresJournal, migrate, type PostgresPool } from "gpt-image-client/postgres";
import { startSandbox } from "gpt-image-client/testing";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

const prompt = "A dew-covered web at sunrise";
const secret = "0123456789abcdef";

interface Plan {
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Index Recheck"?: number;
  readonly Plans?: readonly Plan[];
}

/** The rows that scans have read, also those that a filter threw away. */
function rowsOf(plan: Plan): number {
  const below = (plan.Plans ?? []).reduce((sum, each) => sum + rowsOf(each), 0);
  if (plan["Relation Name"] === undefined) return below;
  const removed =
    (plan["Rows Removed by Filter"] ?? 0) + (plan["Rows Removed by Index Recheck"] ?? 0);
  return below + (plan["Actual Rows"] + removed) * plan["Actual Loops"];
}

describeWithPostgres("what is read", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  /** A pool that has each statement explained as it runs. */
  async function explainingPool(database: string) {
    const client = new Client({ connectionString: server.url(database) });
    client.on("error", () => {});
    await client.connect();
    let rows = 0;
    const pool: PostgresPool = {
      async query(text, values) {
        // It is done for that, and undone.
        await client.query("BEGIN");
        const explained = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
        await client.query("ROLLBACK");
        rows += rowsOf(explained.rows[0]["QUERY PLAN"][0].Plan);
        return client.query(text, values);
      },
    };
    return { pool, rows: () => rows, reset: () => (rows = 0), end: () => client.end() };
  }

  test("with 100,000 settled records and 50 unsettled, recovery and webhooks read at most 100 rows", async () => {
    await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
    const database = await server.createDatabase();
    const ordinary = server.pool(database);
    await migrate(ordinary);
    const provider = trinetra(sandbox.trinetra);
    const journal = createPostgresJournal(ordinary);
    await createImageClient({ provider, journal, poll: 5 }).generate({ prompt });
    await ordinary.query(`
      INSERT INTO image_journal.records
        (id, job_id, provider, base_url, account, state, task_id, submitted_at, settled_at, record)
      SELECT 'job-' || i || '.0', 'job-' || i, provider, base_url, account, state, 'task-' || i,
        now(), now(), replace(replace(record, job_id, 'job-' || i), task_id, 'task-' || i)
      FROM image_journal.records, generate_series(1, 100000) AS i`);
    // As they are found after a crash: among the others.
    await ordinary.query(`
      UPDATE image_journal.records SET state = 'submitted',
        record = replace(record, '"state":"succeeded"', '"state":"submitted"')
      WHERE id IN (SELECT 'job-' || i * 2000 || '.0' FROM generate_series(1, 50) AS i)`);
    const explaining = await explainingPool(database);
    const webhooks = { secret };
    const openClient = () =>
      createImageClient({
        ...{ provider, webhooks, poll: 5 },
        journal: createPostgresJournal(explaining.pool),
      });
    const call = (id: string) => {
      const body = JSON.stringify({ id, status: "completed" });
      return new Request("http://localhost/", { method: "POST", body });
    };
    const read: Record<string, number> = {};
    for (const when of ["as it was filled", "after ANALYZE"]) {
      if (when === "after ANALYZE") await ordinary.query("ANALYZE");
      explaining.reset();
      const jobs: ImageJob[] = [];
      for await (const job of openClient().recover({ settled: false })) jobs.push(job);
      expect(jobs).toHaveLength(50);
      read[`recover({ settled: false }), ${when}`] = explaining.rows();

      explaining.reset();
      await openClient().webhooks.handle(call("task-2000"));
      await expect.poll(explaining.rows).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, 500));
      read[`a webhook, ${when}`] = explaining.rows();

      explaining.reset();
      await openClient().webhooks.handle(call("task-1"));
      await new Promise((resolve) => setTimeout(resolve, 500));
      read[`a webhook of a settled job, ${when}`] = explaining.rows();

      explaining.reset();
      await openClient().webhooks.handle(call("forged"));
      await new Promise((resolve) => setTimeout(resolve, 500));
      read[`a forged webhook, ${when}`] = explaining.rows();

      explaining.reset();
      const handed: string[] = [];
      for await (const job of openClient().recover()) {
        handed.push(job.id);
        if (handed.length === 60) break;
      }
      read[`recover(), up to the tenth settled job, ${when}`] = explaining.rows();
      // A page of a hundred settled ones.
      expect(explaining.rows()).toBeLessThanOrEqual(160);
      explaining.reset();
      await createPostgresJournal(explaining.pool).prune({
        ...{ provider: provider.name, baseURL: provider.baseURL },
        settledBefore: new Date(Date.now() - 86_400_000),
      });
      read[`retention of nothing, ${when}`] = explaining.rows();
    }
    await explaining.end();
    console.table(read);
    const whole = Object.entries(read).filter(([what]) => !what.startsWith("recover(), up to"));
    for (const [what, rows] of whole) expect(rows, what).toBeLessThanOrEqual(100);
  }, 240_000);

  const makers = { shortapi, aigptimage, trinetra, openaiCompatible };
  const names = ["shortapi", "aigptimage", "trinetra", "openaiCompatible"] as const;

  test.each(names)(
    "at %s a task takes at most 3 statements without a key and 5 under one, pieces of images apart",
    async (name) => {
      await using sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
      const pool = server.pool(await server.createDatabase());
      await migrate(pool);
      const statements: string[] = [];
      const counting: PostgresPool = {
        query(text, values) {
          statements.push(text);
          return pool.query(text, values);
        },
      };
      const journal = createPostgresJournal(counting);
      const client = createImageClient({
        ...{ provider: makers[name](sandbox[name]), journal, poll: 5 },
      });
      await client.generate({ prompt });
      const trials = statements.filter((text) => text.includes("tried_at"));
      const seen: Record<string, string> = {};
      for (const idempotencyKey of [undefined, "a key"]) {
        for (const n of [1, 12]) {
          statements.length = 0;
          const call = idempotencyKey === undefined ? {} : { idempotencyKey: `a key for ${n}` };
          const { job } = await client.generate({ prompt, n }, call);
          const tasks = job.reference.tasks.length;
          const own = statements.filter((text) => !text.includes("image_journal.image"));
          // aigptimage has a key for each create, the caller's or one of our own.
          const isKeyed = idempotencyKey !== undefined || name === "aigptimage";
          const most = isKeyed ? 5 : 3;
          expect(own.length, own.join("\n")).toBeLessThanOrEqual(most * tasks);
          seen[`${idempotencyKey ?? "no key"}, ${tasks} tasks`] = `${own.length} statements`;
          trials.push(...own.filter((text) => text.includes("tried_at")));
        }
      }
      expect(trials).toHaveLength(1);
      console.table(seen);
    },
  );

  test("retention is one statement", async () => {
    const pool = server.pool(await server.createDatabase());
    await migrate(pool);
    await pool.query(`
      INSERT INTO image_journal.records
        (id, job_id, provider, base_url, account, state, submitted_at, settled_at, record)
      SELECT i || '.0', i, 'p', 'b', '', 'failed', '2020-01-01', '2020-01-01', '{}'
      FROM generate_series(1, 900) AS i`);
    let statements = 0;
    const counting: PostgresPool = {
      query(text, values) {
        statements += 1;
        return pool.query(text, values);
      },
    };
    const expired = { provider: "p", baseURL: "b", settledBefore: new Date("2021-01-01") };
    await createPostgresJournal(counting).prune(expired);
    expect(statements).toBe(1);
    const { rows } = await pool.query("SELECT 1 FROM image_journal.records");
    expect(rows).toEqual([]);
  });
});
