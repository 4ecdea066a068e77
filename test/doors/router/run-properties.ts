/** The properties of the router over many seeds: `npx tsx test/doors/router/run-properties.ts [runs] [seed]`. */
import { type Outcome, runScenario } from "./scenario";

const [runs = 10_000, first = Math.floor(Math.random() * 2 ** 31)] = process.argv
  .slice(2)
  .map(Number);
const startedAt = performance.now();
const total: Record<keyof Outcome, number> = {
  ...{ orders: 0, delivered: 0, purchases: 0, boughtAgain: 0, twice: 0, refusedByBudget: 0 },
};
for (let seed = first; seed < first + runs; seed += 1) {
  const outcome: Readonly<Record<string, number>> = { ...(await runScenario(seed)) };
  for (const [name, value] of Object.entries(outcome)) {
    if (name in total) total[name as keyof Outcome] += value;
  }
}
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
console.log(`${runs} runs from seed ${first} in ${seconds} s:`, total);
