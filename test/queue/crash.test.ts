import { expect, test } from "vitest";
import { crashQueue, faultsOf, tableOf } from "./harness";
import { describeWithServers } from "./support/describe";

// The short form; `npm run test:crash:queue` is the long one.

describeWithServers("workers of a queue that are killed", () => {
  test.each(["redis", "postgres"] as const)(
    "on %s, with databases that are killed too, lose nothing and pay nothing twice",
    async (engine) => {
      const report = await crashQueue({ engine, kills: 20, orders: 60, seed: 11 });
      console.log(tableOf(report));
      expect(faultsOf(report)).toEqual([]);
      expect(report.kills).toBeGreaterThanOrEqual(20);
      expect(report.restarts).toBeGreaterThan(0);
      expect(report.rows.reduce((sum, { delivered }) => sum + delivered, 0)).toBeGreaterThan(30);
    },
    400_000,
  );

  test("the harness finds out about orders that leave without their keys", async () => {
    const numbers = { kills: 8, orders: 24, seed: 12 };
    const report = await crashQueue({ engine: "redis", ...numbers, mutation: "no-key" });
    expect(report.rows.reduce((sum, { lost, twice }) => sum + lost + twice, 0)).toBeGreaterThan(0);
  }, 400_000);
});
