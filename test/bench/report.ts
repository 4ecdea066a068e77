import {
  type Measured,
  medianOf,
  numberOf,
  ratioOf,
  ratiosOf,
  spreadOf,
  valuesOf,
  verdictsOf,
  wordsOf,
} from "./figures";
import { cellsOf } from "./table";

/** Where and with what it was measured. */
export interface Environment {
  readonly node: string;
  readonly processor: string;
  readonly system: string;
  /** Of the machine as it began: over 1, 5 and 15 minutes. */
  readonly load: string;
  readonly at: string;
  readonly versions: Readonly<Record<string, string>>;
}

const style = `
:root { color-scheme: light dark;
  --page: #fbfaf8; --ink: #22201d; --faint: #6d6861; --line: #ddd8d0; --track: #efece6;
  --met: #1a7f4b; --missed: #c2372e; --other: #5b6c8a; }
@media (prefers-color-scheme: dark) { :root {
  --page: #171614; --ink: #ece8e1; --faint: #a39d93; --line: #3a3733; --track: #24221f;
  --met: #4cc38a; --missed: #ff7a70; --other: #93a7cc; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 3rem 0 .25rem; }
p { margin: .25rem 0; } .faint { color: var(--faint); font-size: .875rem; }
.caption { margin: 1rem 0 .4rem; color: var(--faint); font-size: .875rem; }
.plot { display: grid; gap: .4rem; font-size: .875rem; }
.row { display: grid; grid-template-columns: 16rem 1fr 11rem; gap: .2rem 1rem; align-items: center; }
.row > :last-child { text-align: right; font-variant-numeric: tabular-nums; }
.track { position: relative; height: 1.25rem; background: var(--track); border-radius: 3px; }
.track > * { position: absolute; top: 50%; transform: translate(-50%, -50%); }
.span { height: 2px; transform: translateY(-50%) !important; background: currentColor; opacity: .6; }
.dot { width: 6px; height: 6px; border-radius: 50%; background: currentColor; opacity: .45; }
.median { width: 11px; height: 11px; border-radius: 50%; background: currentColor; }
.limit { width: 2px; height: 100%; background: var(--ink); }
.met { color: var(--met); } .missed { color: var(--missed); } .other { color: var(--other); }
.wide { overflow-x: auto; margin-top: 1.25rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { font-weight: 600; }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr auto; }
  .row > .track { grid-column: 1 / -1; grid-row: 2; } }
`;

const escaped = (text: string) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** Values on a track, with the limit as a line. */
function track(
  values: readonly number[],
  median: number,
  shareOf: (value: number) => number,
  limit?: number,
): string {
  const placed = (value: number) => Math.min(1, Math.max(0, shareOf(value)));
  const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
  const at = (name: string, value: number) =>
    `<span class="${name}" style="left:${percent(placed(value))}"></span>`;
  const shares = values.map(placed);
  const [first, last] = [Math.min(...shares), Math.max(...shares)];
  return [
    ...(limit === undefined ? [] : [at("limit", limit)]),
    `<span class="span" style="left:${percent(first)};width:${percent(last - first)}"></span>`,
    ...values.map((value) => at("dot", value)),
    at("median", median),
  ].join("");
}

interface Row {
  readonly name: string;
  readonly kind: "met" | "missed" | "ours" | "other";
  readonly drawn: string;
  readonly said: string;
}

function plot(caption: string, rows: readonly Row[]): string {
  const drawn = rows.map(
    ({ name, kind, drawn, said }) =>
      `<div class="row"><span>${escaped(name)}</span><div class="track ${kind}">${drawn}</div><span>${escaped(said)}</span></div>`,
  );
  return `<p class="caption">${escaped(caption)}</p><div class="plot">${drawn.join("")}</div>`;
}

