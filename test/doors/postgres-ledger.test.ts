import { createPostgresLedgerStore } from "gpt-image-client/postgres";
import { expect, test } from "vitest";
import { usePGlite } from "../support/pglite";
import { entry, ledgerContract, limit } from "./router/ledger-contract";

const pglite = usePGlite();

ledgerContract("PostgreSQL, on PGlite", async () => {
  const { schema, drop: end } = await pglite.newSchema();
  return {
    open: () => createPostgresLedgerStore(pglite.database, { schema }),
    end,
  };
});

test("what is no pool, no schema and no time is refused, and an option that there is not", () => {
  // As JavaScript may give it.
  const create = (...given: unknown[]) =>
    Reflect.apply(createPostgresLedgerStore, undefined, given);
  expect(() => create({})).toThrow(/npm install pg/);
  expect(() => create(pglite.database, { schema: "Mine" })).toThrow(/schema/);
  expect(() => create(pglite.database, { timeoutMs: 0 })).toThrow(/timeoutMs/);
  expect(() => create(pglite.database, { images: {} })).toThrow(/images/);
});

test("a database without the tables says what makes them", async () => {
  const store = createPostgresLedgerStore(pglite.database, { schema: "nowhere" });
  await expect(store.append(entry("1"))).rejects.toThrow(/migrate\(pool\)/);
});

test("an entry that is appended again is one, and takes no room twice", async () => {
  const { schema } = await pglite.newSchema();
  const store = createPostgresLedgerStore(pglite.database, { schema });
  for (let times = 0; times < 3; times += 1) {
    expect(await store.append(entry("1"), [limit(0.1)])).toBeUndefined();
  }
  expect(await store.sums(limit(0))).toMatchObject({ reserved: 0.1 });
});

test("sums of hours long past go, and are made again where they are asked for", async () => {
  const { schema } = await pglite.newSchema();
  const store = createPostgresLedgerStore(pglite.database, { schema });
  const past = { from: "2020-01-01T00:00:00.000Z", to: "2020-01-01T01:00:00.000Z" };
  const old = entry("1", { at: "2020-01-01T00:30:00.000Z" });
  await store.append(old, [limit(0.15, past)]);
  await store.sums(limit(0));
  const { rows } = await pglite.database.query(`SELECT to_at FROM ${schema}.ledger_sums`);
  expect(rows).toEqual([{ to_at: null }]);
  expect(await store.append({ ...old, id: "2" }, [limit(0.15, past)])).toEqual({
    ...{ limit: 0, used: 0.1 },
  });
});
