import type { Journal } from "../../index";
import { Database } from "./database";
import { forgettingIn } from "./forgetting";
import { JournalIdentity } from "./identity";
import { Images } from "./images";
import { checkNames, newerSchema, newestVersion, poolOf, schemaOf, timeoutOf } from "./migrations";
import { Records } from "./records";
import type { PostgresJournalOptions, PostgresPool } from "./types";

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
  const identity = new JournalIdentity(pool, schema);
  const records = new Records(database, schema, identity);
  const { forget, prune } = forgettingIn(schema, database, images);

  return {
    async check() {
      const [row] = await database.run(
        `WITH trial AS (UPDATE ${schema}.journal SET tried_at = now() RETURNING identity)
        SELECT (SELECT identity::text FROM trial) AS identity,
          (SELECT max(version) FROM ${schema}.migrations) AS version`,
      );
      const version = Number(row?.version);
      if (version > newestVersion) throw newerSchema(schema, version);
      identity.recognize(row?.identity);
    },
    create: (record) => records.create(record),
    update: (record) => records.update(record),
    read: (id) => records.read(id),
    list: (filter) => records.list(filter),
    async compareAndSwap(id, expected, next) {
      const before = JSON.stringify(expected);
      return next === undefined ? forget(id, before) : records.replace(id, before, next);
    },
    async delete(id) {
      await forget(id);
    },
    writeImage: (id, position, bytes) => images.write(id, position, bytes),
    readImage: (id, position) => images.read(id, position),
    findTask: (task) => records.findTask(task),
    async clean() {
      await records.settleDoubts();
      await images.clearAll();
    },
    prune,
  };
}
