import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Cost, ImageRequest, Operation } from "gpt-image-client";
import { costText, isOffList, offListNote } from "../support";

/** One picture of the sheet. */
export interface Entry {
  readonly provider: string;
  readonly operation: Operation;
  readonly request: ImageRequest;
  /** Beside the sheet. */
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly durationMs: number;
  readonly cost: Cost | undefined;
  /** The list price, where there is one. */
  readonly listed: Cost | undefined;
}

/** Writes `index.html` beside the pictures, and gives its absolute path. */
export async function writeContactSheet(
  directory: string,
  entries: readonly Entry[],
  totalMs: number,
): Promise<string> {
  const path = resolve(join(directory, "index.html"));
  await writeFile(path, page(entries, totalMs));
  return path;
}

function page(entries: readonly Entry[], totalMs: number): string {
  const providers = new Set(entries.map(({ provider }) => provider)).size;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gpt-image-client: contact sheet</title>
<style>${styles}</style>
</head>
<body>
<header>
<h1>Contact sheet</h1>
<p>Drawn by the <code>gpt-image-client</code> sandbox on this machine: these are its own costs, and nothing was billed.</p>
${entries.some(({ cost, listed }) => isOffList(cost, listed)) ? `<p>${escapeHtml(offListNote)}</p>\n` : ""}<dl>
${fact("Pictures", String(entries.length))}
${fact("Providers", String(providers))}
${fact("Time in all", seconds(totalMs))}
${fact("Cost in all", totalText(entries))}
</dl>
</header>
<main>
${section("Generated", "One call, whoever draws: only the client’s provider differs.", entries, "generate")}
${section("Edited", "Each from its provider’s picture above, the image in its code.", entries, "edit")}
</main>
</body>
</html>
`;
}

function section(
  title: string,
  caption: string,
  entries: readonly Entry[],
  operation: Operation,
): string {
  const cards = entries.filter((entry) => entry.operation === operation).map(card);
  return `<section>
<h2>${escapeHtml(title)}</h2>
<p>${escapeHtml(caption)}</p>
<div class="grid">
${cards.join("\n")}
</div>
</section>`;
}

function card(entry: Entry): string {
  const { provider, operation, request, file, width, height, durationMs, cost, listed } = entry;
  const href = encodeURI(file);
  return `<article>
<a href="${escapeHtml(href)}"><img src="${escapeHtml(href)}" width="${width}" height="${height}" alt="${escapeHtml(request.prompt)}"></a>
<div class="body">
<h3>${escapeHtml(provider)} <span>${escapeHtml(operation)}</span></h3>
<dl>
${fact("Time", seconds(durationMs))}
${fact("Size", `${width} × ${height}`)}
${fact("Cost", costText(cost, listed), cost === undefined ? "unknown" : undefined)}
</dl>
<pre><code>${escapeHtml(asCode(entry))}</code></pre>
</div>
</article>`;
}

function fact(name: string, value: string, className?: string): string {
  const attribute = className === undefined ? "" : ` class="${className}"`;
  return `<div><dt>${escapeHtml(name)}</dt><dd${attribute}>${escapeHtml(value)}</dd></div>`;
}

/** The call as one would write it. */
function asCode({ operation, request }: Entry): string {
  const fields = Object.entries(request).map(([name, value]) => {
    if (name !== "images") return `  ${name}: ${JSON.stringify(value)},`;
    // The input is the picture made before.
    return "  images: [image],";
  });
  return `await client.${operation}({\n${fields.join("\n")}\n});`;
}

/** Dollars and credits do not add up, and what nobody reported is not nothing. */
function totalText(entries: readonly Entry[]): string {
  const sums = new Map<string, number>();
  for (const { cost } of entries) {
    if (cost !== undefined) sums.set(cost.unit, (sums.get(cost.unit) ?? 0) + cost.amount);
  }
  const known = [...sums].map(([unit, amount]) => costText({ amount, unit, basis: "reported" }));
  const unknown = entries.filter(({ cost }) => cost === undefined).length;
  return `${known.join(" + ")}${unknown > 0 ? `, ${unknown} not reported` : ""}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

const styles = `
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #fff; --line: #e4e4df; --text: #1c1c1a; --quiet: #6d6d66; --code: #f3f3f0;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #131312; --card: #1c1c1b; --line: #30302d; --text: #ecece8; --quiet: #9b9b93; --code: #252523; }
}
* { box-sizing: border-box; margin: 0; }
body {
  max-width: 1440px; margin: 0 auto; padding: clamp(20px, 4vw, 48px);
  background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
h1 { font-size: 28px; font-weight: 650; letter-spacing: -.02em; line-height: 1.2; }
p { color: var(--quiet); max-width: 90ch; }
header p { margin-top: 6px; }
dt { color: var(--quiet); font-size: 12px; }
dd { font-variant-numeric: tabular-nums; }
header dl { display: flex; flex-wrap: wrap; gap: 12px 40px; margin-top: 22px; padding: 16px 0; border-block: 1px solid var(--line); }
header dd { font-size: 18px; font-weight: 600; letter-spacing: -.01em; }
h2 { margin-top: 34px; font-size: 17px; font-weight: 600; }
.grid { display: grid; margin-top: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 268px), 1fr)); gap: 20px; }
article { display: flex; flex-direction: column; overflow: hidden; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
article a { display: block; }
article a:focus-visible { outline: 3px solid #4a7dff; outline-offset: -3px; }
img { display: block; width: 100%; height: auto; }
.body { display: flex; flex: 1; flex-direction: column; gap: 12px; padding: 16px; }
h3 { display: flex; align-items: baseline; justify-content: space-between; gap: 8px; font-size: 15px; font-weight: 600; }
h3 span { color: var(--quiet); font-size: 13px; font-weight: 400; }
article dl { display: grid; grid-template-columns: 1fr 2fr; gap: 4px 14px; }
article dl div:last-child { grid-column: 1 / -1; }
article dd { font-size: 14px; }
.unknown { color: var(--quiet); font-style: italic; }
pre { flex: 1; padding: 12px; background: var(--code); border-radius: 8px; font-size: 12.5px; line-height: 1.55; white-space: pre-wrap; overflow-wrap: anywhere; }
`;
