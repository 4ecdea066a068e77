import { Database, UncertainError } from "./database";
import { gatewayTables } from "./gateway-schema";
import { journalTables } from "./journal-schema";
import { ledgerTables } from "./ledger-schema";
import type { Migration, PostgresPool, PostgresSchemaOptions, PostgresStoreOptions } from "./types";

/** The version of the schema that this package works with. */
export const newestVersion = 3;

const defaultTimeoutMs = 30_000;

/** An unquoted name of PostgreSQL's, so that it can stand in a statement as it is. */
const schemaName = /^[a-z_][a-z\d_]{0,62}$/;

/** How long a migration may wait for those of other workers, in milliseconds. */
const migrationTimeoutMs = 120_000;

/** @throws {TypeError} for a name that would have to be quoted. */
export function schemaOf({ schema = "image_journal" }: PostgresSchemaOptions): string {
  if (typeof schema === "string" && schemaName.test(schema)) return schema;
  throw new TypeError(
    `A schema is named by small letters, digits and underscores, and not ${JSON.stringify(schema)}`,
  );
}

/** @throws {TypeError} for what is no time. */
export function timeoutOf({ timeoutMs = defaultTimeoutMs }: PostgresStoreOptions): number {
  if (typeof timeoutMs === "number" && timeoutMs > 0 && timeoutMs < 2 ** 31) return timeoutMs;
  throw new TypeError("timeoutMs is in milliseconds, and more than 0");
}

/** The steps that make the schema, first to last: to print, or for a tool of your own. */
export function migrations(options: PostgresSchemaOptions = {}): readonly Migration[] {
  checkNames(options, ["schema"]);
  const schema = schemaOf(options);
  return stepsOf(schema).map((step) =>
    step.version === 1
      ? { ...step, sql: `CREATE SCHEMA IF NOT EXISTS ${schema};\n${step.sql}` }
      : step,
  );
}

function stepsOf(schema: string): readonly Migration[] {
  const steps = [
    { name: "records and images", sql: journalTables(schema) },
    { name: "a ledger", sql: ledgerTables(schema) },
    { name: "orders of a gateway", sql: gatewayTables(schema) },
  ];
  return steps.map(({ name, sql }, index) => {
    const version = index + 1;
    const noted = `INSERT INTO ${schema}.migrations (version) VALUES (${version});`;
    return { version, name, sql: `${sql}\n\n${noted}` };
  });
}

/**
 * Brings the schema to this package's version, each step whole or not at all. Any number of workers may
 * start with it at once: one does the work, and the others wait for it. A database that cannot be
 * reached is tried for 120 s.
 *
 * @throws {Error} if the database cannot be reached, or a newer version of this package has been at the
 * schema.
 * @throws {TypeError} for a `pool` without `query`, a schema that would have to be quoted, or an option
 * that there is not.
 *
 * @example
 * ```ts
 * const pool = new Pool();
 * await migrate(pool);
 * ```
 */
export async function migrate(
  pool: PostgresPool,
  options: PostgresSchemaOptions = {},
): Promise<void> {
  checkNames(options, ["schema"]);
  const schema = schemaOf(options);
  const database = new Database(poolOf(pool), schema, migrationTimeoutMs);
  const version = await versionOf(database, schema).catch((error: unknown) => {
    throw unreached(error);
  });
  if (version > newestVersion) throw newerSchema(schema, version);
  if (version === newestVersion) return;
  try {
    await database.run(blockOf(schema));
  } catch (error) {
    // Where transactions are serializable by default, one that waited does not see what was done meanwhile.
    if ((await versionOf(database, schema)) !== newestVersion) throw error;
  }
}

/** @throws {TypeError} for an option that there is not: a misspelt schema would be another journal. */
export function checkNames(options: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || names.includes(name)) continue;
    throw new TypeError(`There is no \`${name}\`: there are ${names.join(", ")}`);
  }
}

/** @throws {TypeError} naming what to install. */
export function poolOf(pool: PostgresPool): PostgresPool {
  if (typeof pool?.query !== "function") {
    throw new TypeError(
      "The first argument is a Pool of pg (npm install pg), or another object with its query(text, values)",
    );
  }
  // Without a listener the process would end with a restart of the database, and its jobs with it. The
  // connection is out of the pool by then, and a statement on one has its own error.
  if (pool.listenerCount?.("error") === 0) pool.on?.("error", warnOfConnection);
  return pool;
}

function warnOfConnection({ message }: Error): void {
  process.emitWarning(`A connection to the database of the journal broke while idle: ${message}`);
}

/** What has only read says nothing of what was written. */
function unreached(error: unknown): unknown {
  const cause = error instanceof UncertainError ? error.cause : undefined;
  if (!(cause instanceof Error)) return error;
  // The error of a host with several addresses has a code, and no message.
  const reason = cause.message || ("code" in cause ? String(cause.code) : cause.name);
  return new Error(`The database could not be reached (${reason}). Is it running?`, { cause });
}

export function newerSchema(schema: string, version: number): Error {
  const fault = `The schema "${schema}" is at version ${version}, and this package knows ${newestVersion}`;
  return new Error(`${fault}: update gpt-image-client before this worker starts`);
}

async function versionOf(database: Database, schema: string): Promise<number> {
  const name = `${schema}.migrations`;
  const [row] = await database.run("SELECT to_regclass($1) IS NOT NULL AS there", [name]);
  if (row?.there !== true) return 0;
  const [newest] = await database.run(`SELECT max(version) AS version FROM ${name}`);
  return Number(newest?.version ?? 0);
}

/**
 * All of it as one statement: over a pool, nothing says that a second one would reach the same session.
 * The lock ends with its transaction.
 */
function blockOf(schema: string): string {
  const steps = stepsOf(schema).map(
    ({ version, sql }) => `IF reached < ${version} THEN\n${sql}\nEND IF;`,
  );
  return `DO $migrate$
DECLARE reached integer := 0;
BEGIN
-- Even with IF NOT EXISTS, CREATE SCHEMA needs a right that an application often has not.
PERFORM pg_advisory_xact_lock(hashtextextended('gpt-image-client ${schema}', 0));
IF to_regnamespace('${schema}') IS NULL THEN CREATE SCHEMA ${schema}; END IF;
IF to_regclass('${schema}.migrations') IS NOT NULL THEN
  SELECT coalesce(max(version), 0) INTO reached FROM ${schema}.migrations;
END IF;
${steps.join("\n")}
END
$migrate$`;
}
