import { expect, test } from "vitest";
import { crash, faultsOf, tableOf } from "../crash/harness";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

// The short form; `npm run test:crash:postgres` is the long one.

describeWithPostgres("workers that are killed", () => {
  test("two machines over one database, which is killed too, lose nothing and pay nothing twice", async () => {
    await using server = await PostgresServer.start();
    let crashes = 0;
    const rows = await crash({
      ...{ kills: 4, seed: 11 },
      postgres: {
        url: server.url(await server.createDatabase()),
        async crash() {
          crashes += 1;
          await server.stop("immediate");
          await server.restart();
        },
      },
    });
    console.log(`the database was killed ${crashes} times\n${tableOf(rows)}`);
    expect(faultsOf(rows)).toEqual([]);
    expect(crashes).toBeGreaterThan(0);
    expect(rows.reduce((sum, { onDisk }) => sum + onDisk, 0)).toBeGreaterThan(0);
  }, 240_000);

  test("the harness finds out about a journal in a database that keeps no markers", async () => {
    await using server = await PostgresServer.start();
    const rows = await crash({
      ...{ kills: 5, seed: 12, mutation: "no-marker", providers: ["shortapi", "trinetra"] },
      postgres: { url: server.url(await server.createDatabase()) },
    });
    expect(rows.reduce((sum, { lost, double }) => sum + lost + double, 0)).toBeGreaterThan(0);
  }, 240_000);
});
