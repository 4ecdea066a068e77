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

/** Ours by theirs, in every round. */
export function ratiosOf(measured: Measured, key: string, by: string): number[] {
  const theirs = valuesOf(measured, by, key);
  return valuesOf(measured, "ours", key).map((each, round) => each / (theirs[round] ?? Number.NaN));
}

/** The ratio of the medians; min and max are those of the rounds' own ratios. */
export function ratioOf(measured: Measured, key: string, by: string): Spread {
  const medianOfAll = (contender: string) => spreadOf(valuesOf(measured, contender, key)).median;
  const { min, max } = spreadOf(ratiosOf(measured, key, by));
  return { median: medianOfAll("ours") / medianOfAll(by), min, max };
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

/** A number as it is read: whole, or to three digits. */
export function numberOf(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3);
}

const withUnit = (text: string, unit: Column["unit"]) => (unit === "" ? text : `${text} ${unit}`);

/** The median with its unit. */
export function medianOf({ median }: Spread, unit: Column["unit"]): string {
  return withUnit(numberOf(median / scales[unit]), unit);
}

/** The median with its unit, and in brackets how far the rounds went apart. */
export function amountOf(spread: Spread, unit: Column["unit"]): string {
  const { min, max } = spread;
  const said = (value: number) => numberOf(value / scales[unit]);
  return min === max
    ? medianOf(spread, unit)
    : `${medianOf(spread, unit)} (${said(min)} to ${said(max)})`;
}

const columnOf = ({ workload }: Measured, { key }: Target): Column => {
  const column = workload.columns.find((each) => each.key === key);
  if (column === undefined) throw new Error(`${workload.name} shows no ${key}`);
  return column;
};

/** A verdict in words: what, how much, and how much it may be. */
export function wordsOf(measured: Measured, { target, spread }: Verdict) {
  const column = columnOf(measured, target);
  const { by, limit } = target;
  const unit = by === undefined ? column.unit : "×";
  return {
    what: by === undefined ? column.label : `${column.label} ÷ ${by}`,
    median: medianOf(spread, unit),
    amount: amountOf(spread, unit),
    limit: `≤ ${withUnit(String(limit / scales[unit]), unit)}`,
  };
}
