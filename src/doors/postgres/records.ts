import { randomUUID } from "node:crypto";
import type { JournalEntry, JournalFilter, JournalRecord, TaskName } from "../../index";
import { BatchedReads } from "./batched-reads";
import { type Database, recordOf, UncertainError } from "./database";
import { Doubts } from "./doubts";
import { durably } from "./durability";
import type { JournalIdentity } from "./identity";
import { columns, indexed, replaced, values, valuesOf } from "./record-row";

/** How many records a listing reads at once. */
const pageSize = 100;

/** The records of a journal: a row for each. */
export class Records {
  readonly #database: Database;
  readonly #schema: string;
  readonly #table: string;
  readonly #identity: JournalIdentity;
  readonly #doubts: Doubts;
  readonly #reads = new BatchedReads((ids) => this.#readAll(ids));

  constructor(database: Database, schema: string, identity: JournalIdentity) {
    this.#database = database;
    this.#schema = schema;
    this.#table = `${schema}.records`;
    this.#identity = identity;
    this.#doubts = new Doubts(database, this.#table);
  }

  /** False where there is one of that id that tells of something sent. */
  async create(record: JournalRecord): Promise<boolean> {
    const writer = randomUUID();
    // Of this create's own earlier tries, and of those that failed: nothing was ever sent under them.
    const own = [writer, ...this.#doubts.of(record.id)];
    const before = this.#identity.known ?? null;
    try {
      const [row] = await this.#database.run(
        `WITH created AS (
          INSERT INTO ${this.#table} AS there (${columns}, writer) SELECT ${values}, $11
          WHERE $12::text IS NULL
            OR EXISTS (SELECT FROM ${this.#schema}.journal WHERE identity::text = $12::text)
          ON CONFLICT (id) DO UPDATE SET ${replaced}, writer = excluded.writer
            WHERE there.writer = ANY($13::text[]) RETURNING id
        )
        SELECT (SELECT count(*)::integer FROM created) AS created,
          (SELECT identity::text FROM ${this.#schema}.journal) AS identity, ${durably}`,
        [...valuesOf(record), writer, before, own],
        record.id,
      );
      this.#identity.recognize(row?.identity);
      void this.#doubts.settle();
      return Number(row?.created) === 1;
    } catch (error) {
      if (error instanceof UncertainError) this.#doubts.add(record.id, writer);
      throw error;
    }
  }

  async update(record: JournalRecord): Promise<void> {
    await this.#database.run(
      `INSERT INTO ${this.#table} (${columns}) VALUES (${values})
      ON CONFLICT (id) DO UPDATE SET ${replaced}, writer = NULL RETURNING ${durably}`,
      valuesOf(record),
      record.id,
    );
  }

  read(id: string): Promise<unknown> {
    return this.#reads.read(id);
  }

  async #readAll(ids: readonly string[]): Promise<Map<string, unknown>> {
    const rows = await this.#database.run(
      `SELECT id, record FROM ${this.#table} WHERE id = ANY($1::text[])`,
      [ids],
    );
    return new Map(rows.map((row) => [String(row.id), recordOf(row)]));
  }

  async *list(filter: JournalFilter = {}): AsyncIterableIterator<JournalEntry> {
    const { settled, provider, baseURL, account } = filter;
    const order = settled === undefined ? "id" : settled ? "settled_id" : "unsettled_id";
    if (provider === undefined || baseURL === undefined) yield* this.#pages(order, [], []);
    else if (account === undefined || !settled) {
      yield* this.#pages(order, ["provider = $2", "base_url = $3"], [provider, baseURL]);
    } else {
      // One after the other, so that the index gives each in its order.
      for (const each of new Set(["", account])) {
        yield* this.#pages(order, ["whose = $2"], [[provider, baseURL, each].join("\n")]);
      }
    }
  }

  /** Page by page: between two of them the connection is anybody's. */
  async *#pages(order: string, conditions: readonly string[], given: readonly unknown[]) {
    const where = [`${order} > $1`, ...conditions].join(" AND ");
    const text = `SELECT id, record FROM ${this.#table} WHERE ${where} ORDER BY ${order} LIMIT ${pageSize}`;
    for (let after = ""; ; ) {
      const rows = await this.#database.run(text, [after, ...given]);
      for (const row of rows) yield { id: String(row.id), record: recordOf(row) };
      if (rows.length < pageSize) return;
      after = String(rows.at(-1)?.id);
    }
  }

  /** False where what is there is not `before`, as its JSON. */
  async replace(id: string, before: string, next: JournalRecord): Promise<boolean> {
    // Of two statements that meet at a row, the later one compares what the earlier one has left.
    const [row] = await this.#database.run(
      `UPDATE ${this.#table} SET (${columns}, writer) = ROW(${values}, NULL)
      WHERE id = $1 AND record = $11 RETURNING ${durably}`,
      [...valuesOf(next), before],
      id,
    );
    // A connection that was torn after the commit has had the statement repeated, which found its own work.
    return (
      row !== undefined ||
      JSON.stringify((await this.#readAll([id])).get(id)) === JSON.stringify(next)
    );
  }

  async findTask({ provider, baseURL, taskId }: TaskName): Promise<string | undefined> {
    const [row] = await this.#database.run(
      `SELECT id FROM ${this.#table} WHERE task_id = $1 AND state = 'submitted'
        AND provider = $2 AND base_url = $3 LIMIT 1`,
      [indexed(taskId), provider, baseURL],
    );
    return row === undefined ? undefined : String(row.id);
  }

  /** Deletes what creates that were given up on may have left. */
  settleDoubts(): Promise<void> {
    return this.#doubts.settle();
  }
}
