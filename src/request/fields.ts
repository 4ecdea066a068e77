import * as z from "zod/mini";
import { once } from "../async/lazy";

/** More is a mistake: each image is paid for. */
const mostImages = 10_000;
// Spelt out: the first number that is put in words by locale costs an import 8 ms.
const countTaken = "a whole number of at least 1 and at most 10,000";

const compressionTaken = "a number from 0 to 100";

const sizeTaken = '"auto" or a size in pixels such as "1536x1024"';

const text = (taken: string) => z.string(taken).check(z.regex(/\S/, taken));

const optionalText = (taken: string) => z.optional(text(taken));

/** The portable fields of a request. */
export const commonFields = once(() => ({
  prompt: text("a text that is not empty or blank"),
  n: z._default(
    z.int(countTaken).check(z.minimum(1, countTaken), z.maximum(mostImages, countTaken)),
    1,
  ),
  // Not an open word: what is no size is a mistake, whoever the provider is.
  size: z.optional(z.string(sizeTaken).check(z.regex(/^(auto|[1-9]\d*x[1-9]\d*)$/, sizeTaken))),
  aspectRatio: optionalText('"auto" or a ratio such as "3:2"'),
  resolution: optionalText('"1K", "2K" or "4K"'),
  quality: optionalText("a word such as low, medium, high or auto"),
  background: optionalText("transparent, opaque or auto"),
  outputFormat: optionalText("png, jpeg or webp"),
  outputCompression: z.optional(
    z
      .number(compressionTaken)
      .check(z.minimum(0, compressionTaken), z.maximum(100, compressionTaken)),
  ),
  moderation: optionalText("low or auto"),
  user: optionalText("a text that is not empty or blank"),
  safetyIdentifier: optionalText("a text that is not empty or blank"),
  stream: z.optional(z.boolean()),
  partialImages: z.optional(z.literal([1, 2, 3])),
  webhookUrl: z.optional(z.url({ protocol: /^https?$/, error: "an http(s) URL" })),
  providerOptions: z._default(
    z.record(z.string(), z.unknown(), "an object with an entry a provider"),
    {},
  ),
}));
