import { afterEach, beforeEach, expect, test } from "vitest";
import { memoryJournal } from "../../src/journal/journal";
import { prompt, type Stage, startStage } from "../support/stage";

let stage: Stage;
beforeEach(async () => {
  stage = await startStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

test("of two accounts that share a journal, the one whose job it is holds it", async () => {
  const journal = memoryJournal();
  const [a, b] = ["a", "b"].map((account) => stage.client("trinetra", { journal, account }));
  const job = await a?.submit({ prompt });
  expect(await a?.holds(job)).toBe(true);
  expect(await a?.holds(JSON.stringify(job))).toBe(true);
  expect(await b?.holds(job)).toBe(false);
  expect(stage.count("poll")).toBe(0);
});

test("a client holds nothing without a journal, and nothing that was released", async () => {
  const journal = memoryJournal();
  const [kept, plain] = [stage.client("trinetra", { journal }), stage.client("trinetra")];
  const job = await kept.submit({ prompt });
  expect([kept.capabilities.keepsJournal, plain.capabilities.keepsJournal]).toEqual([true, false]);
  expect(await plain.holds(job)).toBe(false);
  await job.release();
  expect(await kept.holds(job)).toBe(false);
});

test("the reference of another provider is refused", async () => {
  const job = await stage.client("shortapi").submit({ prompt });
  const other = stage.client("trinetra", { journal: memoryJournal() });
  await expect(other.holds(job)).rejects.toMatchObject({ field: "reference.provider" });
});
