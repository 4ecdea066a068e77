import { createPostgresLedgerStore, migrate } from "gpt-image-client/postgres";
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entry, ledgerContract, limit } from "../doors/router/ledger-contract";
import { linesOf, orderAtOnce } from "./ledger-orders";
import { describeWithPostgres } from "./support/describe";
import { type Fate, TearingProxy } from "./support/proxy";
import { PostgresServer } from "./support/server";

describeWithPostgres("the ledger", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  ledgerContract("PostgreSQL", async () => {
    const database = await server.createDatabase();
    const pools: Pool[] = [];
    await migrate(server.pool(database));
    return {
      // Each as on another machine: nothing is shared but the database.
      open() {
        const pool = server.pool(database);
        pools.push(pool);
        return createPostgresLedgerStore(pool);
      },
      end: () => Promise.all(pools.map((pool) => pool.end())),
    };
  });

  test("eight processes at once never reserve more than any budget has", async () => {
    const report = await orderAtOnce(server, { orders: 8 * 250 });
    console.log(linesOf(report));
    const over = report.highest.filter(({ budget, seen }) => seen > budget.amount);
    expect(over).toEqual([]);
    // All but what costs more than is left of it.
    const used = report.highest.filter(({ budget, seen }) => seen > budget.amount * 0.9);
    expect(used.length).toBeGreaterThanOrEqual(5);
    expect(report.granted + report.refused).toBe(2_000);
    expect(report.refused).toBeGreaterThan(100);
  }, 240_000);

  test("scopes that are asked for the first time by many at once count what is let in meanwhile", async () => {
    const database = await server.createDatabase();
    const pools = Array.from({ length: 8 }, () => server.pool(database, { max: 2 }));
    const [first] = pools;
    if (first === undefined) throw new Error("no pool");
    await migrate(first);
    for (let round = 0; round < 10; round += 1) {
      const tags = { round: `${round}` };
      const ends = await Promise.all(
        pools.flatMap((pool, index) => {
          const store = createPostgresLedgerStore(pool);
          const order = (id: string, amount?: number) =>
            store.append(
              entry(`${round}-${index}-${id}`, { tags }),
              amount === undefined ? [] : [limit(amount, { tags })],
            );
          return [order("free"), order("held", 1)];
        }),
      );
      const store = createPostgresLedgerStore(first);
      const { reserved } = await store.sums(limit(0, { tags }));
      const granted = ends.filter((end) => end === undefined).length;
      expect(reserved).toBeCloseTo(granted * 0.1, 9);
    }
  });

  test("holds where transactions are serializable", async () => {
    const database = await server.createDatabase();
    const set = `ALTER DATABASE ${database} SET default_transaction_isolation = 'serializable'`;
    await server.sql(set, database);
    const pool = server.pool(database, { max: 6 });
    await migrate(pool);
    const store = createPostgresLedgerStore(pool);
    const works = Array.from({ length: 24 }, (_, index) =>
      store.append(entry(`${index}`), [limit(1)]),
    );
    const ends = await Promise.all(works);
    expect(ends.filter((end) => end === undefined)).toHaveLength(10);
  });

  test("refuses transactions that would not see what others have reserved", async () => {
    const database = await server.createDatabase();
    const set = `ALTER DATABASE ${database} SET default_transaction_isolation = 'repeatable read'`;
    await server.sql(set, database);
    const pool = server.pool(database);
    await migrate(pool);
    const store = createPostgresLedgerStore(pool);
    await expect(store.append(entry("1"))).rejects.toThrow(/READ COMMITTED/);
  });

  describe("whose connection is torn", () => {
    const fates: Fate[] = ["before", "half", "after"];

    async function torn() {
      const proxy = await TearingProxy.start(server.port);
      const database = await server.createDatabase();
      const pool = server.pool(database, { port: proxy.port, max: 4 });
      await migrate(pool);
      return { proxy, pool, direct: createPostgresLedgerStore(server.pool(database)) };
    }

    test.each(fates)("%s the server has a reservation, it is made once", async (fate) => {
      const { proxy, pool, direct } = await torn();
      await using _ = proxy;
      const store = createPostgresLedgerStore(pool);
      proxy.tearAt("ledger_reserve", fate);
      // There is room for one: the repetition must know its own.
      expect(await store.append(entry("1"), [limit(0.1)])).toBeUndefined();
      expect(await store.append(entry("2"), [limit(0.1)])).toEqual({ limit: 0, used: 0.1 });
      expect(await direct.sums(limit(0))).toMatchObject({ reserved: 0.1 });
      await pool.end();
    });

    test.each(fates)("%s the server has a change, it is made once", async (fate) => {
      const { proxy, pool, direct } = await torn();
      await using _ = proxy;
      const store = createPostgresLedgerStore(pool);
      await store.append(entry("1"), [limit(1)]);
      proxy.tearAt("ledger_change", fate);
      await store.update("1", { state: "charged", counted: { amount: 0.3, unit: "USD" } });
      expect(await direct.sums(limit(0))).toEqual({ charged: 0.3, reserved: 0, unknown: 0 });
      await pool.end();
    });

    test("for longer than it may last, a reservation that was made is an error, and is given back", async () => {
      const { proxy, pool, direct } = await torn();
      await using _ = proxy;
      const store = createPostgresLedgerStore(pool, { timeoutMs: 400 });
      proxy.tearAt("ledger_reserve", "after", Number.POSITIVE_INFINITY);
      await expect(store.append(entry("1"), [limit(0.1)])).rejects.toMatchObject({
        name: "UncertainError",
      });
      expect(await direct.read("1")).toMatchObject({ state: "reserved" });
      proxy.fateOf = () => "through";
      // Whoever comes first finds it taken, and has it given back, or comes after that.
      const second = await store.append(entry("2"), [limit(0.1)]);
      await expect
        .poll(() => direct.read("1"), { timeout: 20_000 })
        .toMatchObject({
          state: "refunded",
        });
      const third = await store.append(entry("3"), [limit(0.1)]);
      expect([second, third].filter((refused) => refused === undefined)).toHaveLength(1);
      await pool.end();
    });
  });
});
