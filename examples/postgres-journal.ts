/** A journal in Postgres, for workers that share no disk: two tables and a few statements. */
import { createImageClient, type Journal, openaiCompatible } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";

/** What `pg`, `postgres`, Neon and their like all have, under one name or another. */
export type Query = (
  text: string,
  values: readonly unknown[],
) => Promise<{ rows: Record<string, unknown>[]; rowCount: number | null }>;

export const schema = `
  CREATE TABLE image_jobs (id text PRIMARY KEY, record jsonb NOT NULL);
  CREATE INDEX ON image_jobs ((record->>'taskId')) WHERE record->>'state' = 'submitted';
  CREATE TABLE images (id text, position int, bytes bytea NOT NULL, PRIMARY KEY (id, position));`;

export function postgresJournal(query: Query): Journal {
  return {
    async create(record) {
      // The primary key decides who may send: of several workers one alone inserts.
      const text = "INSERT INTO image_jobs VALUES ($1, $2) ON CONFLICT DO NOTHING";
      return (await query(text, [record.id, JSON.stringify(record)])).rowCount === 1;
    },
    async update(record) {
      const text =
        "INSERT INTO image_jobs VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET record = $2";
      await query(text, [record.id, JSON.stringify(record)]);
    },
    async read(id) {
      const { rows } = await query("SELECT record FROM image_jobs WHERE id = $1", [id]);
      return rows[0]?.record;
    },
    async *list() {
      const { rows } = await query("SELECT id, record FROM image_jobs ORDER BY id", []);
      for (const { id, record } of rows) yield { id: String(id), record };
    },
    async delete(id) {
      // The record first: without one, nobody hands its images out again.
      await query("DELETE FROM image_jobs WHERE id = $1", [id]);
      await query("DELETE FROM images WHERE id = $1", [id]);
    },
    async writeImage(id, position, bytes) {
      const text =
        "INSERT INTO images VALUES ($1, $2, $3) ON CONFLICT (id, position) DO UPDATE SET bytes = $3";
      await query(text, [id, position, Buffer.from(bytes)]);
    },
    async readImage(id, position) {
      const text = "SELECT bytes FROM images WHERE id = $1 AND position = $2";
      const [row] = (await query(text, [id, position])).rows;
      return row?.bytes instanceof Uint8Array ? row.bytes : undefined;
    },
    // Need not be: a webhook that names a task is answered without reading the table through.
    async findTask({ provider, baseURL, taskId }) {
      const text = `SELECT id FROM image_jobs WHERE record->>'taskId' = $1
        AND record->>'state' = 'submitted' AND record @> $2`;
      const { rows } = await query(text, [taskId, JSON.stringify({ provider, baseURL })]);
      return rows[0] && String(rows[0].id);
    },
  };
}

/** Stands in for a database, so that this runs anywhere: it knows the statements above and no others. */
export function standInForPostgres(): Query {
  const jobs = new Map<string, unknown>();
  const images = new Map<string, Buffer>();
  return async (text, values) => {
    const [id, second, bytes] = values;
    const isJob = text.includes("image_jobs");
    const table: Map<string, unknown> = isJob ? jobs : images;
    const key = isJob ? String(id) : `${id}/${second}`;
    if (text.startsWith("INSERT")) {
      if (text.includes("NOTHING") && table.has(key)) return { rows: [], rowCount: 0 };
      table.set(key, isJob ? JSON.parse(String(second)) : bytes);
      return { rows: [], rowCount: 1 };
    }
    if (text.startsWith("DELETE")) {
      const gone = [...table.keys()].filter((each) => each === key || each.startsWith(`${id}/`));
      for (const each of gone) table.delete(each);
      return { rows: [], rowCount: gone.length };
    }
    if (text.includes("'taskId'")) {
      const wanted = { taskId: id, state: "submitted", ...JSON.parse(String(second)) };
      const isWanted = ([, record]: [string, unknown]) =>
        Object.entries(wanted).every(([name, each]) => Reflect.get(Object(record), name) === each);
      const rows = [...jobs].filter(isWanted).map(([each]) => ({ id: each }));
      return { rows, rowCount: rows.length };
    }
    const found = id === undefined ? [...table.keys()].sort() : table.has(key) ? [key] : [];
    const column = isJob ? "record" : "bytes";
    const rows = found.map((each) => ({ id: each, [column]: table.get(each) }));
    return { rows, rowCount: rows.length };
  };
}

if (process.argv[1]?.endsWith("postgres-journal.ts")) {
  await using sandbox = await startSandbox();
  // With `pg`: `const pool = new Pool(); (text, values) => pool.query(text, [...values])`.
  const journal = postgresJournal(standInForPostgres());
  const openClient = () =>
    createImageClient({ provider: openaiCompatible(sandbox.openaiCompatible), journal });

  await openClient().generate({ prompt: "A fox in the snow", n: 2 });
  console.log(`One worker paid for ${sandbox.charges[0]?.images} pictures, and is gone.`);

  for await (const job of openClient().recover()) {
    const { images } = await job.result({ saveTo: "output/postgres-journal" });
    console.log(`Another one, elsewhere: ${images.map(({ file }) => file).join(", ")}`);
    await job.release();
  }
  console.log(`Charges: ${sandbox.charges.length}`);
}
