import { createPostgresJournal, migrate } from "gpt-image-client/postgres";
import { afterAll, beforeAll } from "vitest";
import { journalContract } from "../journal/contract";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

describeWithPostgres("the journal's contract", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  journalContract("PostgreSQL", async () => {
    const database = await server.createDatabase();
    const pool = server.pool(database);
    await migrate(pool);
    // The other one is as on another machine: nothing is shared but the database.
    const others = server.pool(database);
    return {
      journal: createPostgresJournal(pool),
      reopen: () => createPostgresJournal(others),
      end: () => Promise.all([pool.end(), others.end()]),
    };
  });
});
