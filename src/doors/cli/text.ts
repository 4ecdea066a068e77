const escapeCode = String.fromCharCode(27);
const bell = String.fromCharCode(7);

/** Colours, cursor movements, titles, links: whole, so that nothing of them is left as text. */
const sequences = new RegExp(
  `${escapeCode}(?:\\[[0-?]*[ -/]*[@-~]|\\][^${bell}${escapeCode}]*(?:${bell}|${escapeCode}\\\\)?|[@-Z\\\\^_])`,
  "g",
);

/** What makes a line read from the other side, and hides what stands in it. */
const directions = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * A text of somebody else's (a provider's message, a revised prompt) as it may go to a terminal: on one
 * line, without control characters.
 */
export function clean(text: string): string {
  return text
    .replace(sequences, "")
    .replace(/\s+/g, " ")
    .replace(/\p{Cc}/gu, "")
    .replace(directions, "")
    .trim();
}

/** The same, and no longer than so many characters. */
export function cleanUpTo(length: number, text: string): string {
  const characters = [...clean(text)];
  if (characters.length <= length) return characters.join("");
  return `${characters.slice(0, length - 1).join("")}…`;
}

/** JSON that may go to a terminal: JSON itself lets through the controls from U+007F on. */
export function jsonOf(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What went wrong, in a line. */
export function reasonOf(error: unknown): string {
  return clean(error instanceof Error ? error.message : String(error));
}

/** `1 picture`, `3 pictures`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** The code of a system error, such as `"EEXIST"`. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
