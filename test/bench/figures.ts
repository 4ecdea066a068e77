import type { Figures } from "./stage";
import type { Column, Target, Workload } from "./workloads";

/** A workload with all that was measured, round by round. */
export interface Measured {
  readonly workload: Workload;
  readonly rounds: readonly Readonly<Record<string, Figures>>[];
}

/** The middle of several rounds, and how far they went apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What became of a target. */
export interface Verdict {
  readonly target: Target;
  readonly spread: Spread;
  readonly met: boolean;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [low = Number.NaN, high = Number.NaN] = [
    sorted[Math.floor(middle)],
    sorted[Math.ceil(middle)],
  ];
  return { median: (low + high) / 2, min: Math.min(...sorted), max: Math.max(...sorted) };
}

/** One contender's figure in every round. */
export function valuesOf({ rounds }: Measured, contender: string, key: string): number[] {
  return rounds.map((round) => round[contender]?.[key] ?? Number.NaN);
}

/** The ratio of the medians; min and max are those of the rounds' own ratios. */
export function ratioOf(measured: Measured, key: string, by: string): Spread {
  const ours = valuesOf(measured, "ours", key);
  const theirs = valuesOf(measured, by, key);
  const { min, max } = spreadOf(ours.map((each, round) => each / (theirs[round] ?? Number.NaN)));
  return { median: spreadOf(ours).median / spreadOf(theirs).median, min, max };
}

export function verdictsOf(measured: Measured): Verdict[] {
  return measured.workload.targets.map((target) => {
    const { key, by, limit } = target;
    const spread =
      by === undefined ? spreadOf(valuesOf(measured, "ours", key)) : ratioOf(measured, key, by);
    return { target, spread, met: spread.median <= limit };
  });
}

const scales = { ms: 1, MB: 1_000_000, KB: 1_000, bytes: 1, "×": 1, "": 1 } as const;

/** A number as it is read, to three digits. */
export function numberOf(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3);
}

export function amountOf(value: number, unit: Column["unit"]): string {
  return `${numberOf(value / scales[unit])}${unit === "" ? "" : ` ${unit}`}`;
}

const columnOf = ({ workload }: Measured, { key }: Target): Column => {
  const column = workload.columns.find((each) => each.key === key);
  if (column === undefined) throw new Error(`${workload.name} shows no ${key}`);
  return column;
};

/** A verdict in words: what, how much, and how much it may be. */
export function wordsOf(measured: Measured, { target, spread }: Verdict) {
  const { label, unit } = columnOf(measured, target);
  const say = (value: number) =>
    target.by === undefined ? amountOf(value, unit) : `${numberOf(value)} ×`;
  return {
    what: target.by === undefined ? label : `${label} ÷ ${target.by}`,
    value: say(spread.median),
    range: `${say(spread.min)} to ${say(spread.max)}`,
    limit: `≤ ${say(target.limit)}`,
  };
}
