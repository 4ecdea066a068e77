import * as z from "zod/mini";
import { parseSize } from "../adapter/dimensions";
import { once } from "../async/lazy";
import { parseOptions, positive } from "../request/options";
import type { PollMoment, PollSchedule, SizeClass } from "./schedule";

/**
 * When to ask again: the mathematics of {@link learnedSchedule}.
 *
 * A job's duration has density f, survival S and hazard f/S. Polling at intervals h(t):
 *
 * 1. An interval at age t is begun by a share S(t) of the jobs, so that P = ∫ S/h polls are made.
 * 2. A job that ends inside an interval waits half of it on average: D = ½ ∫ f·h of mean delay.
 * 3. With a poll worth w of delay, D + w·P is least where ½·f = w·S/h² at every age.
 * 4. Hence h = √(2w·S/f) = √(2w / hazard): poll often where jobs end, hardly where none does.
 * 5. Put back, D·P = ½ (∫ √(f·S))², the least there is (Cauchy and Schwarz). A fixed interval has
 *    E[T]/2: 2.7 times as much at a lognormal with σ 0.2, and the same at an exponential.
 *
 * That is the limit of many polls. With few, the exact optimum is V(t) = S(t)·w + min over u ≥ t +
 * floor of ∫ₜᵘ (u − x)·f(x) dx + V(u), solved backwards once after jobs have settled, on a grid a
 * quarter as wide as h. Polling costs go with the root of the density, so that an estimate which is
 * wrong by half costs a few per cent. What does cost is density where no job ever ends, since the
 * root makes much of little: hence a prior that fades, and an estimate that starts as sharply as jobs
 * do.
 *
 * f is a mixture of estimates (two kernel widths, a lognormal and a sudden start, each from all
 * remembered jobs and from the recent ones), weighted by how well each foretold the jobs that came
 * after. When the recent ones come to foretell clearly better than all, the provider has changed,
 * and what was before is forgotten. A job is known to have ended between two polls: it counts
 * wherever in that interval the density so far says that it may have.
 */

/** How {@link learnedSchedule} weighs promptness against polls. */
export interface LearnedScheduleOptions {
  /**
   * How many seconds of delay are worth one poll. Less is more prompt and polls more: a quarter of
   * it halves the delay and doubles the polls. Default 0.1: a job of about a minute is seen some
   * 1.5 s after its end, with 10 to 15 polls.
   */
  readonly secondsPerPoll?: number;
  /** The least wait between two polls, in milliseconds. Default 1000. */
  readonly floorMs?: number;
}

const optionsSchema = once(() =>
  z.strictObject(
    {
      secondsPerPoll: z._default(positive("seconds, more than 0"), 0.1),
      floorMs: z._default(positive("milliseconds, more than 0"), 1_000),
    },
    "an object of options",
  ),
);

/**
 * A schedule that learns how long jobs take, by provider, operation, quality and size class, and
 * polls when they are likely to end. It keeps the last hundred durations of each kind, and nothing
 * of the jobs that wait. Every client has one of its own unless it is given another schedule.
 *
 * @throws {@link InvalidRequestError} naming the option that is wrong.
 *
 * @example
 * ```ts
 * const client = createImageClient({ provider, poll: learnedSchedule({ secondsPerPoll: 0.5 }) });
 * ```
 */
