import {
  amountOf,
  type Measured,
  numberOf,
  ratioOf,
  spreadOf,
  valuesOf,
  verdictsOf,
  wordsOf,
} from "./figures";

const isColoured = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code: number, text: string) => (isColoured ? `\x1b[${code}m${text}\x1b[0m` : text);

/** Columns under each other: the first to the left, the others to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("   "),
  );
}

/** The median, and in brackets how far the rounds went apart. */
export function cellOf(measured: Measured, contender: string, key: string): string {
  const unit = measured.workload.columns.find((column) => column.key === key)?.unit ?? "";
  const { median, min, max } = spreadOf(valuesOf(measured, contender, key));
  const range = min === max ? "" : ` (${amountOf(min, unit)} to ${amountOf(max, unit)})`;
  return `${amountOf(median, unit)}${range}`;
}

/** Ours by theirs, in the workload's first figure. */
export function ratioCellOf(measured: Measured, contender: string): string {
  const key = measured.workload.columns[0]?.key;
  if (contender === "ours" || key === undefined) return "";
  const { median, min, max } = ratioOf(measured, key, contender);
  return `${numberOf(median)} × (${numberOf(min)} to ${numberOf(max)})`;
}

/** A workload for the terminal: what each contender took, then what became of the targets. */
export function tableOf(measured: Measured): string {
  const { workload, rounds } = measured;
  const { title, contenders, columns } = workload;
  const isRace = contenders.length > 1;
  const head = ["", ...columns.map(({ label }) => label), ...(isRace ? ["ours ÷ it"] : [])];
  const body = contenders.map((contender) => [
    contender,
    ...columns.map(({ key }) => cellOf(measured, contender, key)),
    ...(isRace ? [ratioCellOf(measured, contender)] : []),
  ]);
  const verdicts = verdictsOf(measured).map((verdict) => {
    const { what, value, range, limit } = wordsOf(measured, verdict);
    const mark = verdict.met ? paint(32, "✔ met   ") : paint(31, "✘ MISSED");
    return `  ${mark} ${what}: ${value} (${range}), target ${limit}`;
  });
  return [
    paint(
      1,
      `${workload.name}: ${title} (${rounds.length === 1 ? "1 round" : `median of ${rounds.length} rounds, min to max`})`,
    ),
    ...aligned([head, ...body]).map((line) => `  ${line}`),
    ...verdicts,
    "",
  ].join("\n");
}
