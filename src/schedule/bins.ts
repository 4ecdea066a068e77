import type { PollMoment } from "./schedule";

/** The job ended somewhere in there. */
export interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
}

export function intervalOf({ ageMs, previousAgeMs = 0 }: PollMoment): Interval | undefined {
  const fromMs = Math.max(0, previousAgeMs);
  return ageMs > fromMs && Number.isFinite(ageMs) ? { fromMs, toMs: ageMs } : undefined;
}

/** Durations are counted in cells of equal width on the logarithm: 2.5 %, from 0.5 s to 3 hours. */
export const cellCount = 400;
export const cellWidth = 0.025;
const firstEdgeMs = 500;

export const cellArray = () => new Float64Array(cellCount);

/** An element of an array that is known to be long enough. */
export const at = (values: ArrayLike<number>, index: number): number => values[index] ?? 0;

export const total = (values: Float64Array): number =>
  values.reduce((sum, value) => sum + value, 0);

export const edgeMs = (cell: number): number =>
  cell <= 0 ? 0 : firstEdgeMs * Math.exp(cell * cellWidth);

const cellOf = (durationMs: number): number => {
  const cell = Math.floor(Math.log(durationMs / firstEdgeMs) / cellWidth);
  return Math.min(cellCount - 1, Math.max(0, cell));
};

/** Each cell that an interval touches, with the part of the cell that it covers. */
export function eachCell(
  { fromMs, toMs }: Interval,
  visit: (cell: number, covered: number) => void,
) {
  const last = cellOf(toMs);
  for (let cell = cellOf(fromMs); cell <= last; cell += 1) {
    const startMs = edgeMs(cell);
    const endMs = edgeMs(cell + 1);
    const covered = (Math.min(toMs, endMs) - Math.max(fromMs, startMs)) / (endMs - startMs);
    // The last cell is open to the right, and nothing is divided by a part too small to count.
    visit(cell, Math.max(1e-9, covered));
  }
}

export function massWithin(density: Float64Array, interval: Interval): number {
  let mass = 0;
  eachCell(interval, (cell, covered) => {
    mass += covered * at(density, cell);
  });
  return mass;
}

/**
 * A Weibull distribution of shape 1.2: its hazard hardly changes with age, so that without
 * experience the schedule is close to a fixed interval, which is wrong by little wherever the truth
 * lies. A trace is spread over everything, so that nothing is impossible.
 */
export function priorDensity(typicalMs: number): Float64Array {
  const survival = (ageMs: number) => Math.exp(-Math.LN2 * (ageMs / typicalMs) ** 1.2);
  return cellArray().map((_, cell) => {
    const mass = survival(edgeMs(cell)) - survival(edgeMs(cell + 1));
    return 0.9999 * mass + 0.0001 / cellCount;
  });
}
