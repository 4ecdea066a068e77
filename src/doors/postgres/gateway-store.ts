import { randomUUID } from "node:crypto";
import { Database, recordOf } from "./database";
import { durably } from "./durability";
import { checkNames, poolOf, schemaOf, timeoutOf } from "./migrations";
import type { PostgresPool, PostgresStoreOptions } from "./types";

const defaultLeaseMs = 15_000;

/** How many orders a listing reads at once. */
const pageSize = 500;

/** What a gateway's store in PostgreSQL is given. */
export interface PostgresGatewayOptions extends PostgresStoreOptions {
  /**
   * Where pictures wait for those who ordered them: a directory that outlives the process. A gateway that
   * takes over without them gets them from the provider, or from its client's journal, once more.
   */
  readonly directory: string;
  /**
   * How long a gateway that was killed keeps the others waiting, in milliseconds. Default 15,000, at
   * least 1,000.
   */
  readonly leaseMs?: number;
}

/** A `GatewayStore` of `gpt-image-client/gateway`. */
export interface PostgresGatewayStore {
  /** Where its pictures are. */
  readonly directory: string;
  /** Keeps an order, unless another gateway has the lease by now. */
  put(record: { readonly id: string }): Promise<void>;
  /** Forgets an order, unless another gateway has the lease by now. */
  delete(id: string): Promise<void>;
  /** All orders. */
  list(): AsyncIterable<unknown>;
  /** Which of the gateways orders. */
  readonly lease: {
    /** A third of the time that it lasts. */
    readonly renewEveryMs: number;
    /** Takes or renews it; `undefined` while another gateway has it. */
    take(): Promise<number | undefined>;
    /** Ends it. */
    release(): Promise<void>;
  };
}

/**
 * A store for gateways in PostgreSQL, version 13 or newer, in the schema and over the pool of a journal.
 * `migrate(pool)` makes its tables. Any number of gateways on any machines may have it: one at a time has
 * the lease and orders, and the others answer 503 until it ends or is killed. Whoever lost the lease,
 * though it may not know that yet, can keep no order any more, and so send none.
 *
 * @param pool a `Pool` of `pg` 8, or what has its `query`. It is the caller's to make and to end.
 * @throws {TypeError} for a `pool` without `query`, a schema that would have to be quoted, a `timeoutMs`
 * or `leaseMs` that is no such time, a missing `directory`, or an option that there is not.
 *
 * @example
 * ```ts
 * await migrate(pool);
 * const store = createPostgresGatewayStore(pool, { directory: "./.orders" });
 * const gateway = createImageGateway({ models, authorize, store });
 * ```
 */
export function createPostgresGatewayStore(
  pool: PostgresPool,
  options: PostgresGatewayOptions,
): PostgresGatewayStore {
  const given: Partial<PostgresGatewayOptions> = options ?? {};
  checkNames(given, ["schema", "timeoutMs", "directory", "leaseMs"]);
  const { directory, leaseMs = defaultLeaseMs } = given;
  if (typeof directory !== "string" || directory === "") {
    throw new TypeError("directory is the path of a directory for pictures");
  }
  if (!(typeof leaseMs === "number" && leaseMs >= 1_000 && leaseMs < 2 ** 31)) {
    throw new TypeError("leaseMs is in milliseconds, and at least 1,000");
  }
  const schema = schemaOf(given);
  const database = new Database(poolOf(pool), schema, timeoutOf(given));
  return { directory, ...storeIn(database, schema, leaseMs) };
}

function storeIn(
  database: Database,
  schema: string,
  leaseMs: number,
): Omit<PostgresGatewayStore, "directory"> {
  const [orders, lease] = [`${schema}.gateway_orders`, `${schema}.gateway_lease`];
  const holder = randomUUID();
  /** That of the last time that it took the lease: what was begun under an earlier one is late. */
  let term = 0;
  // The lock makes whoever takes the lease wait for what is being written under it, and sees the rest.
  const held = `lease AS MATERIALIZED (
    SELECT FROM ${lease} WHERE holder = $1::uuid AND number = $2::integer FOR SHARE)`;

  /** @throws {Error} where another gateway has the lease. */
  async function write(id: string, change: string, ...values: string[]): Promise<void> {
    const [row] = await database.run(
      `WITH ${held}, change AS (${change})
      SELECT (SELECT count(*)::integer FROM lease) AS held, ${durably}`,
      [holder, term, id, ...values],
      id,
    );
    if (row?.held !== 1) throw new Error("Another gateway has taken over the store");
  }

  return {
    put: (record) =>
      write(
        record.id,
        `INSERT INTO ${orders} (id, record) SELECT $3, $4 FROM lease
        ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
        JSON.stringify(record),
      ),
    delete: (id) => write(id, `DELETE FROM ${orders} USING lease WHERE id = $3`),
    list: () => recordsIn(database, orders),
    lease: {
      renewEveryMs: leaseMs / 3,
      async take() {
        const [row] = await database.run(
          `UPDATE ${lease} SET holder = $1::uuid,
            number = CASE WHEN holder = $1::uuid THEN number ELSE number + 1 END,
            expires_at = clock_timestamp() + make_interval(secs => $2::float8 / 1000)
          WHERE holder IS NULL OR holder = $1::uuid OR expires_at < clock_timestamp()
          RETURNING number, ${durably}`,
          [holder, leaseMs],
        );
        if (typeof row?.number !== "number") return undefined;
        term = row.number;
        return term;
      },
      async release() {
        await database.run(`UPDATE ${lease} SET holder = NULL WHERE holder = $1::uuid`, [holder]);
      },
    },
  };
}

async function* recordsIn(database: Database, orders: string): AsyncIterable<unknown> {
  for (let after = ""; ; ) {
    const rows = await database.run(
      `SELECT id, record FROM ${orders} WHERE id > $1 ORDER BY id LIMIT ${pageSize}`,
      [after],
    );
    for (const row of rows) yield recordOf(row);
    if (rows.length < pageSize) return;
    after = String(rows.at(-1)?.id);
  }
}
