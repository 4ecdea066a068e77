/** A column is not made narrower than this: less of it would tell nothing. */
const narrowest = 8;

/**
 * Rows in columns as wide as they need to be; numbers are pushed to the right by whoever writes them.
 *
 * @param width How many characters a line may have, as on a terminal: the widest columns are cut, the last one
 * first. Without it they are whole.
 */
export function tableOf(
  rows: readonly (readonly string[])[],
  width = Number.POSITIVE_INFINITY,
): readonly string[] {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = fitted(
    Array.from({ length: columns }, (_, column) =>
      Math.max(...rows.map((row) => widthOf(row[column] ?? ""))),
    ),
    width,
  );
  return rows.map((row) => {
    const cells = row.map((cell, column) => padded(cell, widths[column] ?? 0));
    return cut(cells.join("  ").trimEnd(), width);
  });
}

function fitted(widths: readonly number[], width: number): readonly number[] {
  const narrower = [...widths];
  const excess = () => narrower.reduce((sum, each) => sum + each + 2, -2) - width;
  // The last first, and then the widest.
  const order = [...narrower.keys()].sort((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0));
  for (const column of [widths.length - 1, ...order]) {
    const own = narrower[column] ?? 0;
    if (excess() > 0) narrower[column] = Math.min(own, Math.max(narrowest, own - excess()));
  }
  return narrower;
}

function padded(cell: string, width: number): string {
  const shown = cut(cell, width);
  return shown + " ".repeat(Math.max(0, width - widthOf(shown)));
}

function cut(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  return `${characters.slice(0, width - 1).join("")}…`;
}

/** How many characters a person sees. */
function widthOf(text: string): number {
  return [...text].length;
}
