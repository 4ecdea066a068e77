/** What a string begins and ends with. */
export const quote = 0x22;
/** What escapes the next byte of one. */
export const backslash = 0x5c;

/** What stands before the base64 in a data URL. Some escape the slash of the media type. */
export const dataUrlHead = /^data:(?:[ !#-+\--[\]-~]|\\\/){0,100};base64,/i;

/** The next quote or backslash, if there is one. */
export function nextMark(bytes: Buffer, at: number): { end: number; stop?: number } {
  const quoteAt = bytes.indexOf(quote, at);
  const limit = quoteAt === -1 ? bytes.length : quoteAt;
  const escapeAt = bytes.subarray(at, limit).indexOf(backslash);
  if (escapeAt !== -1) return { end: at + escapeAt, stop: backslash };
  return quoteAt === -1 ? { end: limit } : { end: limit, stop: quote };
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
