import { setTimeout as pause } from "node:timers/promises";
import type { PostgresPool } from "./types";

/** What a statement gives: every column is text, a number or null by its cast. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * SQLSTATE classes and codes of what passes by itself: a lost connection, a conflict of transactions, no
 * room or too many connections, a server that stops, starts or stands by, an I/O error, a lock.
 */
const passing = /^(08|40|53|57P|58|25006|55P03)/;

/** Not only a code of the operating system's, such as EPIPE. */
const sqlState = /^[\dFHPX][\dA-Z]{4}$/;

/** No table, no schema, no column, no function: this is not where `migrate` has been. */
const missing = ["42P01", "3F000", "42703", "42883"];

const shortestPauseMs = 50;
const longestPauseMs = 1_000;

/** A statement was given up on that may still be done, now or later. */
export class UncertainError extends Error {
  override readonly name = "UncertainError";
}

/** The JSON of a row, or its text where somebody has put none there: what reads it says so. */
export function recordOf({ record }: Row): unknown {
  try {
    return JSON.parse(String(record));
  } catch {
    return record;
  }
}

/** The one way to the database: every statement is right to repeat, whatever became of it before. */
export class Database {
  readonly #pool: PostgresPool;
  readonly #schema: string;
  readonly #timeoutMs: number;
  /** What was given up on and may still be done, by the record that it is about. */
  readonly #late = new Map<string, Promise<unknown>>();

  constructor(pool: PostgresPool, schema: string, timeoutMs: number) {
    this.#pool = pool;
    this.#schema = schema;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Runs a statement, again where it failed for a reason that passes.
   *
   * @param about the record that it changes: what was given up on before has its turn first, so that an
   * older state is never written over a newer one.
   * @throws {@link UncertainError} if it may have been done, or may still be; whatever the server said
   * where it was not.
   */
  async run(text: string, values: unknown[] = [], about?: string): Promise<readonly Row[]> {
    const deadlineAt = performance.now() + this.#timeoutMs;
    const late = about === undefined ? undefined : this.#late.get(about);
    if (late !== undefined) await this.#within(late, deadlineAt);
    let isUncertain = false;
    for (let attempt = 0; ; attempt += 1) {
      const query = this.#query(text, values);
      try {
        return await this.#within(query, deadlineAt);
      } catch (error) {
        if (error instanceof UncertainError) {
          if (about !== undefined) this.#remember(about, query);
          throw error;
        }
        const state = sqlStateOf(error);
        const isPassing = state === undefined ? !this.#isMistake(error) : passing.test(state);
        // What the server refuses by a code was not done; without one nobody knows, and no later attempt
        // tells of an earlier one.
        isUncertain ||= state === undefined && isPassing;
        const delayMs = delayOf(attempt);
        if (!isPassing || performance.now() + delayMs >= deadlineAt) {
          const isMissing = state !== undefined && missing.includes(state);
          const told = isMissing ? this.#noJournal(error) : error;
          throw isUncertain ? uncertain(told) : told;
        }
        await pause(delayMs);
      }
    }
  }

  async #query(text: string, values: unknown[]): Promise<readonly Row[]> {
    const { rows } = await this.#pool.query(text, values);
    return rows.filter(isRow);
  }

  async #within<Value>(work: Promise<Value>, deadlineAt: number): Promise<Value> {
    const timer = new AbortController();
    const waitMs = Math.max(0, deadlineAt - performance.now());
    try {
      return await Promise.race([
        work,
        pause(waitMs, undefined, { signal: timer.signal }).then(() => {
          const seconds = this.#timeoutMs / 1_000;
          throw new UncertainError(
            `The database did not answer within ${seconds} s: it is stuck, or no connection of the pool became free`,
          );
        }),
      ]);
    } finally {
      timer.abort();
    }
  }

  #remember(about: string, query: Promise<unknown>): void {
    const done = query
      .catch(() => {})
      .finally(() => {
        if (this.#late.get(about) === done) this.#late.delete(about);
      });
    this.#late.set(about, done);
  }

  /** Resolves once what was given up on can change a record no more; `undefined` where there is nothing. */
  late(about: string): Promise<unknown> | undefined {
    return this.#late.get(about);
  }

  /** The program's own, which no repetition mends. */
  #isMistake(error: unknown): boolean {
    const { ending = false, closed = false } = this.#pool;
    return ending || closed || error instanceof TypeError || error instanceof RangeError;
  }

  #noJournal(cause: unknown): Error {
    const fault = `The database has no journal in its schema "${this.#schema}"`;
    const help = "run migrate(pool) first, unless this is another database than it should be";
    return new Error(`${fault}: ${help}`, { cause });
  }
}

function delayOf(attempt: number): number {
  const mostMs = Math.min(longestPauseMs, shortestPauseMs * 2 ** attempt);
  // Workers that lost the same server do not come back all at once.
  return mostMs * (0.5 + Math.random() / 2);
}

function uncertain(cause: unknown): UncertainError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const text = `The connection was lost, and nobody knows what was written (${reason})`;
  return new UncertainError(text, { cause });
}

function sqlStateOf(error: unknown): string | undefined {
  const code = typeof error === "object" && error !== null && "code" in error && error.code;
  return typeof code === "string" && sqlState.test(code) ? code : undefined;
}

function isRow(row: unknown): row is Row {
  return typeof row === "object" && row !== null;
}
