/** A longer name is none that somebody has misspelt, and would take long to compare. */
const longestName = 40;

/**
 * The name that was probably meant: the one with the fewest letters to change, while those are at most a
 * third of it. Case, `_` and `-` do not count.
 */
export function nearestTo(name: string, names: readonly string[]): string | undefined {
  if (name.length > longestName) return undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  let nearest: string | undefined;
  for (const each of names) {
    const changes = distance(plain(name), plain(each));
    if (changes >= Math.min(least, each.length)) continue;
    least = changes;
    nearest = each;
  }
  return nearest;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, "");
}

/** How many letters to insert, leave out or replace (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    let [before = 0] = row;
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const { [j]: above = 0 } = row;
      const left = next[j - 1] ?? 0;
      next[j] = Math.min(above + 1, left + 1, before + (from[i - 1] === to[j - 1] ? 0 : 1));
      before = above;
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
