import { expect, test } from "vitest";
import { type Outcome, runScenario } from "./scenario";

const runs = 500;

test("purchases, ends, pauses and budgets hold whatever happens in whichever order", async () => {
  // The same seeds each time: a commit that passes today must pass tomorrow. `npm run test:router` draws new ones.
  const outcomes: Outcome[] = [];
  for (let seed = 1; seed <= runs; seed += 1) outcomes.push(await runScenario(seed));
  const sum = (of: (outcome: Outcome) => number) =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  // So that the generator has not become one that nothing happens in.
  expect(sum(({ delivered }) => delivered)).toBeGreaterThan(runs);
  expect(sum(({ boughtAgain }) => boughtAgain)).toBeGreaterThan(0);
}, 60_000);

test("an order that was taken over and refused again is not bought beside the first, late in its time", async () => {
  // The seed that found it: its call took half a minute more than it had.
  expect((await runScenario(659_054_921)).delivered).toBeGreaterThan(0);
});

test("an order of unknown fate is not forgotten once its second purchase was refused", async () => {
  // The seed that found it: a call that had not asked for it bought a second time, and another a third.
  expect((await runScenario(2_018_747_682)).delivered).toBeGreaterThan(0);
});