export function learnedSchedule(options: LearnedScheduleOptions = {}): PollSchedule {
  const { secondsPerPoll, floorMs } = parseOptions(optionsSchema(), options, "options");
  const weighing = { worthMs: secondsPerPoll * 1_000, floorMs };
  const untaught = new Map<number, Durations>();
  const taught = new Map<string, Durations>();
  const stagger = staggering();

  const untaughtFor = (moment: PollMoment): Durations => {
    const typicalMs = typicalDurationMs(moment);
    const known = untaught.get(typicalMs) ?? new Durations(typicalMs, weighing);
    untaught.set(typicalMs, known);
    return known;
  };

  return {
    next(moment) {
      const leastMs = Math.max(floorMs, moment.floorMs ?? 0);
      const ageMs = Math.max(0, moment.ageMs);
      if (!Number.isFinite(ageMs)) return leastMs;
      const durations = taught.get(kindOf(moment)) ?? untaughtFor(moment);
      return Math.max(leastMs, durations.delayMs(ageMs) * stagger());
    },
    settled(moment) {
      const interval = intervalOf(moment);
      if (interval === undefined) return;
      const kind = kindOf(moment);
      const durations = taught.get(kind) ?? new Durations(typicalDurationMs(moment), weighing);
      durations.learn(interval);
      // The kind that was seen last goes to the end: the one longest unseen makes room.
      taught.delete(kind);
      taught.set(kind, durations);
      for (const oldest of taught.keys()) {
        if (taught.size <= mostKinds) break;
        taught.delete(oldest);
      }
    },
  };
}

/** The size class of a request, by its `size` or its `resolution`; undefined when neither says. */
export function sizeClassOf(fields: {
  readonly size?: unknown;
  readonly resolution?: unknown;
}): SizeClass | undefined {
  const { size, resolution } = fields;
  if (typeof resolution === "string") return resolution === "1K" ? "standard" : "large";
  const pixels = typeof size === "string" ? parseSize(size) : undefined;
  if (pixels === undefined) return undefined;
  // The largest 1K picture has 2048x1024 pixels.
  return pixels.width * pixels.height <= 2_097_152 ? "standard" : "large";
}

/** Qualities are open words: a caller who makes them up must not fill the memory. */
const mostKinds = 64;
/** How many settled jobs of a kind are remembered; one that is this much older counts half as much. */
const mostRemembered = 100;

function kindOf({ provider, operation, quality, sizeClass }: PollMoment): string {
  return JSON.stringify([provider, operation, quality, sizeClass]);
}

/** What a kind of job takes before anything is known of it. */
function typicalDurationMs({ quality, sizeClass }: PollMoment): number {
  const large = sizeClass === "large";
  if (quality === "low") return large ? 25_000 : 15_000;
  if (quality === "high") return large ? 235_000 : 150_000;
  return large ? 100_000 : 60_000;
}

/**
 * The longest first wait while nothing is known: 5 s, unless a poll is worth more or less than by
 * default. A prior may be far off, as for a job that is refused soon: then this is the interval for
 * jobs of two minutes, and no later wait is longer than the job is old, beside it.
 */
const blindMs = ({ worthMs }: Weighing): number => Math.sqrt(2 * worthMs * 125_000);

/**
 * Factors from 0.95 to 1.05 along the golden ratio, so that jobs created in one moment are spread
 * evenly over the provider's time, better than by chance and the same in every run.
 */
function staggering(): () => number {
  let phase = 0;
  return () => {
    phase = (phase + 0.618_033_988_749_895) % 1;
    return 0.95 + phase / 10;
  };
}

/** The job ended somewhere in there. */
interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
}

function intervalOf({ ageMs, previousAgeMs = 0 }: PollMoment): Interval | undefined {
  const fromMs = Math.max(0, previousAgeMs);
  return ageMs > fromMs && Number.isFinite(ageMs) ? { fromMs, toMs: ageMs } : undefined;
}

// ---- durations, counted in cells of equal width on the logarithm: 2.5 %, from 0.5 s to 3 hours ----

const cellCount = 400;
const cellWidth = 0.025;
const firstEdgeMs = 500;

const cellArray = () => new Float64Array(cellCount);

/** An element of an array that is known to be long enough. */
const at = (values: ArrayLike<number>, index: number): number => values[index] ?? 0;

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

const edgeMs = (cell: number): number => (cell <= 0 ? 0 : firstEdgeMs * Math.exp(cell * cellWidth));

const cellOf = (durationMs: number): number => {
  const cell = Math.floor(Math.log(durationMs / firstEdgeMs) / cellWidth);
  return Math.min(cellCount - 1, Math.max(0, cell));
};

