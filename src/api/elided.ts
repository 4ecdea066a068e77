import { DecodedImage } from "../media/decoded-image";
import { redacted } from "./secrets";

const longestText = 1_000;
const deepest = 12;
const mostFields = 100;

/** A response as it may be kept and shown: without long strings (images), without the secrets. */
export function elided(value: unknown, secrets: readonly string[], depth = 0): unknown {
  if (typeof value === "string") {
    return value.length > longestText ? `<${value.length} characters>` : redacted(value, secrets);
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof DecodedImage) return value.toJSON();
  if (depth >= deepest) return "<…>";
  if (Array.isArray(value)) {
    return value.slice(0, mostFields).map((each) => elided(each, secrets, depth + 1));
  }
  const shown = copyOf(value, secrets);
  for (const name in shown) shown[name] = elided(shown[name], secrets, depth + 1);
  return shown;
}

/**
 * A shallow copy: at most 100 fields, names redacted. What JSON calls `__proto__`
 * is a field of a copy, too.
 */
function copyOf(value: object, secrets: readonly string[]): Record<string, unknown> {
  let length = 0;
  let isFit = true;
  for (const name in value) {
    length += 1;
    isFit &&= length <= mostFields && redacted(name, secrets) === name;
  }
  // Nearly always: to make one of its entries is ten times the work.
  if (isFit) return { ...value };
  const entries = Object.entries(value).slice(0, mostFields);
  return Object.fromEntries(entries.map(([name, each]) => [redacted(name, secrets), each]));
}
