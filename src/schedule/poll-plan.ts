import { at, cellCount, edgeMs } from "./bins";

export interface Weighing {
  readonly worthMs: number;
  readonly floorMs: number;
}

/**
 * The longest first wait while nothing is known: 5 s, unless a poll is worth more or less than by
 * default. A prior may be far off, as for a job that is refused soon: then this is the interval for
 * jobs of two minutes, and no later wait is longer than the job is old, beside it.
 */
export const blindMs = ({ worthMs }: Weighing): number => Math.sqrt(2 * worthMs * 125_000);

/** The best age for the poll after one at each of these ages. */
export interface Plan {
  readonly agesMs: readonly number[];
  readonly nextAgesMs: readonly number[];
  /** The wait at the last of the ages. */
  readonly lastDelayMs: number;
}

/** Ages, with the share of jobs that have ended by then, and the integral of that share. */
interface Grid {
  readonly agesMs: number[];
  readonly ended: number[];
  readonly endedMs: number[];
  /** The best interval in the limit of many polls, at the last age. */
  lastDelayMs: number;
}

/** Beyond this share of the jobs the plan gives way to a rule of thumb. */
const plannedShare = 0.999;
const mostAges = 4_096;

function gridOf(density: Float64Array, { worthMs, floorMs }: Weighing): Grid {
  const grid: Grid = { agesMs: [0], ended: [0], endedMs: [0], lastDelayMs: floorMs };
  let cell = 0;
  let cellEndMs = edgeMs(1);
  let rate = at(density, 0) / cellEndMs;
  let ageMs = 0;
  let ended = 0;
  let endedMs = 0;
  while (ended < plannedShare && cell < cellCount - 1 && grid.agesMs.length < mostAges) {
    const bestMs = Math.sqrt((2 * worthMs * (1 - ended)) / rate);
    grid.lastDelayMs = Math.max(floorMs, bestMs);
    const finest = floorMs / 4;
    const untilMs = ageMs + Math.min(Math.max(finest, bestMs / 4), Math.max(finest, ageMs / 10));
    while (ageMs < untilMs && cell < cellCount - 1) {
      const stepMs = Math.min(untilMs, cellEndMs) - ageMs;
      endedMs += stepMs * (ended + (rate * stepMs) / 2);
      ended += rate * stepMs;
      ageMs += stepMs;
      if (ageMs < cellEndMs) break;
      cell += 1;
      const cellStartMs = cellEndMs;
      cellEndMs = edgeMs(cell + 1);
      rate = at(density, cell) / (cellEndMs - cellStartMs);
    }
    grid.agesMs.push(ageMs);
    grid.ended.push(Math.min(1, ended));
    grid.endedMs.push(endedMs);
  }
  return grid;
}

/** Dynamic programming from the last age back to the create. */
export function planOf(density: Float64Array, weighing: Weighing): Plan {
  const { worthMs, floorMs } = weighing;
  const { agesMs, ended, endedMs, lastDelayMs } = gridOf(density, weighing);
  const last = agesMs.length - 1;
  const costs = new Float64Array(last + 1);
  const nextAgesMs = agesMs.map((ageMs) => ageMs + lastDelayMs);
  // At a steady hazard, delay and polls from here on come to the interval itself.
  costs[last] = (1 - at(ended, last)) * lastDelayMs;
  let earliest = last;
  let chosen = last;
  for (let from = last - 1; from >= 0; from -= 1) {
    const ageMs = at(agesMs, from);
    const costOf = (to: number): number =>
      at(endedMs, to) -
      at(endedMs, from) -
      at(ended, from) * (at(agesMs, to) - ageMs) +
      at(costs, to);
    while (earliest > from + 1 && at(agesMs, earliest - 1) - ageMs >= floorMs) earliest -= 1;
    // The best next age never falls as the age grows: the search ends where the last one did.
    const latest = Math.max(chosen, earliest);
    chosen = earliest;
    let cost = costOf(earliest);
    for (let to = earliest + 1; to <= latest; to += 1) {
      const candidate = costOf(to);
      if (candidate < cost) {
        cost = candidate;
        chosen = to;
      }
    }
    costs[from] = cost + worthMs * (1 - at(ended, from));
    nextAgesMs[from] = Math.max(ageMs + floorMs, at(agesMs, chosen));
  }
  return { agesMs, nextAgesMs, lastDelayMs };
}

export function delayAt({ agesMs, nextAgesMs, lastDelayMs }: Plan, ageMs: number): number {
  const last = agesMs.length - 1;
  const lastAgeMs = at(agesMs, last);
  // A tail that falls as a power of age has a hazard as 1/age, and h goes with its inverse root.
  if (ageMs >= lastAgeMs) return Math.min(ageMs / 10, lastDelayMs * Math.sqrt(ageMs / lastAgeMs));
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(agesMs, middle) <= ageMs) low = middle;
    else high = middle;
  }
  const share = (ageMs - at(agesMs, low)) / (at(agesMs, high) - at(agesMs, low));
  const nextAgeMs = at(nextAgesMs, low) * (1 - share) + at(nextAgesMs, high) * share;
  return nextAgeMs - ageMs;
}
