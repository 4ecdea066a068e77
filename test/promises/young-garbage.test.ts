import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { callerSignal, LightAbortSignal } from "../../src/async/clock";
import { Order } from "../../src/doors/gateway/order";
import { OrderIndex } from "../../src/doors/gateway/order-index";

setFlagsFromString("--expose-gc");
const collect: (options: { type: "minor" }) => void = runInNewContext("gc");
const collectYoung = () => collect({ type: "minor" });

const kilobyte = 1024;
/** How many are there at once, and how many come and go. */
const atOnce = 16;
const count = 4_000;

/**
 * How much the heap grows at most, while nothing but collections of young objects run, as thousands come and
 * go, each with 10 KB.
 */
function growthOf(come: (ballast: object, index: number) => () => void): number {
  const leaving: (() => void)[] = [];
  let least = Number.POSITIVE_INFINITY;
  let growth = 0;
  for (let index = 0; index < count; index += 1) {
    leaving.push(
      come(
        Array.from({ length: 10 * 128 }, () => index),
        index,
      ),
    );
    if (leaving.length > atOnce) leaving.shift()?.();
    if (index % 50 > 0) continue;
    collectYoung();
    // What is there for two collections is old.
    if (index % 1_000 === 0) collectYoung();
    const { heapUsed } = process.memoryUsage();
    least = Math.min(least, heapUsed);
    growth = Math.max(growth, heapUsed - least);
  }
  return growth;
}

test("listeners that came and went are collected while they are young", () => {
  const signal = new LightAbortSignal();
  const growth = growthOf((ballast) => {
    const listener = () => void ballast;
    signal.addEventListener("abort", listener);
    return () => signal.removeEventListener("abort", listener);
  });
  expect(growth).toBeLessThan(4_000 * kilobyte);
});

test("those on a caller's signal are, too", () => {
  const signal = callerSignal(new AbortController().signal);
  const growth = growthOf((ballast) => {
    const listener = () => void ballast;
    signal.addEventListener("abort", listener);
    return () => signal.removeEventListener("abort", listener);
  });
  expect(growth).toBeLessThan(4_000 * kilobyte);
});

test("a gateway's orders are collected once they are forgotten", () => {
  const index = new OrderIndex();
  const growth = growthOf((ballast, ordinal) => {
    const id = String(ordinal);
    const model = "gpt-image-2";
    const record = { v: 1, id, caller: "c", digest: "d", ordinal, model, orderedAt: 0 } as const;
    index.set(id, Object.assign(new Order(record), { ballast }));
    return () => index.delete(id);
  });
  expect(growth).toBeLessThan(4_000 * kilobyte);
});
