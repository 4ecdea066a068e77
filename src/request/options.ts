import { resolve } from "node:path";
import * as z from "zod/mini";
import { once } from "../async/lazy";
import { withFailures } from "../errors";
import { isAbortSignal } from "../realm";
import type { ImageError } from "../types";
import type { CallOptions } from "../types/call-options";
import type { WaitCallOptions } from "../types/waiting";
import { namesIn, problemsOf, withoutUndefined } from "./problems";

/** A number above 0. */
export const positive = (taken: string) => z.number(taken).check(z.positive(taken));

const filled = (taken: string) => z.string(taken).check(z.minLength(1, taken));

/** Whether a value is a function. */
export const isFunction = (value: unknown) => typeof value === "function";

const asAbsolute = (path: string) => resolve(path);

const waitFields = once(() => ({
  signal: z.optional(z.custom<AbortSignal>(isAbortSignal, "an AbortSignal")),
  timeoutMs: z.optional(positive("milliseconds, more than 0")),
  // Resolved at once: the working directory may be another by the time that an image comes.
  saveTo: z.optional(z.pipe(filled("the path of a directory"), z.transform(asAbsolute))),
}));

const waitSchema = once(() => z.strictObject(waitFields(), "an object of options"));

const callSchema = once(() =>
  z.strictObject(
    {
      ...waitFields(),
      idempotencyKey: z.optional(filled("a string that is not empty")),
      onSubmitted: z.optional(z.custom<CallOptions["onSubmitted"]>(isFunction, "a function")),
      onEvent: z.optional(z.custom<CallOptions["onEvent"]>(isFunction, "a function")),
      metadata: z.optional(z.unknown()),
      tags: z.optional(
        z.record(z.string(), z.string("a string"), "an object of strings, such as { team: … }"),
      ),
      retryRefused: z.optional(z.boolean("true or false")),
      detached: z.optional(z.boolean("true or false")),
    },
    "an object of options",
  ),
);

/** The second argument of `generate`, `edit` and `submit`, checked. */
export type ParsedCallOptions = z.output<ReturnType<typeof callSchema>>;

const noOptions: ParsedCallOptions = Object.freeze({});

/** Checks the second argument of `generate`, `edit` and `submit`. */
export function parseCallOptions(value: unknown): ParsedCallOptions {
  return value === undefined ? noOptions : parseOptions(callSchema(), value, "options");
}

/** Checks the argument of `job.result`. */
export function parseWaitOptions(value: WaitCallOptions) {
  return parseOptions(waitSchema(), value, "options");
}

const closeSchema = once(() => {
  const taken = "milliseconds, 0 or more";
  const timeoutMs = z._default(z.number(taken).check(z.nonnegative(taken)), 30_000);
  return z.strictObject({ timeoutMs }, "an object of options");
});

/** Checks the argument of `close`. */
export function parseCloseOptions(value: unknown) {
  return parseOptions(closeSchema(), value, "options");
}

/** Checks options; `name` is what they are called in the message. */
export function parseOptions<Schema extends z.core.$ZodType>(
  schema: Schema,
  value: unknown,
  name: string,
): z.output<Schema> {
  const given = withoutUndefined(value);
  const parsed = z.safeParse(schema, given);
  if (parsed.success) return parsed.data;
  const names = namesIn(schema);
  throw firstOf(parsed.error.issues.flatMap((issue) => problemsOf(issue, given, [name], names)));
}

/** The first of what a failed check found, with the rest in its `failures`. */
export function firstOf(problems: readonly ImageError[]): ImageError {
  const [first, ...rest] = problems;
  // Only ever called with what a failed check found.
  if (first === undefined) throw new Error("no problem");
  return withFailures([first, ...rest]);
}
