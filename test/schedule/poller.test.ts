import { expect, test } from "vitest";
import type { AbortSignalLike } from "../../src/async/clock";
import { Poller, type PollStep } from "../../src/schedule/poller";
import { TestClock } from "../support/clock";
import { reasonOf } from "../support/stage";

/** A poller that takes its steps from a list, the last one for ever, and a clock to move by hand. */
function startPoller(steps: readonly PollStep<string>[], delayMs: (polls: number) => number) {
  const clock = new TestClock({ auto: false });
  const at: number[] = [];
  const signals: AbortSignalLike[] = [];
  const poller = new Poller<string>({
    clock,
    delayMs,
    async query(signal) {
      at.push(clock.elapsedMs);
      signals.push(signal);
      return steps[Math.min(at.length, steps.length) - 1] ?? {};
    },
  });
  return { poller, clock, at, signals };
}

const everySecond = () => 1_000;

test("waits before each poll as it is told, by the number of polls so far", async () => {
  const { poller, clock, at } = startPoller(
    [{}, {}, { settled: "done" }],
    (polls) => 100 * 2 ** polls,
  );
  const wait = poller.wait({});
  await clock.advance(10_000);
  expect(await wait).toBe("done");
  expect(at).toEqual([100, 300, 700]);
  expect(poller.polls).toBe(3);
  expect(clock.pending).toBe(0);
});

test("all who wait share one loop, whenever they come, and get the same value", async () => {
  const { poller, clock, at } = startPoller([{}, {}, {}, { settled: "done" }], everySecond);
  const first = poller.wait({});
  await clock.advance(1_500);
  const second = poller.wait({});
  await clock.advance(10_000);
  expect(await Promise.all([first, second])).toEqual(["done", "done"]);
  expect(at).toEqual([1_000, 2_000, 3_000, 4_000]);
});

test("the loop goes on while one waits, and stops with the last", async () => {
  const { poller, clock, at } = startPoller([{}], everySecond);
  const [one, two] = [new AbortController(), new AbortController()];
  const first = reasonOf(poller.wait({ signal: one.signal }));
  const second = reasonOf(poller.wait({ signal: two.signal }));
  await clock.advance(1_000);
  one.abort("one");
  expect(await first).toBe("one");
  await clock.advance(1_000);
  expect(at).toEqual([1_000, 2_000]);
  two.abort("two");
  expect(await second).toBe("two");
  expect(clock.pending).toBe(0);
  await clock.advance(60_000);
  expect(at).toEqual([1_000, 2_000]);
});

test("who comes after the loop has stopped starts a new one", async () => {
  const { poller, clock, at } = startPoller([{}, { settled: "done" }], everySecond);
  const controller = new AbortController();
  const first = reasonOf(poller.wait({ signal: controller.signal }));
  await clock.advance(1_000);
  controller.abort("left");
  await first;
  const second = poller.wait({});
  await clock.advance(1_000);
  expect(await second).toBe("done");
  expect(at).toHaveLength(2);
});

test("a poll on its way when the last one leaves is aborted, and what it says is not used twice", async () => {
  const clock = new TestClock({ auto: false });
  const signals: AbortSignalLike[] = [];
  let response: (step: PollStep<string>) => void = () => {};
  const poller = new Poller<string>({
    clock,
    delayMs: () => 0,
    query: (signal) => {
      signals.push(signal);
      return new Promise((resolve) => {
        response = resolve;
      });
    },
  });
  const controller = new AbortController();
  const left = reasonOf(poller.wait({ signal: controller.signal }));
  await clock.advance(0);
  controller.abort("left");
  expect(await left).toBe("left");
  expect(signals[0]?.aborted).toBe(true);
  const stale = response;
  const second = poller.wait({});
  await clock.advance(0);
  expect(signals).toHaveLength(2);
  stale({ settled: "stale" });
  response({ settled: "fresh" });
  expect(await second).toBe("fresh");
});

