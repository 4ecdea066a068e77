import { createHash } from "node:crypto";
import type {
  LedgerChange,
  LedgerEntry,
  LedgerRange,
  LedgerScope,
  LedgerShortfall,
  LedgerStore,
  LedgerSums,
} from "../../index";
import { Database, type Row, UncertainError } from "./database";
import { durably } from "./durability";
import { checkNames, poolOf, schemaOf, timeoutOf } from "./migrations";
import type { PostgresPool, PostgresStoreOptions } from "./types";

/** How many entries a listing reads at once. */
const pageSize = 500;

/**
 * A ledger in PostgreSQL, version 13 or newer, in the schema and over the pool of a journal: a budget
 * holds to the cent among all processes that share it. `migrate(pool)` makes its tables.
 *
 * Each reservation is one statement. One whose connection is torn is repeated under the id of its entry,
 * for `timeoutMs`, and never counts twice; where nobody can know whether it was made, `append` rejects,
 * so that nothing is ordered, and it is given back once the database can be reached.
 *
 * @param pool a `Pool` of `pg` 8, or what has its `query`. It is the caller's to make and to end. Its
 * transactions are READ COMMITTED, as they are by default, or SERIALIZABLE.
 * @throws {TypeError} for a `pool` without `query`, a schema that would have to be quoted, a `timeoutMs`
 * that is no time, or an option that there is not.
 *
 * @example
 * ```ts
 * import { createLedger } from "gpt-image-client/router";
 *
 * await migrate(pool);
 * const ledger = createLedger(createPostgresLedgerStore(pool));
 * ```
 */
export function createPostgresLedgerStore(
  pool: PostgresPool,
  options: PostgresStoreOptions = {},
): LedgerStore {
  checkNames(options, ["schema", "timeoutMs"]);
  const schema = schemaOf(options);
  return new PostgresLedger(new Database(poolOf(pool), schema, timeoutOf(options)), schema);
}

class PostgresLedger implements LedgerStore {
  readonly #database: Database;
  readonly #schema: string;
  /** Entries that may have been added, of orders that never left: to be given back. */
  readonly #abandoned = new Set<string>();

  constructor(database: Database, schema: string) {
    this.#database = database;
    this.#schema = schema;
  }

  async append(
    entry: LedgerEntry,
    limits: Parameters<LedgerStore["append"]>[1] = [],
  ): Promise<LedgerShortfall | undefined> {
    const { id, at, state, counted, tags, job } = entry;
    const wanted = limits.map((limit) => ({ ...scopeOf(limit), amount: limit.amount }));
    try {
      const [row] = await this.#database.run(
        `SELECT shortfall, used, ${durably} FROM ${this.#schema}.ledger_reserve(
          $1, $2, $3, $4::numeric, $5, $6::text[], $7, $8, $9::jsonb)`,
        [
          ...[id, at, state, counted?.amount ?? null, counted?.unit ?? null, pairsOf(tags)],
          ...[job ?? null, JSON.stringify(entry), JSON.stringify(wanted)],
        ],
        id,
      );
      if (this.#abandoned.size > 0) void this.#giveBack();
      if (typeof row?.shortfall !== "number") return undefined;
      return { limit: row.shortfall, used: Number(row.used) };
    } catch (error) {
      if (error instanceof UncertainError) this.#abandon(id);
      throw error;
    }
  }

  update(id: string, change: LedgerChange): Promise<void> {
    return this.#change(id, change);
  }

  async #change(id: string, change: LedgerChange): Promise<void> {
    const { state, counted, job } = change;
    await this.#database.run(
      `SELECT ${durably} FROM ${this.#schema}.ledger_change(
        $1, $2, $3::boolean, $4::numeric, $5, $6, $7)`,
      [
        ...[id, state ?? null, counted !== undefined, counted?.amount ?? null],
        ...[counted?.unit ?? null, job ?? null, JSON.stringify(change)],
      ],
      id,
    );
  }

  async read(id: string): Promise<LedgerEntry | undefined> {
    return this.#first("WHERE id = $1", id);
  }

  async findJob(job: string): Promise<LedgerEntry | undefined> {
    return this.#first("WHERE job = $1 ORDER BY position DESC LIMIT 1", job);
  }

  async #first(where: string, value: string): Promise<LedgerEntry | undefined> {
    const text = `SELECT entry, changes FROM ${this.#schema}.ledger ${where}`;
    const [row] = await this.#database.run(text, [value]);
    return row && entryOf(row);
  }

  /** Page by page: between two of them the connection is anybody's. */
  async *entries({ from, to }: LedgerRange = {}): AsyncIterableIterator<LedgerEntry> {
    let [at, place]: unknown[] = [from ?? "", "0"];
    for (;;) {
      const rows = await this.#database.run(
        `SELECT entry, changes, reserved_at, position::text AS place FROM ${this.#schema}.ledger
        WHERE (reserved_at, position) > ($1, $2::bigint) AND ($3::text IS NULL OR reserved_at < $3)
        ORDER BY reserved_at, position LIMIT ${pageSize}`,
        [at, place, to ?? null],
      );
      for (const row of rows) yield entryOf(row);
      if (rows.length < pageSize) return;
      ({ reserved_at: at, place } = rows.at(-1) ?? {});
    }
  }

  async sums(scope: LedgerScope): Promise<LedgerSums> {
    const [row] = await this.#database.run(
      `SELECT charged, reserved, unknown FROM ${this.#schema}.ledger_sums_of($1::jsonb)`,
      [JSON.stringify([scopeOf(scope)])],
    );
    const { charged, reserved, unknown } = row ?? {};
    return { charged: Number(charged), reserved: Number(reserved), unknown: Number(unknown) };
  }

  #abandon(id: string): void {
    this.#abandoned.add(id);
    // What was still on its way may arrive when nothing else is written any more.
    void this.#database.late(id)?.then(() => this.#giveBack());
  }

  /** Never rejects: what could not be given back is left for the next time. */
  async #giveBack(): Promise<void> {
    for (const id of this.#abandoned) {
      if (this.#database.late(id) !== undefined) continue;
      // Not twice at once.
      this.#abandoned.delete(id);
      try {
        const entry = await this.read(id);
        if (entry?.state !== "reserved") continue;
        const { counted } = entry;
        await this.#change(id, {
          ...{ state: "refunded", settledAt: new Date().toISOString() },
          ...(counted !== undefined && { counted: { amount: 0, unit: counted.unit } }),
        });
      } catch {
        this.#abandoned.add(id);
        return;
      }
    }
  }
}

/** What tells a scope from others, and what its sums are made by. */
function scopeOf({ from, to, tags, rates }: LedgerScope) {
  const pairs = pairsOf(tags).sort();
  const units = Object.keys(rates).sort();
  const scope = {
    ...{ from_at: from ?? null, to_at: to ?? null, tags: pairs, units },
    rates: units.map((unit) => rates[unit]),
  };
  // A primary key has at most 2,704 bytes.
  const digest = createHash("sha256").update(JSON.stringify(scope)).digest("hex");
  return { scope: digest, ...scope };
}

/** Tags as text that one array can hold within another. */
function pairsOf(tags: LedgerEntry["tags"]): string[] {
  return Object.entries(tags).map((pair) => JSON.stringify(pair));
}

function entryOf({ entry, changes }: Row): LedgerEntry {
  // What this store has written itself.
  const [first, ...later] = [entry, ...(changes as string[])].map((text) =>
    JSON.parse(String(text)),
  );
  return Object.assign(first, ...later);
}
