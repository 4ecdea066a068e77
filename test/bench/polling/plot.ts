import type { Outcome } from "./truth";

export interface Series {
  readonly name: string;
  readonly kind: "line" | "point";
  readonly points: readonly Outcome[];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

const colours = ["#111", "#0a7", "#a63", "#999", "#d33", "#e80", "#36c", "#939"];
const [width, height, margin] = [380, 300, 42];
const pollRange = [3, 300] as const;
const delayRange = [0.2, 20] as const;

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

type Range = readonly [least: number, most: number];
const share = (value: number, [least, most]: Range) =>
  Math.log(value / least) / Math.log(most / least);
const left = (polls: number) => margin + (width - 2 * margin) * share(polls, pollRange);
const top = (seconds: number) =>
  height - margin - (height - 2 * margin) * share(seconds, delayRange);

const isWithin = ({ polls, delayMs }: Outcome) =>
  polls >= pollRange[0] &&
  polls <= pollRange[1] &&
  delayMs / 1000 >= delayRange[0] &&
  delayMs / 1000 <= delayRange[1];

const place = ({ polls, delayMs }: Outcome) =>
  [left(polls).toFixed(1), top(delayMs / 1000).toFixed(1)] as const;

function drawn({ name, kind, points }: Series, index: number): string {
  const colour = colours[index % colours.length];
  const shown = points.filter(isWithin).toSorted((a, b) => a.polls - b.polls);
  const title = `<title>${escaped(name)}</title>`;
  if (kind === "line") {
    const path = shown.map((point) => place(point).join(",")).join(" ");
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.8" points="${path}">${title}</polyline>`;
  }
  return shown
    .map(place)
    .map(([x, y]) => `<circle cx="${x}" cy="${y}" r="4" fill="${colour}">${title}</circle>`)
    .join("");
}

function axes(): string {
  const across = [4, 8, 16, 32, 64, 128, 256].map((polls) => {
    const x = left(polls).toFixed(1);
    return `<line x1="${x}" x2="${x}" y1="${margin}" y2="${height - margin}"/><text x="${x}" y="${height - margin + 15}" text-anchor="middle">${polls}</text>`;
  });
  const up = [0.25, 0.5, 1, 2, 4, 8, 16].map((seconds) => {
    const y = top(seconds).toFixed(1);
    return `<line x1="${margin}" x2="${width - margin}" y1="${y}" y2="${y}"/><text x="${margin - 5}" y="${Number(y) + 4}" text-anchor="end">${seconds}</text>`;
  });
  return `<g class="grid">${across.join("")}${up.join("")}</g>`;
}

function panel({ title, series }: Panel): string {
  return `<figure><svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<text x="${width / 2}" y="22" text-anchor="middle" class="title">${escaped(title)}</text>${axes()}
<text x="${width / 2}" y="${height - 6}" text-anchor="middle">polls a job</text>
<text transform="translate(12 ${height / 2}) rotate(-90)" text-anchor="middle">mean delay, seconds</text>
${series.map(drawn).join("\n")}</svg></figure>`;
}

type Row = Readonly<Record<string, string>>;

function tableOf([title, rows]: readonly [title: string, rows: readonly Row[]]): string {
  const names = Object.keys(rows[0] ?? {});
  const cells = (row: Row) => names.map((name) => `<td>${escaped(row[name] ?? "")}</td>`).join("");
  return `<h2>${escaped(title)}</h2><table><tr>${names
    .map((name) => `<th>${escaped(name)}</th>`)
    .join("")}</tr>${rows.map((row) => `<tr>${cells(row)}</tr>`).join("")}</table>`;
}

/** One page that needs nothing else. */
export function report(
  panels: readonly Panel[],
  tables: readonly (readonly [title: string, rows: readonly Row[]])[],
): string {
  const legend = (panels[0]?.series ?? [])
    .map(({ name }, index) => `<span><i style="background:${colours[index]}"></i>${name}</span>`)
    .join("");
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Poll schedules</title><style>
body{font:14px system-ui,sans-serif;margin:24px;max-width:1240px}figure{display:inline-block;margin:4px}
svg text{font-size:11px;fill:#444}svg .title{font-size:14px;fill:#111}.grid line{stroke:#e4e4e4}
table{border-collapse:collapse}td,th{padding:3px 9px;border-bottom:1px solid #ddd;text-align:left}
span{margin-right:16px}i{display:inline-block;width:12px;height:12px;margin-right:5px}</style>
<h1>Delay against polls a job</h1><p>${legend}</p>
<p>All keep a floor of 1 s between two polls, but for the fixed 0.5 s, which no optimum here competes with.</p>
${panels.map(panel).join("\n")}${tables.map(tableOf).join("\n")}</html>
`;
}
