import { isBytes } from "../realm";

/** A text as it may stand in a message. */
export function shortened(text: string): string {
  return text.length > longestShown ? `${text.slice(0, longestShown)}…` : text;
}

const longestShown = 60;

/** Texts under these names are shown by their length alone: they are secrets, prompts or job references. */
const isConfidential =
  /^(request|options)$|^reference\b|(^|\.)prompt$|(secret|token|key|password)$/i;

/** A value as it may stand in a message: short, no prompt, no bytes. */
export function shown(field: string, value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") {
    if (isConfidential.test(field)) return `${value.length.toLocaleString("en")} characters`;
    // What follows may be a signature, or a token.
    const query = /^https?:/i.test(value) ? value.indexOf("?") : -1;
    return JSON.stringify(shortened(query < 0 ? value : `${value.slice(0, query)}?…`));
  }
  if (typeof value === "number" || typeof value === "boolean" || value === null) {
    return String(value);
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isBytes(value)) return `${value.byteLength} bytes`;
  if (typeof value !== "object") return `a ${typeof value}`;
  if ("type" in value && value.type === "Buffer" && "data" in value) {
    return "a Buffer that went through JSON";
  }
  const name = value.constructor?.name;
  if (name === undefined || name === "Object") return "a plain object";
  return /^[AEIO]/i.test(name) ? `an ${name}` : `a ${name}`;
}
