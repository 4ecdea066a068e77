import { at, cellArray, cellCount, cellWidth, eachCell, type Interval, total } from "./bins";

/** How many settled jobs of a kind are remembered; one that is this much older counts half as much. */
export const mostRemembered = 100;

/** Settled jobs as weights in cells. */
interface Sample {
  readonly cells: Float64Array;
  readonly weight: number;
}

/** How much the prior counts beside the jobs: a tenth of one. */
const priorWeight = 0.1;
const kernelWidths = [0.05, 0.15] as const;
export const estimateCount = kernelWidths.length + 2;

/** Where in its interval a job ended, by the density so far, and by one part in twenty anywhere. */
export function sampleOf(intervals: readonly Interval[], density: Float64Array): Sample {
  const cells = cellArray();
  let weight = 0;
  intervals.forEach((interval, index) => {
    const newer = intervals.length - 1 - index;
    const counts = 0.5 ** (newer / mostRemembered);
    let covering = 0;
    let mass = 0;
    eachCell(interval, (cell, covered) => {
      covering += covered;
      mass += covered * at(density, cell);
    });
    eachCell(interval, (cell, covered) => {
      const share = (0.95 * at(density, cell)) / mass + 0.05 / covering;
      cells[cell] = at(cells, cell) + counts * covered * share;
    });
    weight += counts;
  });
  return { cells, weight };
}

export function estimatesOf(sample: Sample, prior: Float64Array): Float64Array[] {
  const kernels = kernelWidths.map((width) => smooth(sample.cells, width));
  return [...kernels, lognormal(sample), onset(sample)].map((cells) => withPrior(cells, prior));
}

export function withPrior(cells: Float64Array, prior: Float64Array): Float64Array {
  const blended = cells.map((mass, cell) => mass + priorWeight * at(prior, cell));
  const sum = total(blended);
  return blended.map((mass) => mass / sum);
}

/** Two passes of a two-sided exponential, together of this standard deviation in log-duration. */
function smooth(cells: Float64Array, deviation: number): Float64Array {
  const variance = (deviation / cellWidth) ** 2 / 2;
  const inverse = 1 + 1 / variance;
  const decay = inverse - Math.sqrt(inverse * inverse - 1);
  return smoothOnce(smoothOnce(cells, decay), decay);
}

function smoothOnce(cells: Float64Array, decay: number): Float64Array {
  const smoothed = cellArray();
  const scale = (1 - decay) / (1 + decay);
  let carried = 0;
  for (let cell = 0; cell < cellCount; cell += 1) {
    carried = at(cells, cell) + decay * carried;
    smoothed[cell] = carried * scale;
  }
  carried = 0;
  for (let cell = cellCount - 1; cell >= 0; cell -= 1) {
    smoothed[cell] = at(smoothed, cell) + carried * decay * scale;
    carried = at(cells, cell) + decay * carried;
  }
  return smoothed;
}

/** The lognormal of the sample's mean and variance, a little wider, as few jobs can only be. */
export function lognormal(sample: Sample): Float64Array {
  const mean = meanCellOf(sample);
  const { cells, weight } = sample;
  const squares = cells.reduce((sum, mass, cell) => sum + mass * (cell - mean) ** 2, 0);
  const added = doubt * typicalSpread ** 2;
  const variance = ((squares + added) / (Math.max(0, weight - 1) + doubt)) * (1 + 1 / weight);
  return curveOf(sample, (cell) => -((cell - mean) ** 2) / (2 * variance));
}

/**
 * A sudden start and a long tail: work that nothing shortens, and a queue before it. From the least
 * duration on it falls as an exponential of the log-duration. Of n jobs the first came later than
 * the true start, by an nth of the mean excess: so steeply does it rise before.
 */
function onset(sample: Sample): Float64Array {
  const { cells, weight } = sample;
  let before = 0;
  const least = cells.findIndex((mass) => {
    before += mass;
    return before >= 0.5;
  });
  const beyond = (meanCellOf(sample) - least) * weight + doubt * typicalSpread;
  const excess = Math.max(1, beyond / (weight + doubt));
  return curveOf(sample, (cell) => ((cell - least) * (cell < least ? weight : -1)) / excess);
}

/** How many jobs of a typical spread (0.4 in log-duration) are put in: one job alone has none. */
const doubt = 0.5;
const typicalSpread = 0.4 / cellWidth;

const meanCellOf = ({ cells, weight }: Sample): number =>
  cells.reduce((sum, mass, cell) => sum + mass * cell, 0) / weight;

/** A density by its logarithm, with the weight of the sample. */
function curveOf({ weight }: Sample, logarithm: (cell: number) => number): Float64Array {
  const curve = cellArray().map((_, cell) => Math.exp(logarithm(cell)));
  const scale = weight / total(curve);
  return curve.map((height) => height * scale);
}
