import { createHash, randomUUID } from "node:crypto";
import type { Journal, JournalEntry, JournalFilter, JournalRecord } from "../../index";
import { Database, recordOf, UncertainError } from "./database";
import { Doubts } from "./doubts";
import { durably } from "./durability";
import { forgettingIn } from "./forgetting";
import { Images } from "./images";
import { checkNames, newerSchema, newestVersion, poolOf, schemaOf, timeoutOf } from "./migrations";
import type { PostgresJournalOptions, PostgresPool } from "./types";

/** How many records a listing reads at once. */
const pageSize = 100;

/** Every journal over one pool and schema is in the same database: the one that was there at first. */
const identities = new WeakMap<PostgresPool, Map<string, string>>();

const columns =
  "id, job_id, provider, base_url, account, state, task_id, submitted_at, settled_at, record";

const values = "$1, $2, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10";

const replaced = columns
  .split(", ")
  .slice(1)
  .map((name) => `${name} = excluded.${name}`)
  .join(", ");

/**
 * A journal in PostgreSQL, version 13 or newer, for machines that share no disk: `migrate(pool)` makes
 * its tables. A worker on any of them finds what another has left by `client.recover()`.
 *
 * A statement that fails for a reason that passes, such as a restart of the database, is repeated for
 * `timeoutMs`; what was written before the connection broke is found, and not written a second time. A
 * database without the data that was there before, as after a failover to an empty one, is refused by
 * the processes that saw the other one.
 *
 * @param pool a `Pool` of `pg` 8, or what has its `query`. It is the caller's to make and to end.
 * @throws {TypeError} for a `pool` without `query`, a schema that would have to be quoted, a `timeoutMs`
 * that is no time, `images` that are no store, or an option that there is not.
 *
 * @example
 * ```ts
 * import { Pool } from "pg";
 *
 * const pool = new Pool({ connectionString: process.env.DATABASE_URL });
 * await migrate(pool);
 * const client = createImageClient({ provider: trinetra(), journal: createPostgresJournal(pool) });
 * ```
 */
export function createPostgresJournal(
  pool: PostgresPool,
  options: PostgresJournalOptions = {},
): Required<Journal> {
  checkNames(options, ["schema", "timeoutMs", "images"]);
  const { images } = options;
  const timeoutMs = timeoutOf(options);
  const isStore = [images?.write, images?.read, images?.delete].every(
    (each) => typeof each === "function",
  );
  if (images !== undefined && !isStore) {
    throw new TypeError("images is a store with write, read and delete");
  }
  const schema = schemaOf(options);
  const database = new Database(poolOf(pool), schema, timeoutMs);
  const journal = journalOver(pool, schema, database, new Images(database, schema, images));
  return { shared: true, volatile: false, ...journal };
}