/** Every target on one scale: its figure by its limit. */
function targetPlot(all: readonly Measured[]): string {
  const share = (value: number) => (Math.log2(value) + 3) / 6;
  const rows = all.flatMap((measured) =>
    verdictsOf(measured).map((verdict): Row => {
      const { target, spread, met } = verdict;
      const { what, median, limit } = wordsOf(measured, verdict);
      // A limit of nothing has no ratio: it is met, or far off.
      const by = (value: number) =>
        target.limit === 0 ? (value === 0 ? 1 : 8) : value / target.limit;
      return {
        name: `${measured.workload.name}: ${what}`,
        kind: met ? "met" : "missed",
        drawn: track([by(spread.min), by(spread.max)], by(spread.median), share, 1),
        said: `${met ? "✔" : "✘"} ${median}, ${limit}`,
      };
    }),
  );
  return plot("Figure by limit, logarithmic, from ⅛ to 8: left of the line it is met", rows);
}

/** What each contender took of the workload's first figure, and ours by theirs in every round. */
function contenderPlots(measured: Measured): string {
  const { contenders, columns, targets } = measured.workload;
  const [column] = columns;
  if (column === undefined || contenders.length < 2) return "";
  const { key, unit, label } = column;
  const most = Math.max(...contenders.flatMap((each) => valuesOf(measured, each, key)));
  const amounts = contenders.map((contender): Row => {
    const values = valuesOf(measured, contender, key);
    const spread = spreadOf(values);
    return {
      name: contender,
      kind: contender === "ours" ? "ours" : "other",
      drawn: track(values, spread.median, (value) => value / most),
      said: medianOf(spread, unit),
    };
  });
  const others = contenders.filter((each) => each !== "ours");
  const limitOf = (contender: string) =>
    targets.find((target) => target.key === key && target.by === contender)?.limit;
  const ratios = others.map((contender) => ratiosOf(measured, key, contender));
  const highest = 1.05 * Math.max(1, ...ratios.flat(), ...others.map((each) => limitOf(each) ?? 0));
  const compared = others.map((contender, at): Row => {
    const { median } = ratioOf(measured, key, contender);
    const limit = limitOf(contender);
    return {
      name: `ours ÷ ${contender}`,
      kind: limit === undefined ? "other" : median <= limit ? "met" : "missed",
      drawn: track(ratios[at] ?? [], median, (value) => value / highest, limit),
      said: `${numberOf(median)} ×${limit === undefined ? "" : `, ≤ ${limit} ×`}`,
    };
  });
  return [
    plot(`${label}, from 0 to ${medianOf(spreadOf([most]), unit)}`, amounts),
    plot(`Ours by theirs, from 0 to ${numberOf(highest)}`, compared),
  ].join("");
}

function table(measured: Measured): string {
  const [head, ...rows] = cellsOf(measured).map((cells, at) => {
    const tag = at === 0 ? "th" : "td";
    return `<tr>${cells.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join("")}</tr>`;
  });
  return `<div class="wide"><table>${head}${rows.join("")}</table></div>`;
}

function section(measured: Measured): string {
  const { workload, rounds } = measured;
  const many = rounds.length === 1 ? "1 round" : `Median of ${rounds.length} rounds, min to max`;
  return [
    `<h2>${escaped(workload.title)}</h2>`,
    `<p class="faint">${escaped(workload.method)} ${many}.</p>`,
    contenderPlots(measured),
    table(measured),
  ].join("\n");
}

/** Everything on one page that needs nothing else. */
export function reportOf(environment: Environment, all: readonly Measured[]): string {
  const { node, processor, system, load, at, versions } = environment;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const verdicts = all.flatMap(verdictsOf);
  const met = verdicts.filter((verdict) => verdict.met).length;
  const facts = `Node ${node} on ${processor}, ${system}, load ${load} as it began; ${at}.`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gpt-image-client: the benchmark</title>
<style>${style}</style>
<h1>${met} of ${verdicts.length} targets met</h1>
<p class="faint">${escaped(facts)}</p>
<p class="faint">${escaped(named.join(", "))}.</p>
<p class="faint">Every run of every contender is a process of its own, in turns with the others; the server is another. CPU is user and system time of the process over the work alone. Memory is the operating system’s own peak, above what the process held when it was ready. MB and KB are powers of ten. A small dot is a round, a large one the median; the upright line is the target.</p>
<h2>The targets</h2>
${targetPlot(all)}
${all.map(section).join("\n")}
</html>
`;
}
