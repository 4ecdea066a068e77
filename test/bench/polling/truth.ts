import type { Family } from "./families";

/** Polls a job and mean delay. */
export interface Outcome {
  readonly polls: number;
  readonly delayMs: number;
}

/** The wait before the poll after `attempt` polls, at an age. */
export type Waits = (ageMs: number, attempt: number) => number;

/** Jobs beyond this share are left out on all sides alike. */
const shareCovered = 1 - 1e-6;

const at = (values: ArrayLike<number>, index: number): number => values[index] ?? 0;

/** A family in a table: what any schedule costs under it, exactly, and what the best one does. */
export class Truth {
  readonly family: Family;
  readonly #agesMs: number[] = [0];
  readonly #ended: number[] = [0];
  /** The integral of the share that has ended. */
  readonly #endedMs: number[] = [0];

  readonly #floorMs: number;

  constructor(family: Family, floorMs: number) {
    this.family = family;
    this.#floorMs = floorMs;
    const finestMs = family.scaleMs / 1_200;
    let ageMs = 0;
    let ended = 0;
    let endedMs = 0;
    while (ended < shareCovered && ageMs < 300 * family.scaleMs) {
      const stepMs = stepAt(ageMs, Math.max(finestMs, ageMs / 500), floorMs);
      ageMs += stepMs;
      const next = family.ended(ageMs);
      endedMs += (stepMs * (ended + next)) / 2;
      ended = next;
      this.#agesMs.push(ageMs);
      this.#ended.push(ended);
      this.#endedMs.push(endedMs);
    }
  }

  get #last(): number {
    return this.#agesMs.length - 1;
  }

  #at(ageMs: number): { ended: number; endedMs: number } {
    const last = this.#last;
    const beyondMs = ageMs - at(this.#agesMs, last);
    const endedLast = at(this.#ended, last);
    if (beyondMs >= 0) {
      return { ended: endedLast, endedMs: at(this.#endedMs, last) + beyondMs * endedLast };
    }
    let low = 0;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (at(this.#agesMs, middle) <= ageMs) low = middle;
      else high = middle;
    }
    const pastMs = ageMs - at(this.#agesMs, low);
    const widthMs = at(this.#agesMs, high) - at(this.#agesMs, low);
    const slope = (at(this.#ended, high) - at(this.#ended, low)) / widthMs;
    return {
      ended: at(this.#ended, low) + slope * pastMs,
      endedMs: at(this.#endedMs, low) + pastMs * (at(this.#ended, low) + (slope * pastMs) / 2),
    };
  }

  /** What a schedule costs: an integral, not a sample. */
  outcome(waits: Waits): Outcome {
    const endMs = at(this.#agesMs, this.#last);
    let [ageMs, attempt, polls, delayMs] = [0, 0, 0, 0];
    let now = this.#at(0);
    while (ageMs < endMs && now.ended < shareCovered) {
      const waitMs = waits(ageMs, attempt);
      const next = this.#at(ageMs + waitMs);
      polls += 1 - now.ended;
      delayMs += next.endedMs - now.endedMs - now.ended * waitMs;
      ageMs += waitMs;
      attempt += 1;
      now = next;
    }
    return { polls, delayMs };
  }

  /** The exact optimum at a worth of a poll, by dynamic programming over the table. */
  #optimum(worthMs: number): Outcome {
    const floorMs = this.#floorMs;
    const [agesMs, ended, endedMs] = [this.#agesMs, this.#ended, this.#endedMs];
    const last = this.#last;
    const costs = new Float64Array(last + 1);
    const nexts = new Int32Array(last + 1).fill(last);
    const delayOf = (from: number, to: number): number =>
      at(endedMs, to) - at(endedMs, from) - at(ended, from) * (at(agesMs, to) - at(agesMs, from));
    let earliest = last;
    let latest = last;
    for (let from = last - 1; from >= 0; from -= 1) {
      while (earliest > from + 1 && at(agesMs, earliest - 1) - at(agesMs, from) > floorMs - 1e-6) {
        earliest -= 1;
      }
      let best = Infinity;
      // The costs satisfy the quadrangle inequality: the best next age never falls as age grows.
      for (let to = earliest; to <= Math.max(latest, earliest); to += 1) {
        const cost = delayOf(from, to) + at(costs, to);
        if (cost < best) {
          best = cost;
          nexts[from] = to;
        }
      }
      latest = at(nexts, from);
      costs[from] = best + worthMs * (1 - at(ended, from));
    }
    let [polls, delayMs] = [0, 0];
    for (let from = 0; from < last; from = at(nexts, from)) {
      polls += 1 - at(ended, from);
      delayMs += delayOf(from, at(nexts, from));
    }
    return { polls, delayMs };
  }

  /**
   * The least delay for any number of polls: the lower convex hull of the optima at worths of a poll
   * from 0.1 ms to 100 s, each less than the one before by a factor. A point of the hull between two optima is what mixing both schedules gives,
   * so that no schedule can be below it.
   */
  frontier(factor: number): Outcome[] {
    const hull: Outcome[] = [];
    for (let worthMs = 100_000; worthMs > 0.1; worthMs /= factor) {
      const point = this.#optimum(worthMs);
      while (hull.length >= 2 && isAbove(hull.at(-2), hull.at(-1), point)) hull.pop();
      if (point.polls > (hull.at(-1)?.polls ?? 0)) hull.push(point);
    }
    return hull;
  }

  /** What a fixed interval makes of as many polls. */
  fixed(polls: number): Outcome {
    let [low, high] = [10, 10 * at(this.#agesMs, this.#last)];
    for (let halving = 0; halving < 50; halving += 1) {
      const middle = Math.sqrt(low * high);
      if (this.outcome(() => middle).polls > polls) low = middle;
      else high = middle;
    }
    return this.outcome(() => high);
  }
}

const stepsPerFloor = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.025];

/**
 * A step of the table, near the one that is wanted: a part or a multiple of the floor, begun at a
 * multiple of itself, so that the optimum can wait for exactly the floor.
 */
function stepAt(ageMs: number, wantedMs: number, floorMs: number): number {
  const isEven = (value: number) => Math.abs(value - Math.round(value)) < 1e-6;
  const steps = stepsPerFloor.map((part) => part * floorMs);
  return steps.find((each) => each <= wantedMs && isEven(ageMs / each)) ?? floorMs / 40;
}

function isAbove(before: Outcome | undefined, middle: Outcome | undefined, after: Outcome) {
  if (before === undefined || middle === undefined) return false;
  const rise = (middle.delayMs - before.delayMs) * (after.polls - before.polls);
  return rise >= (after.delayMs - before.delayMs) * (middle.polls - before.polls);
}

/** The least delay there is with as many polls. */
export function leastDelayMs(frontier: readonly Outcome[], polls: number): number {
  const last = frontier.at(-1);
  // Polls beyond those that the floor leaves any use for bring nothing more.
  if (last !== undefined && polls >= last.polls) return last.delayMs;
  const above = frontier.findIndex((point) => point.polls >= polls);
  const [low, high] = [frontier[above - 1], frontier[above]];
  // Outside of the frontier nothing can be said; a comparison with NaN fails wherever it is made.
  if (low === undefined || high === undefined) return Number.NaN;
  const share = (polls - low.polls) / (high.polls - low.polls);
  return low.delayMs + share * (high.delayMs - low.delayMs);
}
