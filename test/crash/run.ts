/** `npm run test:crash [kills per provider] [seed]`: the long form of the kill harness. */
import { crash, faultsOf, tableOf } from "./harness";
import { pointsOf } from "./plan";

const [kills = "80", seed = String(Date.now() % 100_000)] = process.argv.slice(2);
let wrong = 0;
for (const faults of [false, true]) {
  const startedAt = performance.now();
  const rows = await crash({ kills: Number(kills), seed: Number(seed), faults });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  const besides = faults ? "kills, resets, 5xx, slow answers and a full disk" : "kills";
  console.log(`\n${besides} (seed ${seed}, ${seconds} s)\n\n${tableOf(rows)}\n`);
  for (const { provider, points } of rows) {
    const missed = pointsOf(provider).filter((point) => !points.has(point));
    const named = [...points.values()].reduce((sum, count) => sum + count, 0);
    const rest = missed.length === 0 ? "" : `; never at ${missed.join(", ")}`;
    console.log(`${provider}: ${named} kills at ${points.size} named points${rest}`);
  }
  for (const fault of faultsOf(rows)) {
    console.error(fault);
    wrong += 1;
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
