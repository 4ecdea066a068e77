/**
 * `npm run test:crash:queue [kills] [orders] [seed] [engine]`: four workers that are killed, over databases
 * that are killed too, while a network cuts one of them off.
 */
import { crashQueue, faultsOf, tableOf } from "./harness";

const [kills = "200", orders = "500", seed = String(Date.now() % 100_000), only] =
  process.argv.slice(2);
let wrong = 0;
for (const engine of ["redis", "postgres"] as const) {
  if (only !== undefined && only !== engine) continue;
  const numbers = { kills: Number(kills), orders: Number(orders), seed: Number(seed) };
  const report = await crashQueue({ engine, ...numbers });
  console.log(`\nBullMQ on ${engine} (seed ${seed})\n${tableOf(report)}\n`);
  for (const fault of faultsOf(report)) {
    console.error(fault);
    wrong += 1;
  }
}
process.exit(wrong === 0 ? 0 : 1);
