/**
 * A journal in PostgreSQL, for machines that share no disk.
 *
 * @module gpt-image-client/postgres
 */
export { createPostgresJournal } from "./journal";
export { migrate, migrations } from "./migrations";
export type {
  ImageStore,
  Migration,
  PostgresJournalOptions,
  PostgresPool,
  PostgresSchemaOptions,
} from "./types";
