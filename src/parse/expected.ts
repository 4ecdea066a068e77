import type * as z from "zod/mini";

const types: Readonly<Record<string, string>> = {
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

/**
 * What a schema expected in place of what it was given, to follow "expected": the schema's own words, or
 * what can be made of zod's, which are always "Invalid input" in its mini build, and in the full one,
 * which other people's adapters may use, "Too small: expected number to be >=1" and the like.
 */
export function expectedBy(issue: z.core.$ZodIssue): string {
  const [, said] = /^(?:Invalid|Too|Unrecognized)[^:]*(.*)$/s.exec(issue.message) ?? [];
  if (said === undefined) return issue.message;
  if (issue.code === "invalid_type") return types[issue.expected] ?? `a ${issue.expected}`;
  if (issue.code === "invalid_value") return issue.values.map(String).join(", ");
  return said.replace(/^: (expected )?/, "") || "another value";
}
