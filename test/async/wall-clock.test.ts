import { afterEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../src/async/clock";
import type { ImageEvent } from "../../src/types";
import type { TestClock } from "../support/clock";
import { failureOf, jobProviders, prompt, startStage } from "../support/stage";

const hourMs = 3_600_000;
const steps = [0, -hourMs, hourMs] as const;

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([-hourMs, hourMs])(
  "the monotonic clock does not follow a system clock set by %i ms",
  (byMs) => {
    const before = systemClock.now();
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + byMs);
    expect(Math.abs(systemClock.now() - before)).toBeLessThan(60_000);
    expect(Math.abs(systemClock.wallTime() - before - byMs)).toBeLessThan(60_000);
  },
);

describe.each(steps)("with the system's clock set by %i ms while a job runs", (byMs) => {
  /** Sets the clock the first time that something of this type happens. */
  function setAt(clock: TestClock, type: ImageEvent["type"]) {
    let isSet = false;
    return (event: ImageEvent) => {
      if (isSet || event.type !== type) return;
      isSet = true;
      clock.setWallTime(byMs);
    };
  }

  test.for(jobProviders)(
    "polls of %s come when they would have come, also after a 429",
    async (name) => {
      await using stage = await startStage({ jobDurationMs: 0 });
      const { clock, sandbox } = stage;
      sandbox.inject({
        provider: name,
        phase: "poll",
        fault: "rate-limited",
        retryAfterSeconds: 4,
      });
      sandbox.inject({ provider: name, phase: "poll", fault: "unavailable" });
      const client = stage.client(name, { poll: 1_500 });
      const { timing } = await client.generate({ prompt }, { onEvent: setAt(clock, "retry") });
      expect(stage.count("poll")).toBe(3);
      expect(clock.elapsedMs).toBe(1_500 + 4_000 + 1_500);
      expect(timing.durationMs).toBe(clock.elapsedMs);
      expect(timing.completedAt.getTime() - timing.submittedAt.getTime()).toBe(timing.durationMs);
    },
  );

  test("the learned schedule asks at the same ages", async () => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const { clock, sandbox } = stage;
    const still = {
      provider: "trinetra",
      phase: "poll",
      fault: "unknown-state",
      word: "warming",
    } as const;
    sandbox.inject({ ...still, times: 2 });
    const ages: number[] = [];
    const poll = {
      next({ ageMs }: { ageMs: number }) {
        ages.push(ageMs);
        return 2_000;
      },
    };
    const client = stage.client("trinetra", { poll });
    await client.generate({ prompt }, { onEvent: setAt(clock, "status") });
    expect(ages).toEqual([0, 2_000, 4_000]);
  });

  test("a time-out comes after its time", async () => {
    await using stage = await startStage({ jobDurationMs: hourMs });
    const { clock } = stage;
    const client = stage.client("trinetra", { timeoutMs: 5_000 });
    const onEvent = setAt(clock, "submitted");
    const error = await failureOf(client.generate({ prompt }, { onEvent }));
    expect(error).toMatchObject({ code: "timeout", timeoutMs: 5_000 });
    expect(clock.elapsedMs).toBe(5_000);
  });

  test("a create is sent again when a date in Retry-After, which is the server's, has come", async () => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const { clock, sandbox } = stage;
    clock.setWallTime(byMs);
    const fault = { fault: "rate-limited", retryAfterSeconds: 20, as: "date" } as const;
    sandbox.inject({ provider: "trinetra", phase: "create", ...fault });
    const delays: number[] = [];
    const onEvent = (event: ImageEvent) => {
      if (event.type === "retry") delays.push(event.delayMs);
    };
    await stage.client("trinetra").generate({ prompt }, { onEvent });
    expect(delays).toHaveLength(1);
    // Both dates are whole seconds.
    expect(delays[0]).toBeGreaterThanOrEqual(20_000);
    expect(delays[0]).toBeLessThanOrEqual(21_000);
  });

  test("events and references tell the date that the system's clock says", async () => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const { clock } = stage;
    const dates: number[] = [];
    const set = setAt(clock, "submitted");
    const onEvent = (event: ImageEvent) => {
      set(event);
      if (event.type === "succeeded") dates.push(event.at);
    };
    const { job } = await stage.client("trinetra").generate({ prompt }, { onEvent });
    expect(dates).toEqual([clock.wallTime()]);
    expect(job.reference.submittedAt).toBe(new Date(clock.startedAt).toISOString());
  });
});

test("a job whose reference was written by a clock that is ahead is as old as one just sent", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const { clock, sandbox } = stage;
  const job = await stage.client("trinetra").submit({ prompt });
  clock.setWallTime(-hourMs);
  sandbox.inject({ provider: "trinetra", phase: "poll", fault: "missing" });
  const { timing } = await stage.client("trinetra").resume(job.reference).result();
  expect(timing.polls).toBe(2);
  expect(timing.durationMs).toBe(1_000);
});
