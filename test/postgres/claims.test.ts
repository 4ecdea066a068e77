import { migrate } from "gpt-image-client/postgres";
import { expect, test } from "vitest";
import { claimPoints, faultsOf, killAtClaims, linesOf } from "../doors/router/claims";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

describeWithPostgres("routers over one database", () => {
  test("one that is killed at any write under its key is followed, and nothing is bought twice", async () => {
    await using server = await PostgresServer.start();
    const database = await server.createDatabase();
    await migrate(server.pool(database));
    const rows = await killAtClaims({ url: server.url(database) });
    console.log(linesOf(rows));
    expect(rows).toHaveLength(claimPoints.length);
    expect(faultsOf(rows)).toEqual([]);
  }, 240_000);
});
