/** What stands before an image within a longer text: in Markdown, CSS or HTML. */
const mark = Buffer.from(";base64,");

/** Below this a search of the platform's costs more than to look at each byte. */
const shortBytes = 64;

/** Finds `;base64,` in a text that comes in pieces. */
export class DataUrlMark {
  /** How much of it the last bytes are. */
  #matched = 0;

  /** What comes next does not follow what came. */
  reset(): void {
    this.#matched = 0;
  }

  /** Where the next one ends between `start` and `end`, a part of which may have come before. */
  endIn(bytes: Buffer, start: number, end: number): number | undefined {
    if (end - start <= shortBytes) return this.#endInShort(bytes, start, end);
    const begun =
      this.#matched > 0 ? this.#endInShort(bytes, start, start + mark.length) : undefined;
    if (begun !== undefined) return begun;
    this.#matched = 0;
    const found = bytes.subarray(start, end).indexOf(mark);
    if (found !== -1) return start + found + mark.length;
    return this.#endInShort(bytes, end - mark.length + 1, end);
  }

  #endInShort(bytes: Buffer, start: number, end: number): number | undefined {
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at];
      // Its first character stands in it once: after a mismatch no other part of it can have begun.
      if (byte === mark[this.#matched]) this.#matched += 1;
      else this.#matched = byte === mark[0] ? 1 : 0;
      if (this.#matched === mark.length) {
        this.#matched = 0;
        return at + 1;
      }
    }
    return undefined;
  }
}
