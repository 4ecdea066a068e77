import { createPostgresJournal, type ImageStore } from "gpt-image-client/postgres";
import { expect, test } from "vitest";
import { journalContract } from "../journal/contract";
import { usePGlite } from "../support/pglite";

const pglite = usePGlite();

async function setUp(images?: ImageStore) {
  const { schema, drop: end } = await pglite.newSchema();
  const open = () =>
    createPostgresJournal(pglite.database, { schema, ...(images !== undefined && { images }) });
  return {
    journal: open(),
    reopen: open,
    end,
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
    expect(() => create(pglite.database, { schema })).toThrow(/schema/);
  }
  for (const timeoutMs of [0, -1, Number.NaN, "1", Number.POSITIVE_INFINITY]) {
    expect(() => create(pglite.database, { timeoutMs })).toThrow(/timeoutMs/);
  }
  expect(() => create(pglite.database, { images: { write: () => {} } })).toThrow(/images/);
});
