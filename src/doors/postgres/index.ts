/**
 * A journal, a ledger and a gateway's store in PostgreSQL, for machines that share no disk.
 *
 * @module gpt-image-client/postgres
 */
export {
  createPostgresGatewayStore,
  type PostgresGatewayOptions,
  type PostgresGatewayStore,
} from "./gateway-store";
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
