import { at, cellArray, cellCount, type Interval, massWithin, priorDensity, total } from "./bins";
import { estimateCount, estimatesOf, mostRemembered, sampleOf, withPrior } from "./estimates";
import { blindMs, delayAt, type Plan, planOf, type Weighing } from "./poll-plan";

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
export class Durations {
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
