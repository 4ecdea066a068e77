import { learnedSchedule } from "../../../src/schedule/learned-schedule";
import type { PollMoment, PollSchedule } from "../../../src/schedule/schedule";
import { seededRandom } from "../../support/random";
import type { Family } from "./families";
import { leastDelayMs, type Outcome, Truth } from "./truth";

export const floorMs = 1_000;

const job = { provider: "simulated", operation: "generate" } as const;

export const momentAt = (ageMs: number, attempt: number): PollMoment => ({
  ...job,
  ageMs,
  attempt,
});

/** Runs jobs one after another on a virtual clock: each is polled by the schedule until it has ended. */
export function teach(
  schedule: PollSchedule,
  family: Family,
  jobs: number,
  random: () => number,
): void {
  for (let done = 0; done < jobs; done += 1) {
    const durationMs = family.sample(random);
    let [ageMs, previousAgeMs, attempt] = [0, 0, 0];
    while (ageMs < durationMs) {
      previousAgeMs = ageMs;
      ageMs += schedule.next(momentAt(ageMs, attempt));
      attempt += 1;
    }
    schedule.settled?.({ ...momentAt(ageMs, attempt), previousAgeMs });
  }
}

/** What a schedule costs under a truth: the mean of several walks, since its waits are staggered. */
export function measure(schedule: PollSchedule, truth: Truth): Outcome {
  const walks = 8;
  let [polls, delayMs] = [0, 0];
  for (let walk = 0; walk < walks; walk += 1) {
    const outcome = truth.outcome((ageMs, attempt) => schedule.next(momentAt(ageMs, attempt)));
    polls += outcome.polls / walks;
    delayMs += outcome.delayMs / walks;
  }
  return { polls, delayMs };
}

/** A truth with its frontier, which takes a while to work out. */
export interface Known {
  readonly truth: Truth;
  readonly frontier: readonly Outcome[];
}

export function know(family: Family, leastMs = floorMs, factor = 1.15): Known {
  const truth = new Truth(family, leastMs);
  return { truth, frontier: truth.frontier(factor) };
}

/** The delay of an outcome, in units of the least there is with as many polls. */
export const ratioOf = ({ frontier }: Known, { polls, delayMs }: Outcome): number =>
  delayMs / leastDelayMs(frontier, polls);

export interface Lesson {
  readonly family: Family;
  readonly jobs: number;
}

export interface Trial {
  readonly outcome: Outcome;
  readonly ratio: number;
}

/** One fresh schedule a seed, taught the lessons in order, then measured under the truth. */
export function trials(
  known: Known,
  lessons: readonly Lesson[],
  seeds: number,
  secondsPerPoll?: number,
): Trial[] {
  return Array.from({ length: seeds }, (_, seed) => {
    const random = seededRandom(seed * 7919 + 13);
    const schedule = learnedSchedule({ floorMs, ...(secondsPerPoll && { secondsPerPoll }) });
    for (const { family, jobs } of lessons) teach(schedule, family, jobs, random);
    const outcome = measure(schedule, known.truth);
    return { outcome, ratio: ratioOf(known, outcome) };
  });
}

export interface Summary {
  readonly mean: number;
  readonly p90: number;
  readonly min: number;
  readonly max: number;
}

export function summary(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const element = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, p90: element(0.9), min: element(0), max: element(1) };
}

/** Scales from a quarter of the typical prior's 60 s to four times it. */
export const scalesMs = Array.from({ length: 13 }, (_, step) => 15_000 * 16 ** (step / 12));

/** Delay before learning, in units of what a fixed interval makes of as many polls. */
export function untaughtRatio(family: Family, secondsPerPoll?: number): number {
  const truth = new Truth(family, floorMs);
  const schedule = learnedSchedule({ floorMs, ...(secondsPerPoll && { secondsPerPoll }) });
  const { polls, delayMs } = measure(schedule, truth);
  return delayMs / truth.fixed(polls).delayMs;
}