test("the deadline rejects with what it is told, at its time", async () => {
  const { poller, clock, at } = startPoller([{}], everySecond);
  const deadlineAt = clock.now() + 2_500;
  const late = reasonOf(poller.wait({ deadlineAt, onDeadline: () => "too late" }));
  await clock.advance(2_499);
  expect(clock.pending).toBeGreaterThan(0);
  await clock.advance(1);
  expect(await late).toBe("too late");
  expect(at).toEqual([1_000, 2_000]);
  expect(clock.pending).toBe(0);
});

test("each who waits has a deadline of his own", async () => {
  const { poller, clock } = startPoller([{}, {}, { settled: "done" }], everySecond);
  const deadlineAt = clock.now() + 1_500;
  const hasty = reasonOf(poller.wait({ deadlineAt, onDeadline: () => "too late" }));
  const patient = poller.wait({});
  await clock.advance(3_000);
  expect(await hasty).toBe("too late");
  expect(await patient).toBe("done");
});

test("a provider's wait is obeyed where it is longer than the schedule's", async () => {
  const steps = [{ retryAfterMs: 5_000 }, { retryAfterMs: 10 }, { settled: "done" }];
  const { poller, clock, at } = startPoller(steps, everySecond);
  const wait = poller.wait({});
  await clock.advance(60_000);
  expect(await wait).toBe("done");
  expect(at).toEqual([1_000, 6_000, 7_000]);
});

test("a provider's wait that reaches past a deadline rejects those alone whom it concerns, at once", async () => {
  const steps = [{ retryAfterMs: 5_000, failure: "limited" }, { settled: "done" }];
  const { poller, clock } = startPoller(steps, everySecond);
  const deadlineAt = clock.now() + 3_000;
  let rejectedAt = -1;
  const hasty = reasonOf(poller.wait({ deadlineAt })).finally(() => {
    rejectedAt = clock.elapsedMs;
  });
  const patient = poller.wait({});
  await clock.advance(1_000);
  expect(await hasty).toBe("limited");
  expect(rejectedAt).toBe(1_000);
  await clock.advance(5_000);
  expect(await patient).toBe("done");
});

test("what stops the polling rejects all, and the next to wait asks anew", async () => {
  const { poller, clock, at } = startPoller([{ stopped: "401" }, { settled: "done" }], everySecond);
  const both = [reasonOf(poller.wait({})), reasonOf(poller.wait({}))];
  await clock.advance(1_000);
  expect(await Promise.all(both)).toEqual(["401", "401"]);
  expect(clock.pending).toBe(0);
  const again = poller.wait({});
  await clock.advance(1_000);
  expect(await again).toBe("done");
  expect(at).toHaveLength(2);
});

test("a schedule that throws rejects all who wait, and nothing is left running", async () => {
  const oops = new Error("oops");
  const { poller, clock, at } = startPoller([{}], (polls) => {
    if (polls > 0) throw oops;
    return 10;
  });
  const both = [reasonOf(poller.wait({})), reasonOf(poller.wait({}))];
  await clock.advance(60_000);
  expect(await Promise.all(both)).toEqual([oops, oops]);
  expect(at).toHaveLength(1);
  expect(clock.pending).toBe(0);
});

test("a signal that has aborted already is not waited for, and nothing is asked", async () => {
  const { poller, clock, at } = startPoller([{ settled: "done" }], everySecond);
  expect(await reasonOf(poller.wait({ signal: AbortSignal.abort("before") }))).toBe("before");
  await clock.advance(60_000);
  expect(at).toEqual([]);
});

test("one poll now counts, and leaves the loop's rhythm alone", async () => {
  const { poller, clock, at } = startPoller([{}, {}, { settled: "done" }], everySecond);
  const wait = poller.wait({});
  await clock.advance(500);
  await poller.once(new AbortController().signal);
  await clock.advance(5_000);
  expect(await wait).toBe("done");
  expect(at).toEqual([500, 1_000, 2_000]);
  expect(poller.polls).toBe(3);
});
