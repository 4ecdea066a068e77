import type { Cost } from "gpt-image-client";
import { memoryLedger } from "gpt-image-client/router";
import { expect, test } from "vitest";
import type { LedgerEntry } from "../../../src/ledger/store";
import { type Fate, fates, ok, refusals } from "./model-client";
import { failureOf, listOf, prompt, refused, stage, typesOf } from "./stage";

const usd = (amount: number): Cost => ({ amount, unit: "USD", basis: "list" });
const reported = (amount: number): Cost => ({ amount, unit: "USD", basis: "reported" });
const costs = (cost: Cost): Fate => ({ kind: "ok", durationMs: 10_000, cost });
const day = (amount: number, tags?: Record<string, string>) =>
  ({ amount, unit: "USD", per: "day", ...(tags && { tags }) }) as const;

async function entriesOf(ledger: ReturnType<typeof memoryLedger>): Promise<LedgerEntry[]> {
  return listOf(ledger.entries());
}

test("whatever runs at once, no more is ordered than the budget has room for", async () => {
  const { clock, router, a } = stage({ a: { price: usd(0.1) } }, { budget: [day(1)] });
  const works = Array.from({ length: 50 }, () => router.generate({ prompt }));
  const ends = await clock.run(Promise.allSettled(works));
  expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
  expect(a.purchases).toHaveLength(10);
  const [status] = await router.budgets();
  expect(status).toMatchObject({ charged: 1, reserved: 0, unknown: 0, left: 0, overshoot: 0 });
});

test("`budget_exceeded` says what is left, and when more comes", async () => {
  const { clock, router, a } = stage({ a: { price: usd(0.06) } }, { budget: [day(0.1)] });
  await clock.run(router.generate({ prompt }));
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({
    ...{ code: "budget_exceeded", charged: "no", retryable: true },
    left: { amount: 0.04, unit: "USD" },
    renewsAt: new Date("2026-11-03T00:00:00.000Z"),
  });
  expect(error.retryAfterMs).toBe(Date.parse("2026-11-03") - clock.wallTime());
  expect(a.asked).toHaveLength(1);
  await clock.pass(error.retryAfterMs ?? 0);
  await clock.run(router.generate({ prompt }));
  expect(a.purchases).toHaveLength(2);
});

test("what is dearer than the whole budget never passes", async () => {
  const { clock, router } = stage({ a: { price: usd(2) } }, { budget: [day(1)] });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "budget_exceeded", retryable: false });
});

test("a cheaper client is asked where the first has no room", async () => {
  const models = { a: { price: usd(0.5) }, b: { price: usd(0.1) } };
  const { clock, router, events } = stage(models, { budget: [day(0.3)] });
  expect((await clock.run(router.generate({ prompt }))).provider).toBe("b");
  expect(typesOf(events)).toEqual(["skipped"]);
});

test("an unknown price is refused, unless one is assumed", async () => {
  const budget = [day(1)];
  const strict = stage({ a: {} }, { budget });
  const error = await strict.clock.run(failureOf(strict.router.generate({ prompt })));
  expect(error).toMatchObject({ code: "budget_exceeded", retryable: false });
  expect(error.message).toMatch(/assume/);
  const assuming = stage({ a: {} }, { budget, assume: { amount: 0.3, unit: "USD" } });
  await assuming.clock.run(assuming.router.generate({ prompt, n: 2 }));
  expect((await assuming.router.budgets())[0]?.charged).toBe(0.6);
});

test("units are held apart, or converted where rates are given", async () => {
  const price: Cost = { amount: 10, unit: "credits", basis: "list" };
  const apart = stage({ a: { price } }, { budget: [day(1)] });
  const error = await apart.clock.run(failureOf(apart.router.generate({ prompt })));
  expect(error.message).toMatch(/credits.*USD.*rates/);
  const own = { amount: 10, unit: "credits", per: "forever" } as const;
  const both = stage({ a: { price } }, { budget: [day(1), own] });
  await both.clock.run(both.router.generate({ prompt }));
  expect((await both.router.budgets()).map(({ charged }) => charged)).toEqual([0, 10]);
  const rates = { USD: 1, credits: 0.012 };
  const together = stage({ a: { price } }, { budget: [day(0.2)], rates });
  await together.clock.run(together.router.generate({ prompt }));
  expect((await together.router.budgets())[0]).toMatchObject({ charged: 0.12, left: 0.08 });
});

test("a budget of tags is about the calls that have them all", async () => {
  const budget = [day(0.1, { team: "web" }), day(0.3)];
  const { clock, router } = stage({ a: { price: usd(0.1) } }, { budget });
  const order = (tags: Record<string, string>) => router.generate({ prompt }, { tags });
  await clock.run(order({ team: "web", page: "home" }));
  expect(await clock.run(failureOf(order({ team: "web" })))).toMatchObject({
    code: "budget_exceeded",
    left: { amount: 0 },
  });
  await clock.run(order({ team: "print" }));
  await clock.run(order({}));
  await clock.run(failureOf(order({})));
});

