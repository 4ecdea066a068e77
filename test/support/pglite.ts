import { PGlite } from "@electric-sql/pglite";
import { migrate } from "gpt-image-client/postgres";
import { afterAll, beforeAll } from "vitest";

/** A schema with our tables, and its end. */
export interface TestSchema {
  readonly schema: string;
  drop(): Promise<unknown>;
}

/**
 * A database for the tests of a file, which takes its time to start on a busy machine. For a bare one; what
 * needs a real server is `npm run test:postgres`.
 */
export function usePGlite() {
  let database: PGlite;
  let schemas = 0;
  beforeAll(async () => {
    database = await PGlite.create();
  }, 180_000);
  afterAll(() => database.close());
  return {
    get database(): PGlite {
      return database;
    },
    async newSchema(): Promise<TestSchema> {
      schemas += 1;
      const schema = `schema_${schemas}`;
      await migrate(database, { schema });
      return { schema, drop: () => database.exec(`DROP SCHEMA ${schema} CASCADE`) };
    },
  };
}
