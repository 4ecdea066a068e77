/**
 * What the journal needs of a database: a `Pool` of `pg` 8, or whatever else has its `query`, such as
 * PGlite. Each call may go to another connection: nothing here spans two statements, so that no client
 * is ever taken out of the pool, and a pooler such as PgBouncer may stand between in any mode.
 */
export interface PostgresPool {
  /** Runs one statement, with `$1`, `$2`, … for the values. */
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
  /**
   * An event emitter's, where it is one. A `Pool` of `pg` emits `error` when a connection ends that
   * nobody uses, and a process without a listener for it ends with the database.
   */
  on?(event: "error", listener: (error: Error) => void): unknown;
  listenerCount?(event: "error"): number;
  /** It was ended, as `pg` says it, or PGlite: nothing is repeated. */
  readonly ending?: boolean;
  readonly closed?: boolean;
}

/** Where images are kept in place of the database, such as a bucket. */
export interface ImageStore {
  /** Keeps an image, durably, before it resolves; under a key that was used before it is the same image. */
  write(key: string, bytes: Uint8Array): Promise<unknown>;
  /** `undefined` where there is none. */
  read(key: string): Promise<Uint8Array | undefined>;
  /** Resolves also where there is none. */
  delete(key: string): Promise<unknown>;
}

/** Where the tables are. */
export interface PostgresSchemaOptions {
  /** The schema that has the tables, and nothing else. Default `"image_journal"`. */
  readonly schema?: string;
}

/** Where the tables are, and how long a statement may take. */
export interface PostgresStoreOptions extends PostgresSchemaOptions {
  /**
   * How long a statement may take, in milliseconds, with the wait for a connection and its repetitions
   * while the database restarts or cannot be reached. Default 30,000.
   */
  readonly timeoutMs?: number;
}

/** What a journal in PostgreSQL is given. */
export interface PostgresJournalOptions extends PostgresStoreOptions {
  /** Keeps the images elsewhere. Default: in rows, in pieces of at most 4 MiB. */
  readonly images?: ImageStore;
}

/** One step of the schema. */
export interface Migration {
  /** From 1 on. */
  readonly version: number;
  /** What it does, in a few words. */
  readonly name: string;
  /** Its statements, for a tool of your own: to be run in one transaction, once. */
  readonly sql: string;
}