/** Each cell that an interval touches, with the part of the cell that it covers. */
function eachCell({ fromMs, toMs }: Interval, visit: (cell: number, covered: number) => void) {
  const last = cellOf(toMs);
  for (let cell = cellOf(fromMs); cell <= last; cell += 1) {
    const startMs = edgeMs(cell);
    const endMs = edgeMs(cell + 1);
    const covered = (Math.min(toMs, endMs) - Math.max(fromMs, startMs)) / (endMs - startMs);
    // The last cell is open to the right, and nothing is divided by a part too small to count.
    visit(cell, Math.max(1e-9, covered));
  }
}

function massWithin(density: Float64Array, interval: Interval): number {
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
function priorDensity(typicalMs: number): Float64Array {
  const survival = (ageMs: number) => Math.exp(-Math.LN2 * (ageMs / typicalMs) ** 1.2);
  return cellArray().map((_, cell) => {
    const mass = survival(edgeMs(cell)) - survival(edgeMs(cell + 1));
    return 0.9999 * mass + 0.0001 / cellCount;
  });
}

// ---- estimates ----

/** Settled jobs as weights in cells. */
interface Sample {
  readonly cells: Float64Array;
  readonly weight: number;
}

/** How much the prior counts beside the jobs: a tenth of one. */
const priorWeight = 0.1;
const kernelWidths = [0.05, 0.15] as const;
const estimateCount = kernelWidths.length + 2;

/** Where in its interval a job ended, by the density so far, and by one part in twenty anywhere. */
function sampleOf(intervals: readonly Interval[], density: Float64Array): Sample {
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

function estimatesOf(sample: Sample, prior: Float64Array): Float64Array[] {
  const kernels = kernelWidths.map((width) => smooth(sample.cells, width));
  return [...kernels, lognormal(sample), onset(sample)].map((cells) => withPrior(cells, prior));
}

function withPrior(cells: Float64Array, prior: Float64Array): Float64Array {
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
function lognormal(sample: Sample): Float64Array {
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

// ---- learning ----

interface Weighing {
  readonly worthMs: number;
  readonly floorMs: number;
}

/** Estimates from the remembered jobs since one of them, and how well they have foretold. */
interface View {
  /** The index of the first job that counts. */
  since: number;
  /** Logarithms of likelihoods, faded. */
  scores: readonly number[];
  estimates: readonly Float64Array[];
}

/** The view that notices a change: it starts anew whenever nothing has changed for a while. */
interface RecentView extends View {
  /** Its lead over the whole view when that was least, and how many jobs there were by then. */
  lowestLead: number;
  turn: number;
}

/** What a recent view has to make good when it starts anew. */
const newViewPenalty = 2;
/** How much better the recent view must have foretold since the turn, as a logarithm. */
const clearRise = 5;
/** A rise that may become a clear one: the recent view goes on. */
const slightRise = 2;
/** How many recent jobs say enough, and how many have said that nothing has changed. */
const fewestRecent = 5;
const mostRecent = 10;
const bestOf = ({ scores }: View): number => Math.max(...scores);

function beginRecent(whole: View, since: number): RecentView {
  const scores = whole.scores.map((score) => score - newViewPenalty);
  return { since, turn: since, lowestLead: -newViewPenalty, scores, estimates: whole.estimates };
}

/** How long the jobs of one kind take, and the plan that follows from it. */
class Durations {
  readonly #prior: Float64Array;
  readonly #weighing: Weighing;
  #density: Float64Array;
  #plan: Plan;
  #jobs: Interval[] = [];
  #unplanned = 0;
  /** The age of the oldest job remembered; before there is one, the prior says what to do. */
  #longestMs = Infinity;
  readonly #whole: View;
  #recent: RecentView;

  constructor(typicalMs: number, weighing: Weighing) {
    this.#prior = priorDensity(typicalMs);
    this.#weighing = weighing;
    this.#density = withPrior(this.#prior, this.#prior);
    this.#plan = planOf(this.#density, weighing);
    const estimates = Array.from({ length: estimateCount }, () => this.#density);
    const scores = estimates.map(() => 0);
    this.#whole = { since: 0, scores, estimates };
    this.#recent = beginRecent(this.#whole, 0);
  }

  /** How long to wait at this age. Cheap, save just after jobs have settled. */
  delayMs(ageMs: number): number {
    // Of a hundred jobs one more changes little: planning is left until a few have settled.
    if (this.#unplanned > 0 && this.#unplanned >= this.#jobs.length / 32) this.#replan();
    const delayMs = delayAt(this.#plan, ageMs);
    if (this.#jobs.length === 0) return Math.min(delayMs, ageMs + blindMs(this.#weighing));
    return ageMs > this.#longestMs ? Math.min(delayMs, ageMs / 10) : delayMs;
  }

  learn(interval: Interval): void {
    // Found done long after: nearly every job ends in there, and nothing is learned.
    if (massWithin(this.#density, interval) > 0.95) return;
    for (const view of [this.#whole, this.#recent]) {
      view.scores = view.scores.map((score, index) => {
        const estimate = view.estimates[index] ?? this.#density;
        return score * 0.98 + Math.log(Math.max(1e-9, massWithin(estimate, interval)));
      });
    }
    this.#jobs.push(interval);
    if (this.#jobs.length > mostRemembered) this.#forget(1);
    this.#compare();
    this.#unplanned += 1;
  }

  #forget(count: number): void {
    this.#jobs = this.#jobs.slice(count);
    this.#recent.since = Math.max(0, this.#recent.since - count);
    this.#recent.turn = Math.max(0, this.#recent.turn - count);
  }

  /**
   * Forgets what was before a change (Page's test): the lead of the recent view falls while nothing
   * has changed, and rises from the change on.
   */
  #compare(): void {
    const recent = this.#recent;
    const lead = bestOf(recent) - bestOf(this.#whole);
    if (lead < recent.lowestLead) {
      recent.lowestLead = lead;
      recent.turn = this.#jobs.length;
    }
    const risen = lead - recent.lowestLead;
    if (risen > clearRise && this.#jobs.length - recent.turn >= fewestRecent) {
      this.#whole.scores = recent.scores;
      this.#whole.estimates = recent.estimates;
      this.#forget(recent.turn);
    } else if (risen > slightRise || this.#jobs.length - recent.since < mostRecent) {
      return;
    }
    this.#recent = beginRecent(this.#whole, this.#jobs.length);
  }

  #replan(): void {
    for (const view of [this.#whole, this.#recent]) {
      const jobs = this.#jobs.slice(view.since);
      view.estimates =
        jobs.length > 0
          ? estimatesOf(sampleOf(jobs, this.#density), this.#prior)
          : view.scores.map(() => this.#prior);
    }
    // A view of a few jobs is mostly prior, and would have polls made where no job ends.
    const isFormed = this.#jobs.length - this.#recent.since >= fewestRecent;
    this.#density = mixtureOf(isFormed ? [this.#whole, this.#recent] : [this.#whole]);
    this.#plan = planOf(this.#density, this.#weighing);
    this.#longestMs = this.#jobs.reduce((longest, { toMs }) => Math.max(longest, toMs), 0);
    this.#unplanned = 0;
  }
}

function mixtureOf(views: readonly View[]): Float64Array {
  const best = Math.max(...views.map(bestOf));
  const density = cellArray();
  for (const { scores, estimates } of views) {
    estimates.forEach((estimate, index) => {
      const likelihood = Math.exp(at(scores, index) - best);
      for (let cell = 0; cell < cellCount; cell += 1) {
        density[cell] = at(density, cell) + likelihood * at(estimate, cell);
      }
    });
  }
  const sum = total(density);
  return density.map((mass) => mass / sum);
}

// ---- planning ----

/** The best age for the poll after one at each of these ages. */
interface Plan {
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
function planOf(density: Float64Array, weighing: Weighing): Plan {
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

function delayAt({ agesMs, nextAgesMs, lastDelayMs }: Plan, ageMs: number): number {
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
