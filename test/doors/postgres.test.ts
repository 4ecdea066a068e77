import { PGlite } from "@electric-sql/pglite";
import { createPostgresJournal, type ImageStore, migrate } from "gpt-image-client/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { journalContract } from "../journal/contract";

// On a bare machine; what needs a real server is `npm run test:postgres`.

let database: PGlite;
let schemas = 0;

beforeAll(async () => {
  database = await PGlite.create();
}, 180_000);

afterAll(() => database.close());

async function setUp(images?: ImageStore) {
  schemas += 1;
  const schema = `journal_${schemas}`;
  await migrate(database, { schema });
  const open = () =>
    createPostgresJournal(database, { schema, ...(images !== undefined && { images }) });
  return {
    journal: open(),
    reopen: open,
    end: () => database.exec(`DROP SCHEMA ${schema} CASCADE`),
  };
}

journalContract("PostgreSQL, on PGlite", () => setUp());

/** A store as an app may have one. */
function mapStore() {
  const objects = new Map<string, Uint8Array>();
  const store: ImageStore = {
    write: async (key, bytes) => objects.set(key, Uint8Array.from(bytes)),
    read: async (key) => objects.get(key),
    delete: async (key) => objects.delete(key),
  };
  return { objects, store };
}

journalContract("PostgreSQL with a store, on PGlite", () => setUp(mapStore().store));

test("what is no pool, no schema, no time and no store is refused, and says what to install", () => {
  // As JavaScript may give it.
  const create = (...given: unknown[]) => Reflect.apply(createPostgresJournal, undefined, given);
  expect(() => create({})).toThrow(/npm install pg/);
  expect(() => create(undefined)).toThrow(TypeError);
  for (const schema of ["Mine", "a b", 'a"; DROP', "", 7]) {
    expect(() => create(database, { schema })).toThrow(/schema/);
  }
  for (const timeoutMs of [0, -1, Number.NaN, "1", Number.POSITIVE_INFINITY]) {
    expect(() => create(database, { timeoutMs })).toThrow(/timeoutMs/);
  }
  expect(() => create(database, { images: { write: () => {} } })).toThrow(/images/);
});
