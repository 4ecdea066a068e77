import {
  amountOf,
  type Measured,
  ratioOf,
  spreadOf,
  valuesOf,
  verdictsOf,
  wordsOf,
} from "./figures";
import type { Column } from "./workloads";

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

/** What a contender took of one figure. */
export function cellOf(measured: Measured, contender: string, { key, unit }: Column): string {
  return amountOf(spreadOf(valuesOf(measured, contender, key)), unit);
}

/** Head and rows: each contender with each figure, and ours by theirs in the first of them. */
export function cellsOf(measured: Measured): string[][] {
  const { contenders, columns } = measured.workload;
  const [first] = columns;
  const isRace = contenders.length > 1 && first !== undefined;
  const head = ["", ...columns.map(({ label }) => label)];
  if (isRace) head.push(`${first.label}: ours ÷ it`);
  const rows = contenders.map((contender) => {
    const row = [contender, ...columns.map((column) => cellOf(measured, contender, column))];
    if (!isRace) return row;
    const ratio = ratioOf(measured, first.key, contender);
    return [...row, contender === "ours" ? "" : amountOf(ratio, "×")];
  });
  return [head, ...rows];
}

/** A workload for the terminal: what each contender took, then what became of the targets. */
export function tableOf(measured: Measured): string {
  const { workload, rounds } = measured;
  const verdicts = verdictsOf(measured).map((verdict) => {
    const { what, amount, limit } = wordsOf(measured, verdict);
    const mark = verdict.met ? paint(32, "✔ met   ") : paint(31, "✘ MISSED");
    return `  ${mark} ${what}: ${amount}, target ${limit}`;
  });
  const many = rounds.length === 1 ? "1 round" : `median of ${rounds.length} rounds, min to max`;
  return [
    paint(1, `${workload.name}: ${workload.title} (${many})`),
    ...aligned(cellsOf(measured)).map((line) => `  ${line}`),
    ...verdicts,
    "",
  ].join("\n");
}
