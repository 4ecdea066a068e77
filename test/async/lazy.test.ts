import { expect, test } from "vitest";
import { once, onceLoaded } from "../../src/async/lazy";

test("what is made once is the same for all who ask, be it undefined", () => {
  let made = 0;
  const value = once(() => {
    made += 1;
    return undefined;
  });
  expect([value(), value(), made]).toEqual([undefined, undefined, 1]);
});

test("what is loaded once is loaded again by the next call after it has failed", async () => {
  let loads = 0;
  const value = onceLoaded(async () => {
    loads += 1;
    if (loads === 1) throw new Error("too many open files");
    return loads;
  });
  const [first, second] = [value(), value()];
  await expect(first).rejects.toThrow("too many open files");
  await expect(second).rejects.toThrow("too many open files");
  expect(await Promise.all([value(), value()])).toEqual([2, 2]);
});
