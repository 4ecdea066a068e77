/** Ten minutes of the day. */
export interface Slot {
  /** Delivered, by client. */
  readonly counts: Partial<Record<string, number>>;
  asked: number;
  paid: number;
  best: number;
}

const colours: readonly string[] = ["#4c78a8", "#72b7b2", "#eeca3b", "#e45756"];
const [width, left, right] = [960, 64, 28];
const [top, areaHeight, gap, lineHeight] = [64, 240, 84, 140];
const bottom = top + areaHeight + gap + lineHeight;
const x = (hour: number) => left + (hour / 24) * (width - left - right);

/** The day as an SVG: who delivered, and what a picture cost beside the cheapest that was up. */
export function dayPlot(
  slots: readonly Slot[],
  names: readonly string[],
  faults: readonly { name: string; kind: string; from: number; to: number }[],
): string {
  const most = Math.max(...slots.map(({ asked }) => asked)) * 1.05;
  const y = (count: number) => top + areaHeight * (1 - count / most);
  const below = (slot: Slot, to: number) =>
    names.slice(0, to).reduce((sum, name) => sum + (slot.counts[name] ?? 0), 0);
  const hourOf = (index: number) => (index + 0.5) / 6;
  const areas = names.map((name, place) => {
    const upper = slots.map(
      (slot, index) => `${x(hourOf(index)).toFixed(1)},${y(below(slot, place + 1)).toFixed(1)}`,
    );
    const lower = slots.map(
      (slot, index) => `${x(hourOf(index)).toFixed(1)},${y(below(slot, place)).toFixed(1)}`,
    );
    return `<polygon points="${[...upper, ...lower.toReversed()].join(" ")}" fill="${colours[place]}"><title>${name}</title></polygon>`;
  });
  const asked = slots.map(
    ({ asked: count }, index) => `${x(hourOf(index)).toFixed(1)},${y(count).toFixed(1)}`,
  );
  const bands = faults.map(({ name, kind, from, to }, index) => {
    const at = x(from);
    const label = `${name}: ${kind}`;
    return `<rect x="${at}" y="${top}" width="${x(to) - at}" height="${bottom - top}" fill="#888" opacity="0.18"/>
<text x="${(at + x(to)) / 2}" y="${top - 8 - 13 * (index % 2)}" text-anchor="middle">${label}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 40}" font-family="sans-serif" font-size="12" fill="#333">
<title>A simulated day: pictures delivered in ten minutes, by client</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${left}" y="22" font-size="15">A simulated day: pictures delivered in ten minutes, by client (prices rise upwards)</text>
${bands.join("\n")}
${areas.join("\n")}
<polyline points="${asked.join(" ")}" fill="none" stroke="#222" stroke-width="1.5"/>
${ticks(most / 1.05, y, (value) => String(Math.round(value)))}
${legend(names)}
${prices(slots, hourOf)}
${hours()}
</svg>
`;
}

/** What a delivered picture cost, and what it would have cost at the cheapest able and up. */
function prices(slots: readonly Slot[], hourOf: (index: number) => number): string {
  const start = top + areaHeight + gap;
  const of = (slot: Slot, sum: number) => {
    const count = Object.values(slot.counts).reduce<number>((all, each) => all + (each ?? 0), 0);
    return count === 0 ? 0 : sum / count;
  };
  const most = 0.1;
  const y = (price: number) => start + lineHeight * (1 - price / most);
  const line = (sumOf: (slot: Slot) => number, style: string) =>
    `<polyline points="${slots.map((slot, index) => `${x(hourOf(index)).toFixed(1)},${y(of(slot, sumOf(slot))).toFixed(1)}`).join(" ")}" fill="none" ${style}/>`;
  return `<text x="${left}" y="${start - 24}" font-size="15">USD a picture: paid (red), and at the cheapest client able and up at each arrival (black)</text>
${ticks(most, y, (value) => value.toFixed(3))}
${line(({ paid }) => paid, 'stroke="#e45756" stroke-width="2.5"')}
${line(({ best }) => best, 'stroke="#222" stroke-width="1"')}`;
}

function ticks(
  most: number,
  y: (value: number) => number,
  text: (value: number) => string,
): string {
  return [0, 0.5, 1]
    .map((share) => {
      const at = y(most * share);
      return `<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}" stroke="#ccc" stroke-width="0.5"/>
<text x="${left - 8}" y="${at + 4}" text-anchor="end">${text(most * share)}</text>`;
    })
    .join("\n");
}

function hours(): string {
  return Array.from({ length: 9 }, (_, index) => index * 3)
    .map((hour) => `<text x="${x(hour)}" y="${bottom + 20}" text-anchor="middle">${hour}:00</text>`)
    .join("\n");
}

function legend(names: readonly string[]): string {
  const y = top + areaHeight + 24;
  const items = names.map((name, index) => {
    const at = left + index * 90;
    return `<rect x="${at}" y="${y - 10}" width="12" height="12" fill="${colours[index]}"/><text x="${at + 18}" y="${y}">${name}</text>`;
  });
  const at = left + names.length * 90;
  return `${items.join("\n")}
<line x1="${at}" x2="${at + 14}" y1="${y - 4}" y2="${y - 4}" stroke="#222" stroke-width="1.5"/><text x="${at + 20}" y="${y}">ordered</text>`;
}