test("what failed without a charge is given back, and what is unknown is held", async () => {
  const fate = fates(refused(refusals.moderated("a")), { kind: "lost", isTaken: true }, ok);
  const ledger = memoryLedger();
  const { clock, router } = stage({ a: { price: usd(0.1), fate } }, { budget: [day(1)], ledger });
  await clock.run(failureOf(router.generate({ prompt })));
  expect((await router.budgets())[0]).toMatchObject({ charged: 0, left: 1 });
  await clock.run(failureOf(router.generate({ prompt })));
  expect((await router.budgets())[0]).toMatchObject({ unknown: 0.1, left: 0.9 });
  const [, lost] = await entriesOf(ledger);
  await ledger.settle(lost?.id ?? "", { charged: "no" });
  expect((await router.budgets())[0]).toMatchObject({ unknown: 0, left: 1 });
  await expect(ledger.settle(lost?.id ?? "", { charged: "no" })).rejects.toThrow(/refunded/);
});

test("the larger of what is reported and what is listed counts, unless reports are trusted", async () => {
  const spentAt = async (listed: number, told: number, trustReported: boolean) => {
    const models = { a: { price: usd(listed), fate: () => costs(reported(told)) } };
    const { clock, router } = stage(models, { budget: [day(1)], trustReported });
    await clock.run(router.generate({ prompt }));
    return (await router.budgets())[0]?.charged;
  };
  expect(await spentAt(0.06, 0.02, false)).toBe(0.06);
  expect(await spentAt(0.06, 0.02, true)).toBe(0.02);
  expect(await spentAt(0.06, 0.09, false)).toBe(0.09);
});

test("a margin is held until the cost is known, and an overshoot is told", async () => {
  const models = { a: { price: usd(0.1), fate: () => costs(reported(0.5)) } };
  const { clock, router, events } = stage(models, { budget: [day(0.3)], margin: 1.5 });
  const works = Promise.allSettled([1, 2, 3].map(() => router.generate({ prompt })));
  await clock.pass(100);
  expect((await router.budgets())[0]).toMatchObject({ reserved: 0.3, left: 0 });
  const ends = await clock.run(works);
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  expect((await router.budgets())[0]).toMatchObject({ charged: 1, left: 0, overshoot: 0.7 });
  const told = events.filter(({ type }) => type === "overshoot");
  expect(told.map((event) => "by" in event && event.by)).toEqual([0.35, 0.7]);
});

test("a job that was submitted is settled when somebody hears its end", async () => {
  const ledger = memoryLedger();
  const { clock, router } = stage({ a: { price: usd(0.1) } }, { budget: [day(1)], ledger });
  await clock.run(router.submit({ prompt }));
  expect((await entriesOf(ledger))[0]).toMatchObject({ state: "reserved", job: "a-1" });
  await clock.pass(20_000);
  expect((await entriesOf(ledger))[0]).toMatchObject({ state: "charged" });
});

test("an order that outlived its time-out is settled by whoever takes its job up again", async () => {
  const ledger = memoryLedger();
  const models = { a: { price: usd(0.1), fate: () => costs(reported(0.2)) } };
  const { clock, router, another } = stage(models, { budget: [day(1)], ledger });
  const error = await clock.run(failureOf(router.generate({ prompt }, { timeoutMs: 5_000 })));
  expect((await entriesOf(ledger))[0]).toMatchObject({ state: "unknown", job: "a-1" });
  await clock.run(another().resume(error.job?.reference).result());
  expect((await entriesOf(ledger))[0]).toMatchObject({
    ...{ state: "charged", counted: { amount: 0.2, unit: "USD" }, reported: { amount: 0.2 } },
  });
});

test("an aborted call keeps its reservation where its create may have left", async () => {
  const ledger = memoryLedger();
  const { clock, router } = stage({ a: { price: usd(0.1) } }, { budget: [day(1)], ledger });
  const controller = new AbortController();
  clock.after(5_000, () => controller.abort("gone"));
  await clock.run(router.generate({ prompt }, { signal: controller.signal }).catch(() => {}));
  expect((await entriesOf(ledger))[0]).toMatchObject({ state: "unknown" });
});

test("a second purchase is reserved beside the first", async () => {
  const ledger = memoryLedger();
  const models = {
    a: { price: usd(0.1), fate: () => ({ kind: "lost", isTaken: true }) as const },
    b: { price: usd(0.1) },
  };
  const { clock, router } = stage(models, { budget: [day(0.15)], ledger });
  const bold = { onUnknown: "buy-again" } as const;
  const error = await clock.run(failureOf(router.generate({ prompt }, bold)));
  expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
  expect(error.failures).toMatchObject([{ code: "budget_exceeded" }]);
  const roomy = stage(models, { budget: [day(0.2)], ledger: memoryLedger() });
  await roomy.clock.run(roomy.router.generate({ prompt }, bold));
  const entries = await entriesOf(roomy.router.ledger ?? ledger);
  expect(entries).toMatchObject([
    { state: "unknown" },
    { state: "charged", again: entries[0]?.id },
  ]);
});

test("a ledger that cannot be written keeps an order from being sent, and nothing else from being had", async () => {
  const ledger = memoryLedger();
  const { clock, router, a } = stage({ a: { price: usd(0.1) } }, { budget: [day(1)], ledger });
  Object.assign(ledger.store, { update: async () => Promise.reject(new Error("disk full")) });
  const { warnings } = await clock.run(router.generate({ prompt }));
  expect(warnings.join()).toContain("The ledger could not be written: Error: disk full");
  Object.assign(ledger.store, { append: async () => Promise.reject(new Error("disk full")) });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "journal_failed", charged: "no" });
  expect(a.purchases).toHaveLength(1);
});