function journalOver(
  pool: PostgresPool,
  schema: string,
  database: Database,
  images: Images,
): Required<Omit<Journal, "shared" | "volatile">> {
  const records = `${schema}.records`;
  const doubts = new Doubts(database, records);
  const { forget, prune } = forgettingIn(schema, database, images);
  const reading = new BatchedReads((ids) => readAll(ids));

  /** @throws {Error} if this is another database than the journal was in before. */
  function recognize(identity: unknown): void {
    const known = identities.get(pool) ?? new Map<string, string>();
    identities.set(pool, known);
    const before = known.get(schema);
    if (typeof identity !== "string") throw strangeDatabase(schema);
    if (before === undefined) known.set(schema, identity);
    else if (before !== identity) throw strangeDatabase(schema);
  }

  async function readAll(ids: readonly string[]): Promise<Map<string, unknown>> {
    const rows = await database.run(
      `SELECT id, record FROM ${records} WHERE id = ANY($1::text[])`,
      [ids],
    );
    return new Map(rows.map((row) => [String(row.id), recordOf(row)]));
  }

  /** Page by page: between two of them the connection is anybody's. */
  async function* pages(order: string, conditions: readonly string[], given: readonly unknown[]) {
    const where = [`${order} > $1`, ...conditions].join(" AND ");
    const text = `SELECT id, record FROM ${records} WHERE ${where} ORDER BY ${order} LIMIT ${pageSize}`;
    for (let after = ""; ; ) {
      const rows = await database.run(text, [after, ...given]);
      for (const row of rows) yield { id: String(row.id), record: recordOf(row) };
      if (rows.length < pageSize) return;
      after = String(rows.at(-1)?.id);
    }
  }

  return {
    async check() {
      const [row] = await database.run(
        `WITH trial AS (UPDATE ${schema}.journal SET tried_at = now() RETURNING identity)
        SELECT (SELECT identity::text FROM trial) AS identity,
          (SELECT max(version) FROM ${schema}.migrations) AS version`,
      );
      const version = Number(row?.version);
      if (version > newestVersion) throw newerSchema(schema, version);
      recognize(row?.identity);
    },
    async create(record) {
      const writer = randomUUID();
      // Of this create's own earlier tries, and of those that failed: nothing was ever sent under them.
      const own = [writer, ...doubts.of(record.id)];
      const before = identities.get(pool)?.get(schema) ?? null;
      try {
        const [row] = await database.run(
          `WITH created AS (
            INSERT INTO ${records} AS there (${columns}, writer) SELECT ${values}, $11
            WHERE $12::text IS NULL
              OR EXISTS (SELECT FROM ${schema}.journal WHERE identity::text = $12::text)
            ON CONFLICT (id) DO UPDATE SET ${replaced}, writer = excluded.writer
              WHERE there.writer = ANY($13::text[]) RETURNING id
          )
          SELECT (SELECT count(*)::integer FROM created) AS created,
            (SELECT identity::text FROM ${schema}.journal) AS identity, ${durably}`,
          [...valuesOf(record), writer, before, own],
          record.id,
        );
        recognize(row?.identity);
        void doubts.settle();
        return Number(row?.created) === 1;
      } catch (error) {
        if (error instanceof UncertainError) doubts.add(record.id, writer);
        throw error;
      }
    },
    async update(record) {
      await database.run(
        `INSERT INTO ${records} (${columns}) VALUES (${values})
        ON CONFLICT (id) DO UPDATE SET ${replaced}, writer = NULL RETURNING ${durably}`,
        valuesOf(record),
        record.id,
      );
    },
    read: (id) => reading.read(id),
    async *list(filter: JournalFilter = {}): AsyncIterableIterator<JournalEntry> {
      const { settled, provider, baseURL, account } = filter;
      const order = settled === undefined ? "id" : settled ? "settled_id" : "unsettled_id";
      if (provider === undefined || baseURL === undefined) yield* pages(order, [], []);
      else if (account === undefined || !settled) {
        yield* pages(order, ["provider = $2", "base_url = $3"], [provider, baseURL]);
      } else {
        // One after the other, so that the index gives each in its order.
        for (const each of new Set(["", account])) {
          yield* pages(order, ["whose = $2"], [[provider, baseURL, each].join("\n")]);
        }
      }
    },
    async compareAndSwap(id, expected, next) {
      // Of two statements that meet at a row, the later one compares what the earlier one has left.
      const before = JSON.stringify(expected);
      if (next === undefined) return forget(id, before);
      const [row] = await database.run(
        `UPDATE ${records} SET (${columns}, writer) = ROW(${values}, NULL)
        WHERE id = $1 AND record = $11 RETURNING ${durably}`,
        [...valuesOf(next), before],
        id,
      );
      // A connection that was torn after the commit has had the statement repeated, which found its own work.
      return (
        row !== undefined || JSON.stringify((await readAll([id])).get(id)) === JSON.stringify(next)
      );
    },
    async delete(id) {
      await forget(id);
    },
    writeImage: (id, position, bytes) => images.write(id, position, bytes),
    readImage: (id, position) => images.read(id, position),
    async findTask({ provider, baseURL, taskId }) {
      const [row] = await database.run(
        `SELECT id FROM ${records} WHERE task_id = $1 AND state = 'submitted'
          AND provider = $2 AND base_url = $3 LIMIT 1`,
        [indexed(taskId), provider, baseURL],
      );
      return row === undefined ? undefined : String(row.id);
    },
    async clean() {
      await doubts.settle();
      await images.clearAll();
    },
    prune,
  };
}

/** What is read in one turn of the event loop goes as one statement: a call under a key reads several. */
class BatchedReads {
  readonly #readAll: (ids: readonly string[]) => Promise<Map<string, unknown>>;
  #batch: { readonly ids: Set<string>; readonly found: Promise<Map<string, unknown>> } | undefined;

  constructor(readAll: (ids: readonly string[]) => Promise<Map<string, unknown>>) {
    this.#readAll = readAll;
  }

  async read(id: string): Promise<unknown> {
    this.#batch ??= this.#open();
    this.#batch.ids.add(id);
    return (await this.#batch.found).get(id);
  }

  #open() {
    const ids = new Set<string>();
    const found = Promise.resolve().then(() => {
      this.#batch = undefined;
      return this.#readAll([...ids]);
    });
    return { ids, found };
  }
}

function strangeDatabase(schema: string): Error {
  const fault = `The journal in the schema "${schema}" is not the one that was here before`;
  const help =
    "after a failover to a database without its records, jobs that it knew would be paid for again";
  return new Error(
    `${fault}: ${help}. Bring it back, or start the process anew to go on without them`,
  );
}

function valuesOf(record: JournalRecord): unknown[] {
  const { id, jobId, provider, baseURL, account = "", state, taskId, submittedAt } = record;
  const { settledAt = submittedAt } = record;
  const task = taskId === undefined ? null : indexed(taskId);
  const names = [id, jobId, provider, baseURL, account, state, task];
  return [...names, submittedAt, settledAt, JSON.stringify(record)];
}

/** A provider's id as an index takes it, which has at most 2,704 bytes of it, and no NUL. */
function indexed(taskId: string): string {
  if (/^[\x20-\x7e]{1,200}$/.test(taskId)) return taskId;
  return `sha256:${createHash("sha256").update(taskId).digest("hex")}`;
}
