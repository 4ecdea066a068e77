import { createPostgresJournal, migrate, migrations } from "gpt-image-client/postgres";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordOf } from "../journal/contract";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

describeWithPostgres("migrations", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  /** What the schema is made of: its columns, indexes and versions. */
  async function madeIn(database: string): Promise<unknown> {
    const columns = `SELECT table_name, column_name, data_type, is_nullable, collation_name
      FROM information_schema.columns WHERE table_schema = 'image_journal' ORDER BY 1, 2`;
    const indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'image_journal' ORDER BY 1";
    return [
      await server.sql(columns, database),
      await server.sql(indexes, database),
      await server.sql("SELECT version FROM image_journal.migrations", database),
      await server.sql("SELECT count(*) FROM image_journal.journal", database),
    ];
  }

  test.each(["read committed", "repeatable read", "serializable"])(
    "ten workers that start at once make it once, where transactions are %s",
    async (isolation) => {
      const database = await server.createDatabase();
      await server.sql(
        `ALTER DATABASE ${database} SET default_transaction_isolation = '${isolation}'`,
        database,
      );
      const pools = Array.from({ length: 10 }, () => server.pool(database, { max: 1 }));
      await Promise.all(pools.map((pool) => migrate(pool)));
      const journals = pools.map((pool) => createPostgresJournal(pool));
      const created = await Promise.all(
        journals.map(async (journal) => {
          await journal.check();
          return journal.create(recordOf("job.0"));
        }),
      );
      expect(created.filter(Boolean)).toHaveLength(1);
      expect(await madeIn(database)).toMatchObject([
        {},
        {},
        [{ version: 1 }, { version: 2 }, { version: 3 }],
        [{ count: "1" }],
      ]);
      await Promise.all(pools.map((pool) => pool.end()));
    },
  );

  test("it can be made again at every start, and changes nothing", async () => {
    const database = await server.createDatabase();
    const pool = server.pool(database);
    await migrate(pool);
    await createPostgresJournal(pool).create(recordOf("job.0"));
    const before = await madeIn(database);
    await migrate(pool);
    expect(await madeIn(database)).toEqual(before);
    expect(await createPostgresJournal(pool).read("job.0")).toEqual(recordOf("job.0"));
  });

  test("a schema that a newer version has made is refused before anything is sent", async () => {
    const database = await server.createDatabase();
    const pool = server.pool(database);
    await migrate(pool);
    await pool.query("INSERT INTO image_journal.migrations (version) VALUES (7)");
    await expect(migrate(pool)).rejects.toThrow(/at version 7, and this package knows 3: update/);
    await expect(createPostgresJournal(pool).check()).rejects.toThrow(/at version 7/);
  });

  test("what is printed, run by another tool, makes the same", async () => {
    const [ours, theirs] = [await server.createDatabase(), await server.createDatabase()];
    await migrate(server.pool(ours));
    for (const { sql } of migrations()) await server.sql(`BEGIN; ${sql} COMMIT;`, theirs);
    expect(await madeIn(theirs)).toEqual(await madeIn(ours));
    const pool = server.pool(theirs);
    await migrate(pool);
    await createPostgresJournal(pool).check();
    expect(migrations().map(({ version }) => version)).toEqual([1, 2, 3]);
  });

  test("two schemas in one database are two journals", async () => {
    const pool = server.pool(await server.createDatabase());
    for (const schema of ["first", "second"]) await migrate(pool, { schema });
    const [first, second] = ["first", "second"].map((schema) =>
      createPostgresJournal(pool, { schema }),
    );
    expect(await first?.create(recordOf("job.0"))).toBe(true);
    expect(await second?.create(recordOf("job.0"))).toBe(true);
  });

  test("a role that may make no schema can use the one that it was given", async () => {
    const database = await server.createDatabase();
    await server.sql(
      "CREATE ROLE app LOGIN; CREATE SCHEMA image_journal AUTHORIZATION app",
      database,
    );
    const pool = server.pool(database, { user: "app" });
    await migrate(pool);
    const journal = createPostgresJournal(pool);
    await journal.check();
    expect(await journal.create(recordOf("job.0"))).toBe(true);
    await server.sql("CREATE ROLE reader LOGIN", database);
    const denied = createPostgresJournal(server.pool(database, { user: "reader" }));
    await expect(denied.check()).rejects.toThrow(/permission denied/);
  });

  test("a migration that is killed half-way has made nothing, and the next one makes it whole", async () => {
    const database = await server.createDatabase();
    const blocker = new Client({ connectionString: server.url(database) });
    await blocker.connect();
    // Under the name of a table to be: whoever creates that one waits for this transaction.
    await blocker.query("CREATE SCHEMA image_journal");
    await blocker.query("BEGIN");
    await blocker.query("CREATE TABLE image_journal.image_pieces ()");
    const pool = server.pool(database, { max: 1 });
    const migrating = migrate(pool);
    const waiting =
      "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO $migrate$%' AND wait_event_type = 'Lock'";
    await expect.poll(() => server.sql(waiting, database), { timeout: 20_000 }).toHaveLength(1);
    expect(
      await server.sql("SELECT to_regclass('image_journal.records') AS made", database),
    ).toEqual([{ made: null }]);
    await server.sql(`SELECT pg_terminate_backend(pid) FROM (${waiting}) AS those`, database);
    await blocker.query("ROLLBACK");
    await blocker.end();
    await migrating;
    await createPostgresJournal(pool).check();
  });
});
