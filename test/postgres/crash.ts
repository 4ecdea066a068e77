/**
 * `npm run test:crash:postgres [kills per provider] [seed]`: workers of two machines over one database, all
 * of which are killed again and again.
 */
import { crash, faultsOf, pointLinesOf, tableOf } from "../crash/harness";
import { PostgresServer } from "./support/server";

const [kills = "60", seed = String(Date.now() % 100_000)] = process.argv.slice(2);
await using server = await PostgresServer.start();
let wrong = 0;
for (const faults of [false, true]) {
  const startedAt = performance.now();
  let crashes = 0;
  const rows = await crash({
    ...{ kills: Number(kills), seed: Number(seed), faults },
    postgres: {
      url: server.url(await server.createDatabase()),
      async crash() {
        crashes += 1;
        await server.stop("immediate");
        await server.restart();
      },
    },
  });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  const besides = faults ? "kills, resets, 5xx and slow answers" : "kills";
  const head = `${besides}; the database killed ${crashes} times`;
  console.log(`\n${head} (seed ${seed}, ${seconds} s)\n\n${tableOf(rows)}\n`);
  for (const line of pointLinesOf(rows, "postgres")) console.log(line);
  for (const fault of faultsOf(rows)) {
    console.error(fault);
    wrong += 1;
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
