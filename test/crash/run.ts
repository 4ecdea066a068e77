/** `npm run test:crash [kills per provider] [seed]`: the long form of the kill harness. */
import { crash, faultsOf, pointLinesOf, tableOf } from "./harness";

const [kills = "80", seed = String(Date.now() % 100_000)] = process.argv.slice(2);
let wrong = 0;
for (const faults of [false, true]) {
  const startedAt = performance.now();
  const rows = await crash({ kills: Number(kills), seed: Number(seed), faults });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  const besides = faults ? "kills, resets, 5xx, slow answers and a full disk" : "kills";
  console.log(`\n${besides} (seed ${seed}, ${seconds} s)\n\n${tableOf(rows)}\n`);
  for (const line of pointLinesOf(rows)) console.log(line);
  for (const fault of faultsOf(rows)) {
    console.error(fault);
    wrong += 1;
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
