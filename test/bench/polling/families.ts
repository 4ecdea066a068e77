/** A distribution of durations, in milliseconds. */
export interface Family {
  readonly name: string;
  /** Of the median, or close to it. */
  readonly scaleMs: number;
  /** The share of jobs that have ended at an age. */
  ended(ageMs: number): number;
  sample(random: () => number): number;
}

/** The standard normal distribution function (Abramowitz and Stegun 26.2.17, to 1e-7). */
function normal(deviations: number): number {
  const size = Math.abs(deviations);
  const t = 1 / (1 + 0.2316419 * size);
  const series =
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-size * size) / 2) / Math.sqrt(2 * Math.PI)) * series;
  return deviations > 0 ? 1 - tail : tail;
}

const gaussian = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

export function lognormal(scaleMs: number, sigma: number): Family {
  return {
    name: `lognormal σ ${sigma}`,
    scaleMs,
    ended: (ageMs) => (ageMs <= 0 ? 0 : normal(Math.log(ageMs / scaleMs) / sigma)),
    sample: (random) => scaleMs * Math.exp(sigma * gaussian(random)),
  };
}

function mixture(name: string, scaleMs: number, share: number, first: Family, second: Family) {
  return {
    name,
    scaleMs,
    ended: (ageMs: number) => share * first.ended(ageMs) + (1 - share) * second.ended(ageMs),
    sample: (random: () => number) => (random() < share ? first : second).sample(random),
  };
}

/** Three of five in a narrow mode, the rest three times as slow. */
export function bimodal(scaleMs: number): Family {
  const [quick, slow] = [lognormal(0.7 * scaleMs, 0.15), lognormal(2 * scaleMs, 0.15)];
  return mixture("bimodal 60:40", scaleMs, 0.6, quick, slow);
}

/** Two equal modes, four times apart. */
export function bimodalEven(scaleMs: number): Family {
  const [quick, slow] = [lognormal(0.4 * scaleMs, 0.2), lognormal(1.6 * scaleMs, 0.2)];
  return mixture("bimodal 50:50", scaleMs, 0.5, quick, slow);
}

/** From half the median to one and a half. */
export function uniform(scaleMs: number): Family {
  return {
    name: "uniform",
    scaleMs,
    ended: (ageMs) => Math.min(1, Math.max(0, ageMs / scaleMs - 0.5)),
    sample: (random) => scaleMs * (0.5 + random()),
  };
}

/** A tail without a variance, and a sharp edge before it. */
export function pareto(scaleMs: number): Family {
  const exponent = 1.5;
  const leastMs = scaleMs * 2 ** (-1 / exponent);
  return {
    name: "Pareto α 1.5",
    scaleMs,
    ended: (ageMs) => (ageMs <= leastMs ? 0 : 1 - (leastMs / ageMs) ** exponent),
    sample: (random) => leastMs * (1 - random()) ** (-1 / exponent),
  };
}

export function exponential(scaleMs: number): Family {
  const meanMs = scaleMs / Math.LN2;
  return {
    name: "exponential",
    scaleMs,
    ended: (ageMs) => (ageMs <= 0 ? 0 : -Math.expm1(-ageMs / meanMs)),
    sample: (random) => -meanMs * Math.log(1 - random()),
  };
}

/** The limits of the issue: mean of the ratio to the optimum after 30 jobs. */
export interface Entry {
  readonly make: (scaleMs: number) => Family;
  readonly limit?: number;
}

export const entries: readonly Entry[] = [
  { make: (scaleMs) => lognormal(scaleMs, 0.2), limit: 1.12 },
  { make: (scaleMs) => lognormal(scaleMs, 0.35), limit: 1.12 },
  { make: (scaleMs) => lognormal(scaleMs, 0.6), limit: 1.12 },
  { make: bimodal, limit: 1.2 },
  { make: bimodalEven, limit: 1.2 },
  { make: uniform, limit: 1.2 },
  { make: (scaleMs) => lognormal(scaleMs, 1.2), limit: 1.25 },
  { make: pareto, limit: 1.25 },
  // The issue sets no limit here: a fixed interval is the optimum, and there is nothing to learn.
  { make: exponential },
];
