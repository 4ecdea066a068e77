/**
 * A journal and a ledger in PostgreSQL, for machines that share no disk.
 *
 * @module gpt-image-client/postgres
 */
export { createPostgresJournal } from "./journal";
export { createPostgresLedgerStore } from "./ledger";
export { migrate, migrations } from "./migrations";
export type {
  ImageStore,
  Migration,
  PostgresJournalOptions,
  PostgresPool,
  PostgresSchemaOptions,
  PostgresStoreOptions,
} from "./types";
