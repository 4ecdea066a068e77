import { type Measured, ratioOf, spreadOf, valuesOf, verdictsOf, wordsOf } from "./figures";
import { cellOf, ratioCellOf } from "./table";

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
.plot { margin: 1rem 0; display: grid; gap: .6rem; }
.row { display: grid; grid-template-columns: 15rem 1fr 13rem; gap: .25rem 1rem; align-items: center; }
.row > :last-child { text-align: right; font-variant-numeric: tabular-nums; font-size: .875rem; }
.track { position: relative; height: 1.25rem; background: var(--track); border-radius: 3px; }
.track > * { position: absolute; top: 50%; transform: translate(-50%, -50%); }
.span { height: 2px; transform: translateY(-50%) !important; background: currentColor; opacity: .6; }
.dot { width: 6px; height: 6px; border-radius: 50%; background: currentColor; opacity: .45; }
.median { width: 11px; height: 11px; border-radius: 50%; background: currentColor; }
.limit { width: 2px; height: 100%; background: var(--ink); }
.met { color: var(--met); } .missed { color: var(--missed); } .other { color: var(--other); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { font-weight: 600; }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr auto; }
  .row > .track { grid-column: 1 / -1; grid-row: 2; } }
`;

const escaped = (text: string) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** A share of the track's width; what lies outside is drawn at its edge. */
const percent = (share: number) => `${(Math.min(1, Math.max(0, share)) * 100).toFixed(2)}%`;

/** Values on a track, from 0 or on a logarithmic scale, with the limit as a line. */
function track(
  values: readonly number[],
  median: number,
  shareOf: (value: number) => number,
  limit?: number,
): string {
  const finite = values.filter(Number.isFinite);
  const [min, max] = [Math.min(...finite), Math.max(...finite)];
  const at = (name: string, value: number) =>
    `<span class="${name}" style="left:${percent(shareOf(value))}"></span>`;
  const width = percent(shareOf(max) - shareOf(min));
  return [
    '<div class="track">',
    ...(limit === undefined ? [] : [at("limit", limit)]),
    `<span class="span" style="left:${percent(shareOf(min))};width:${width}"></span>`,
    ...finite.map((value) => at("dot", value)),
    at("median", median),
    "</div>",
  ].join("");
}

function row(name: string, kind: string, drawn: string, said: string): string {
  return `<div class="row"><div>${escaped(name)}</div><div class="track-holder ${kind}">${drawn}</div><div>${escaped(said)}</div></div>`;
}

/** Every target on one scale: its figure by its limit, from an eighth to eight times. */
function targetPlot(all: readonly Measured[]): string {
  const share = (value: number) => (Math.log2(value) + 3) / 6;
  const rows = all.flatMap((measured) =>
    verdictsOf(measured).map((verdict) => {
      const { target, spread, met } = verdict;
      const { what, value, limit } = wordsOf(measured, verdict);
      // A limit of nothing has no ratio: it is met or far off.
      const by = (each: number) =>
        target.limit === 0 ? (each === 0 ? 1 : 8) : each / target.limit;
      const drawn = track([by(spread.min), by(spread.max)], by(spread.median), share, 1);
      const name = `${measured.workload.name}: ${what}`;
      return row(name, met ? "met" : "missed", drawn, `${met ? "✔" : "✘"} ${value}, ${limit}`);
    }),
  );
  return `<div class="plot">${rows.join("")}</div>`;
}

/** What each contender took of the workload's first figure, every round a dot. */
function contenderPlot(measured: Measured): string {
  const { contenders, columns } = measured.workload;
  const [column] = columns;
  if (column === undefined || contenders.length < 2) return "";
  const { key } = column;
  const most = Math.max(...contenders.flatMap((each) => valuesOf(measured, each, key)));
  const rows = contenders.map((contender) => {
    const values = valuesOf(measured, contender, key);
    const drawn = track(values, spreadOf(values).median, (value) => value / most);
    const kind = contender === "ours" ? "ours" : "other";
    return row(contender, kind, drawn, cellOf(measured, contender, key));
  });
  return `<div class="plot">${rows.join("")}</div>`;
}

/** Ours by each other's, round by round, where 1 is as much as theirs. */
function ratioPlot(measured: Measured): string {
  const { contenders, columns, targets } = measured.workload;
  const key = columns[0]?.key;
  const others = contenders.filter((each) => each !== "ours");
  if (key === undefined || others.length === 0) return "";
  const ours = valuesOf(measured, "ours", key);
  const ratios = others.map((contender) => {
    const theirs = valuesOf(measured, contender, key);
    return ours.map((each, round) => each / (theirs[round] ?? Number.NaN));
  });
  const limitOf = (contender: string) =>
    targets.find((target) => target.key === key && target.by === contender)?.limit;
  const most = Math.max(...ratios.flat(), ...others.map((each) => limitOf(each) ?? 0)) * 1.05;
  const rows = others.map((contender, at) => {
    const { median } = ratioOf(measured, key, contender);
    const limit = limitOf(contender);
    const kind = limit === undefined ? "other" : median <= limit ? "met" : "missed";
    const drawn = track(ratios[at] ?? [], median, (value) => value / most, limit);
    const said = `${ratioCellOf(measured, contender)}${limit === undefined ? "" : `, ≤ ${limit}`}`;
    return row(`ours ÷ ${contender}`, kind, drawn, said);
  });
  return `<div class="plot">${rows.join("")}</div>`;
}

function table(measured: Measured): string {
  const { contenders, columns } = measured.workload;
  const cells = (tag: string, texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join("")}</tr>`;
  const head = cells("th", ["", ...columns.map(({ label }) => label)]);
  const rows = contenders.map((contender) =>
    cells("td", [contender, ...columns.map(({ key }) => cellOf(measured, contender, key))]),
  );
  return `<div class="wide"><table>${head}${rows.join("")}</table></div>`;
}

function section(measured: Measured): string {
  const { workload, rounds } = measured;
  const many = rounds.length === 1 ? "1 round" : `Median of ${rounds.length} rounds, min to max`;
  return [
    `<h2>${escaped(workload.title)}</h2>`,
    `<p class="faint">${escaped(workload.method)} ${many}.</p>`,
    contenderPlot(measured),
    ratioPlot(measured),
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
<p class="faint">Each figure by its limit, on a logarithmic scale from ⅛ to 8: left of the line it is met.</p>
${targetPlot(all)}
${all.map(section).join("\n")}
</html>
`;
}
