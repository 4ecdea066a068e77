import type * as z from "zod/mini";
import { InvalidRequestError } from "../errors";
import { expectedBy } from "../parse/expected";
import { hintFor } from "../parse/field-names";
import { shortened, shown } from "../parse/shown";
import { commonFields } from "./fields";

/** An object without the fields that are `undefined`; anything else as it is. */
export function withoutUndefined(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (!Object.values(value).includes(undefined)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));
}

/** The names that an object may have at a place below a schema; none where it is no object. */
export type NamesAt = (path: readonly PropertyKey[]) => readonly string[];

/** Those of a schema. */
export function namesIn(schema: z.core.$ZodType): NamesAt {
  return (path) => {
    const { def } = path.reduce<z.core.$ZodType>(partOf, schema)._zod;
    return "shape" in def ? Object.keys(Object(def.shape)) : [];
  };
}

/** The schema of a field, without what makes it optional. */
function partOf(schema: z.core.$ZodType, key: PropertyKey): z.core.$ZodType {
  const { def } = schema._zod;
  const part: unknown = "shape" in def ? Object(def.shape)[key] : undefined;
  return unwrapped(isSchema(part) ? part : schema);
}

function isSchema(value: unknown): value is z.core.$ZodType {
  return typeof value === "object" && value !== null && "_zod" in value;
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  const { def } = schema._zod;
  const inner = "innerType" in def ? def.innerType : undefined;
  return isSchema(inner) ? unwrapped(inner) : schema;
}

/**
 * One zod issue in this package's words. `prefix` is where the parsed value stands in the request,
 * `namesAt` tells which it may have.
 */
export function problemsOf(
  issue: z.core.$ZodIssue,
  root: unknown,
  prefix: readonly PropertyKey[] = [],
  namesAt: NamesAt = () => [],
): InvalidRequestError[] {
  const path = [...prefix, ...issue.path];
  const given = issue.path.reduce(memberOf, root);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map(
      (key) =>
        new InvalidRequestError({
          charged: "no",
          field: fieldName([...path, key]),
          // Never shown: it may be an API key, or a prompt under a misspelt name.
          given: shown("prompt", memberOf(given, key)),
          taken: hintFor(key, namesAt(issue.path), Object.keys(commonFields())),
          isUnknown: true,
        }),
    );
  }
  return [invalid(fieldName(path) || "request", given, expectedBy(issue))];
}

function memberOf(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** A field that was given what it does not take. */
export function invalid(field: string, given: unknown, taken: string): InvalidRequestError {
  return new InvalidRequestError({ charged: "no", field, given: shown(field, given), taken });
}

/** Where a value stands, as one would write it; a stranger's name in it may have any length. */
function fieldName(path: readonly PropertyKey[]): string {
  return path.reduce<string>((name, key) => {
    if (typeof key === "number") return `${name}[${key}]`;
    return name === "" ? shortened(String(key)) : `${name}.${shortened(String(key))}`;
  }, "");
}
