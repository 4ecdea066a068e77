import * as z from "zod/mini";
import { once } from "../async/lazy";
import type { Usage } from "../cost";
import { compiled } from "../parse/core-schemas";
import { lenient } from "./reading";

/** Reads the `usage` of OpenAI's images API; a count that is no number is as good as absent. */
export const openAIUsage = once(() => {
  const count = lenient(z.number().check(z.minimum(0)));
  const kinds = compiled(z.looseObject({ text_tokens: count, image_tokens: count }));
  return z.pipe(
    compiled(
      z.looseObject({
        input_tokens: count,
        output_tokens: count,
        total_tokens: count,
        input_tokens_details: lenient(
          compiled(
            z.looseObject({
              text_tokens: count,
              image_tokens: count,
              cached_tokens: count,
              cached_tokens_details: lenient(kinds),
            }),
          ),
        ),
        output_tokens_details: lenient(kinds),
      }),
    ),
    z.transform((counted) => {
      const { input_tokens_details: input, output_tokens_details: output } = counted;
      const cached = input?.cached_tokens_details;
      const cachedSum = cached && (cached.text_tokens ?? 0) + (cached.image_tokens ?? 0);
      const usage: { -readonly [Name in keyof Usage]: Usage[Name] } = {};
      // Made of its entries it would take three lists for each response.
      const put = (name: keyof Usage, value: number | undefined) => {
        if (value !== undefined) usage[name] = value;
      };
      put("inputTokens", counted.input_tokens);
      put("outputTokens", counted.output_tokens);
      put("totalTokens", counted.total_tokens);
      put("inputTextTokens", input?.text_tokens);
      put("inputImageTokens", input?.image_tokens);
      put("cachedInputTokens", input?.cached_tokens ?? cachedSum);
      put("cachedInputTextTokens", cached?.text_tokens);
      put("cachedInputImageTokens", cached?.image_tokens);
      put("outputTextTokens", output?.text_tokens);
      put("outputImageTokens", output?.image_tokens);
      return usage;
    }),
  );
});
