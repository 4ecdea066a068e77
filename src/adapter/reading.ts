import * as z from "zod/mini";
import { DecodedImage } from "../decoded-image";
import type { Output } from "./contract";

/** Reads a string, or a number as a string: providers send ids and codes as either. */
export const textOrNumber = z.pipe(z.union([z.string(), z.number()]), z.transform(String));

/** Reads a number, or a string that holds one; `null`, `""` and the like are no number, and not 0. */
export const numberOrText = z.pipe(
  z.union([z.number(), z.string().check(z.regex(/^\d+(\.\d+)?$/))]),
  z.coerce.number(),
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

/** For a field of an answer: what does not fit is as good as absent, so that one odd field spoils nothing. */
export function lenient<Schema extends z.core.$ZodType>(schema: Schema) {
  return z.catch(z.optional(schema), undefined);
}

/** For a value that some answers hold as JSON in a string, and some as it is. */
export const jsonOrText = z.transform((value: unknown, context) => {
  if (typeof value !== "string") return value;
  try {
    const parsed: unknown = JSON.parse(value);
    return parsed;
  } catch {
    // Reported to the schema around it, which says what becomes of a value that cannot be read.
    context.issues.push({ code: "custom", message: "not JSON", input: value });
    return z.NEVER;
  }
});

/** A provider's word for a state, with its meaning in `table`; `undefined` where nobody knows it. */
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
 * Reads a field that holds an image as base64 or as a URL: a large image is decoded while its answer
 * comes in, and what stands there then is the image.
 */
export const imageText = z.custom<string | DecodedImage>(
  (value) => (typeof value === "string" && value !== "") || value instanceof DecodedImage,
  "a string",
);

/** A picture from what {@link imageText} read: a URL, or a data URL, which is the picture itself. */
export function outputFromUrl(url: string | DecodedImage): Output {
  if (url instanceof DecodedImage) return { base64: url };
  const data = /^data:[^,]*;base64,/i.exec(url);
  return data === null ? { url } : { base64: url.slice(data[0].length) };
}

/** A picture from what {@link imageText} read: base64, which some send as a data URL. */
export function outputFromBase64(text: string | DecodedImage): Output {
  return { base64: typeof text === "string" ? text.replace(/^data:[^,]{0,100},/, "") : text };
}
