import { expect, test } from "vitest";
import { type Fate, fates, ok, refusals } from "./model-client";
import { failureOf, prompt, refused, stage, typesOf } from "./stage";

const minute = 60_000;

test("a rate limit is obeyed to the millisecond, and the others get the work meanwhile", async () => {
  const fate = fates(refused(refusals.rateLimited("a", 90_000)), ok);
  const { clock, router, a, b } = stage({ a: { fate }, b: {} });
  const begun = clock.now();
  await clock.run(router.generate({ prompt }));
  while (clock.now() - begun < 80_000) await clock.run(router.generate({ prompt }));
  expect(a.asked).toHaveLength(1);
  await clock.pass(begun + 90_050 - clock.now());
  expect((await clock.run(router.generate({ prompt }))).provider).toBe("a");
  expect(b.purchases.length).toBeGreaterThan(5);
});

test("where all cool, the call waits for the first of them", async () => {
  const { clock, router, a, b, events } = stage({
    a: { fate: fates(refused(refusals.rateLimited("a", 30_000)), ok) },
    b: { fate: fates(refused(refusals.rateLimited("b", 20_000)), ok) },
  });
  const { provider } = await clock.run(router.generate({ prompt }));
  expect(provider).toBe("b");
  expect(b.asked).toEqual([50, 20_100]);
  expect(a.asked).toEqual([0]);
  expect(typesOf(events)).toEqual([...["cooling", "fallback", "cooling", "fallback", "waiting"]]);
});

test("where the first comes after the time-out, the call fails at once and says when", async () => {
  const fate = () => refused(refusals.rateLimited("a", 20 * minute));
  const { clock, router } = stage({ a: { fate }, b: { fate } });
  const error = await clock.run(failureOf(router.generate({ prompt }, { timeoutMs: minute })));
  expect(clock.now()).toBe(100);
  expect(error).toMatchObject({ code: "rate_limited", retryable: true });
  const again = await clock.run(failureOf(router.generate({ prompt }, { timeoutMs: minute })));
  expect(again).toMatchObject({ code: "provider_unavailable", charged: "no", retryable: true });
  expect(again.retryAfterMs).toBe(20 * minute - 50);
});

test("an empty account is left alone for minutes, doubling, and nobody waits for it", async () => {
  const { clock, router, a } = stage({ a: { fate: () => refused(refusals.empty("a")) }, b: {} });
  const day = 24 * 60 * minute;
  while (clock.now() < day / 2) {
    await clock.run(router.generate({ prompt }));
    await clock.pass(minute / 3);
  }
  const gaps = a.asked
    .slice(1)
    .map((at, index) => Math.floor((at - (a.asked[index] ?? 0)) / minute));
  expect(gaps.slice(0, 5)).toEqual([5, 10, 20, 40, 60]);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(61);
});

test("one call alone tries an account that was empty; the others go elsewhere", async () => {
  const slow: Fate = { kind: "refused", error: refusals.empty("a"), delayMs: 5_000 };
  const { clock, router, a, b } = stage({ a: { fate: () => slow }, b: {} });
  await clock.run(router.generate({ prompt }));
  await clock.pass(6 * minute);
  await clock.run(Promise.all(Array.from({ length: 50 }, () => router.generate({ prompt }))));
  expect(a.asked).toHaveLength(2);
  expect(b.purchases).toHaveLength(51);
});

test("many calls that fail together count as one failure", async () => {
  const { clock, router, a } = stage({ a: { fate: () => refused(refusals.empty("a")) }, b: {} });
  await clock.run(Promise.all(Array.from({ length: 50 }, () => router.generate({ prompt }))));
  expect(a.asked).toHaveLength(50);
  await clock.pass(5 * minute);
  await clock.run(router.generate({ prompt }));
  expect(a.asked).toHaveLength(51);
});

test("once it takes an order again, it is as if it had never failed", async () => {
  const down = refused(refusals.unavailable("a"));
  const { clock, router, a } = stage({ a: { fate: fates(down, down, down, ok, down, ok) } });
  await clock.run(router.generate({ prompt }));
  await clock.run(router.generate({ prompt }));
  const gaps = a.asked.slice(1).map((at, index) => at - (a.asked[index] ?? 0));
  expect(gaps).toEqual([1_050, 2_050, 4_050, 10_050, 1_050]);
});

test("an order of unknown fate keeps the next calls away from its client for a moment", async () => {
  const { clock, router, b } = stage({
    a: { fate: fates({ kind: "lost", isTaken: true }, ok) },
    b: {},
  });
  await clock.run(failureOf(router.generate({ prompt })));
  await clock.run(router.generate({ prompt }));
  expect(b.purchases).toHaveLength(1);
});

test("a call is waited for within its time-out, waits and all", async () => {
  const fate = fates(refused(refusals.rateLimited("a", 40_000)), {
    kind: "ok",
    durationMs: minute,
  });
  const { clock, router, a } = stage({ a: { fate } });
  const error = await clock.run(failureOf(router.generate({ prompt }, { timeoutMs: minute })));
  expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
  expect(a.timeouts).toEqual([minute, minute - 40_050]);
});

test("an abort and a close end the wait, and nothing was charged", async () => {
  const fate = () => refused(refusals.rateLimited("a", 30_000));
  const first = stage({ a: { fate } });
  const controller = new AbortController();
  first.clock.after(1_000, () => controller.abort("gone"));
  const { signal } = controller;
  await expect(first.clock.run(first.router.generate({ prompt }, { signal }))).rejects.toBe("gone");

  const second = stage({ a: { fate } });
  second.clock.after(1_000, () => void second.router.close());
  const error = await second.clock.run(failureOf(second.router.generate({ prompt })));
  expect(error).toMatchObject({ code: "client_closed", charged: "no", provider: "router" });
});

test("with `retryRefused: false` nobody waits: a router inside a router goes on at once", async () => {
  const { clock, router } = stage({ a: { fate: () => refused(refusals.rateLimited("a", 5_000)) } });
  const error = await clock.run(failureOf(router.generate({ prompt }, { retryRefused: false })));
  expect(error).toMatchObject({ code: "rate_limited", retryAfterMs: 5_000 });
});
