import { PGlite } from "@electric-sql/pglite";
import { createPostgresLedgerStore, migrate } from "gpt-image-client/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entry, ledgerContract, limit } from "./router/ledger-contract";

// On a bare machine; what needs a real server is `npm run test:postgres`.

let database: PGlite;
let schemas = 0;

beforeAll(async () => {
  database = await PGlite.create();
}, 180_000);

afterAll(() => database.close());

async function newSchema(): Promise<string> {
  schemas += 1;
  const schema = `ledger_${schemas}`;
  await migrate(database, { schema });
  return schema;
}

ledgerContract("PostgreSQL, on PGlite", async () => {
  const schema = await newSchema();
  return {
    open: () => createPostgresLedgerStore(database, { schema }),
    end: () => database.exec(`DROP SCHEMA ${schema} CASCADE`),
  };
});

test("what is no pool, no schema and no time is refused, and an option that there is not", () => {
  // As JavaScript may give it.
  const create = (...given: unknown[]) =>
    Reflect.apply(createPostgresLedgerStore, undefined, given);
  expect(() => create({})).toThrow(/npm install pg/);
  expect(() => create(database, { schema: "Mine" })).toThrow(/schema/);
  expect(() => create(database, { timeoutMs: 0 })).toThrow(/timeoutMs/);
  expect(() => create(database, { images: {} })).toThrow(/images/);
});

test("a database without the tables says what makes them", async () => {
  const store = createPostgresLedgerStore(database, { schema: "nowhere" });
  await expect(store.append(entry("1"))).rejects.toThrow(/migrate\(pool\)/);
});

test("an entry that is appended again is one, and takes no room twice", async () => {
  const schema = await newSchema();
  const store = createPostgresLedgerStore(database, { schema });
  for (let times = 0; times < 3; times += 1) {
    expect(await store.append(entry("1"), [limit(0.1)])).toBeUndefined();
  }
  expect(await store.sums(limit(0))).toMatchObject({ reserved: 0.1 });
});

test("sums of hours long past go, and are made again where they are asked for", async () => {
  const schema = await newSchema();
  const store = createPostgresLedgerStore(database, { schema });
  const past = { from: "2020-01-01T00:00:00.000Z", to: "2020-01-01T01:00:00.000Z" };
  const old = entry("1", { at: "2020-01-01T00:30:00.000Z" });
  await store.append(old, [limit(0.15, past)]);
  await store.sums(limit(0));
  const { rows } = await database.query(`SELECT to_at FROM ${schema}.ledger_sums`);
  expect(rows).toEqual([{ to_at: null }]);
  expect(await store.append({ ...old, id: "2" }, [limit(0.15, past)])).toEqual({
    ...{ limit: 0, used: 0.1 },
  });
});
