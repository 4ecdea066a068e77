/** What a string begins and ends with. */
export const quote = 0x22;
/** What escapes the next byte of one. */
export const backslash = 0x5c;

/** What stands before the base64 in a data URL. Some escape the slash of the media type. */
export const dataUrlHead = /^data:(?:[ !#-+\--[\]-~]|\\\/){0,100};base64,/i;

/** Bytes scanned one by one first: escapes may be close together. */
const nearBytes = 32;

/**
 * The next quote or backslash before `limit`, if there is one. It never looks much further than there: in a
 * text of many escapes a search for the quote at its end would take the square of its length.
 */
export function nextMark(
  bytes: Buffer,
  start: number,
  limit = bytes.length,
): { end: number; stop?: number } {
  const last = Math.min(limit, bytes.length);
  const near = Math.min(last, start + nearBytes);
  for (let at = start; at < near; at += 1) {
    const byte = bytes[at];
    if (byte === quote || byte === backslash) return { end: at, stop: byte };
  }
  let at = near;
  for (let length = 8 * nearBytes; at < last; length *= 8) {
    const stretch = bytes.subarray(at, Math.min(last, at + length));
    const quoteAt = stretch.indexOf(quote);
    const before = quoteAt === -1 ? stretch : stretch.subarray(0, quoteAt);
    const escapeAt = before.indexOf(backslash);
    if (escapeAt !== -1) return { end: at + escapeAt, stop: backslash };
    if (quoteAt !== -1) return { end: at + quoteAt, stop: quote };
    at += stretch.length;
  }
  return { end: last };
}

/** What the beginning of base64 is that may have its slashes and pluses escaped. */
export function withoutEscapes(text: string): string {
  return text
    .replaceAll("\\/", "/")
    .replace(/\\u00(2[bf])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** What an escape of JSON stands for; `undefined` where it is none. */
export function unescaped(sequence: string): string | undefined {
  try {
    const character: unknown = JSON.parse(`"${sequence}"`);
    return typeof character === "string" ? character : undefined;
  } catch {
    // The document is no JSON, and `JSON.parse` says so in the end.
    return undefined;
  }
}

/** An escape that is not whole yet. Each string around JSON escapes the backslashes within once more. */
const openEscape = /^\\{1,15}(u[\da-fA-F]{0,3})?$/;
/** What may stand escaped within base64: a slash, the end of a line, or a letter by its number. */
const innerEscape = /^\\+(\/|[nr]|u00([\da-fA-F]{2}))$/;

/** What an escape within base64 is, by what has come of it: a byte, where it stands for one. */
export function readInnerEscape(sequence: string): number | "open" | "line break" | "other" {
  if (openEscape.test(sequence)) return "open";
  const [, escaped, code = "2f"] = innerEscape.exec(sequence) ?? [];
  if (escaped === undefined) return "other";
  return escaped === "n" || escaped === "r" ? "line break" : Number.parseInt(code, 16);
}
