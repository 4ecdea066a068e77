import type { PostgresPool } from "./types";

/** Every journal over one pool and schema is in the same database: the one that was there at first. */
const identities = new WeakMap<PostgresPool, Map<string, string>>();

/** Which database the journal of a schema is in: another one knows nothing of what was paid for. */
export class JournalIdentity {
  readonly #pool: PostgresPool;
  readonly #schema: string;

  constructor(pool: PostgresPool, schema: string) {
    this.#pool = pool;
    this.#schema = schema;
  }

  /** As it was met first; `undefined` before that. */
  get known(): string | undefined {
    return identities.get(this.#pool)?.get(this.#schema);
  }

  /** @throws {Error} if this is another database than the journal was in before. */
  recognize(identity: unknown): void {
    const known = identities.get(this.#pool) ?? new Map<string, string>();
    identities.set(this.#pool, known);
    const before = known.get(this.#schema);
    if (typeof identity !== "string") throw strangeDatabase(this.#schema);
    if (before === undefined) known.set(this.#schema, identity);
    else if (before !== identity) throw strangeDatabase(this.#schema);
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
