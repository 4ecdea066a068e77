import { expect, test } from "vitest";
import { type AbortSignalLike, callerSignal, LightAbortSignal } from "../../src/async/clock";
import { youngGrowthOf } from "../support/young-garbage";

function ours() {
  const signal = new LightAbortSignal();
  return { signal, abort: () => signal.abort("over") };
}

function callers() {
  const controller = new AbortController();
  return { signal: callerSignal(controller.signal), abort: () => controller.abort("over") };
}

const signals = [
  ["a signal of ours", ours],
  ["a caller's signal", callers],
] as const;

test.each(signals)("%s lets go of listeners that came and went while they are young", (_, make) => {
  const { signal } = make();
  const growth = youngGrowthOf((ballast) => {
    const listener = () => void ballast;
    signal.addEventListener("abort", listener);
    return () => signal.removeEventListener("abort", listener);
  });
  expect(growth).toBeLessThan(4_000_000);
});

test.each(signals)(
  "%s calls its listeners in order, and none that an earlier one removed",
  (_, make) => {
    const { signal, abort } = make();
    const called: string[] = [];
    const add = (name: string, then?: () => void) => {
      const listener = () => {
        called.push(name);
        then?.();
      };
      signal.addEventListener("abort", listener);
      return () => signal.removeEventListener("abort", listener);
    };
    add("first", () => removeThird());
    const removeSecond = add("second", () => removeSecond());
    const removeThird = add("third");
    add("fourth");
    abort();
    abort();
    expect(called).toEqual(["first", "second", "fourth"]);
  },
);

test.each(signals)("%s calls nobody who left before", (_, make) => {
  const { signal, abort } = make();
  const called: number[] = [];
  const listeners = [0, 1, 2].map((each) => () => void called.push(each));
  const all = (change: (signal: AbortSignalLike, listener: () => void) => void) => {
    for (const each of listeners) change(signal, each);
  };
  all((to, each) => to.addEventListener("abort", each));
  all((to, each) => to.removeEventListener("abort", each));
  abort();
  expect(called).toEqual([]);
});

test("ten thousand that each remove themselves are each called once", () => {
  const { signal, abort } = ours();
  let called = 0;
  for (let each = 0; each < 10_000; each += 1) {
    const listener = () => {
      called += 1;
      signal.removeEventListener("abort", listener);
    };
    signal.addEventListener("abort", listener);
  }
  abort();
  expect(called).toBe(10_000);
});
