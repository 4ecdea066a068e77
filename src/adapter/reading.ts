import * as z from "zod/mini";
import { pictureIn } from "../http/image-text";
import { DecodedImage } from "../media/decoded-image";
import type { Output } from "./contract";

/** Reads a string, or a number as a string: providers send codes as either. */
export const textOrNumber = z.pipe(z.union([z.string(), z.number()]), z.transform(String));

/**
 * Reads a provider's id of a job, from a string or a number. What is not certain to be the id that was
 * written is none, since it would ask for somebody else's job: a number that is no integer or larger than
 * a double holds (whole ones beyond 2^53 come as strings), zero, which is what some servers write for "no
 * job", a dot, which a URL would not keep, and characters that no text can hold.
 */
export const jobId = z.union([
  z.string().check(z.regex(/^(?!\.{1,2}$)[^\p{Surrogate}\ufffd]+$/u)),
  z.pipe(z.int().check(z.positive()), z.transform(String)),
]);

/**
 * Reads a number, or a string that holds one; `null`, `""` and the like are no number, and not 0. More than
 * 15 digits are none either: a double would not hold them.
 */
export const numberOrText = z.pipe(
  z.union([z.number(), z.string().check(z.regex(/^\d{1,15}(\.\d+)?$/))]),
  z.transform(Number),
);

/** A value that JSON can hold. */
export const jsonValue = z.unknown().check(
  z.refine((value) => {
    try {
      return JSON.stringify(value) !== undefined;
    } catch {
      // A BigInt, or a circle.
      return false;
    }
  }, "a value that JSON can hold"),
);

/** For a field of a response: what does not fit is as good as absent, so that one odd field spoils nothing. */
export function lenient<Schema extends z.core.$ZodType>(schema: Schema) {
  return z.catch(z.optional(schema), undefined);
}

/** For a value that some responses hold as JSON in a string, and some as it is. */
export const jsonOrText = z.transform((value: unknown, context) => {
  if (typeof value !== "string") return value;
  try {
    // It drops a byte order mark as well.
    const parsed: unknown = JSON.parse(value.trimStart());
    return parsed;
  } catch {
    // Reported to the schema around it, which says what becomes of a value that cannot be read.
    context.issues.push({ code: "custom", message: "not JSON", input: value });
    return z.NEVER;
  }
});

/** A provider's word for a state, with its meaning in `table`; `undefined` if it is unknown. */
export function stateWord<State extends string>(table: Readonly<Record<string, State>>) {
  return z.pipe(
    textOrNumber,
    z.transform((word) => {
      const key = word.toLowerCase();
      return { word, state: Object.hasOwn(table, key) ? table[key] : undefined };
    }),
  );
}

/** The prompt, up to the provider's limit; counted in characters, of which an emoji is one. */
export function promptUpTo(limit: number) {
  return z.string().check(
    z.refine((prompt) => prompt.length <= limit || [...prompt].length <= limit, {
      // Said when it is asked for: the first number put in words by locale takes 8 ms.
      error: () => `at most ${limit.toLocaleString("en")} characters`,
    }),
  );
}

/**
 * Reads a field that holds an image, as base64, as a data URL or as a URL, whatever the field is named.
 * A word such as `"None"`, an error's words and whatever else is no image are as good as no field. A large
 * image is decoded while its response comes in, and what stands there then is the image.
 */
export const imageField = z.transform((value: unknown, context): Output => {
  if (value instanceof DecodedImage) return { base64: value };
  const picture = typeof value === "string" ? pictureIn(value) : undefined;
  if (picture !== undefined) return picture;
  context.issues.push({ code: "custom", message: "neither an image nor a URL", input: value });
  return z.NEVER;
});
