import * as z from "zod/mini";
import { parseSize } from "../adapter/pixel-sizes";
import { once } from "../async/lazy";
import { parseOptions, positive } from "../request/options";
import { intervalOf } from "./bins";
import { Durations } from "./durations";
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
