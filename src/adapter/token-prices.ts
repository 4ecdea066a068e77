import type { Cost, Usage } from "../cost";

/** US dollars a million tokens. A kind of token without a price leaves a response that has some without a cost. */
export interface TokenPrices {
  /** Text that goes in. */
  readonly textInput: number;
  /** Images that go in. */
  readonly imageInput: number;
  /** Images that come out. */
  readonly imageOutput: number;
  /** Text that goes in and was in the cache already. */
  readonly cachedTextInput?: number;
  /** Images that go in and were in the cache already. */
  readonly cachedImageInput?: number;
  /** Text that comes out beside the images. */
  readonly textOutput?: number;
}

/** OpenAI's list for gpt-image-2, as fal's page on the model showed it in the autumn of 2026. */
export const gptImage2Prices: TokenPrices = {
  textInput: 5,
  cachedTextInput: 1.25,
  imageInput: 8,
  cachedImageInput: 2,
  imageOutput: 30,
  textOutput: 10,
};

/** What quality is worth: patches along the long edge. */
const patches: Readonly<Record<string, number>> = { low: 16, medium: 48, high: 96 };

/** The tokens of one image by OpenAI's formula; unknown where the model chooses quality or size. */
function outputTokens(quality: string | undefined, size: string): number | undefined {
  const long = patches[quality ?? "auto"];
  const [width = 0, height = 0] = size.split("x").map(Number);
  if (long === undefined || !(width > 0 && height > 0)) return undefined;
  const short = Math.round((long * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
}

/**
 * What OpenAI bills for a partial image, whatever its size: its guide to image generation, "Partial images
 * cost", in copies of 2026.
 */
const partialImageTokens = 100;

/**
 * The price of `n` images alone, each with all the partial ones that were asked for: what the prompt's
 * tokens add is known only afterwards.
 */
export function priceOfImages(
  prices: TokenPrices | undefined,
  {
    quality,
    size,
    partialImages = 0,
  }: {
    readonly quality?: string | undefined;
    readonly size: string;
    readonly partialImages?: number | undefined;
  },
  n: number,
): Cost | undefined {
  const tokens = outputTokens(quality, size);
  if (prices === undefined || tokens === undefined) return undefined;
  const each = tokens + partialImages * partialImageTokens;
  return dollars(each * n * prices.imageOutput, "list");
}

/** The price of the tokens that were counted; `undefined` where one of them has none, or no kind. */
export function priceOfUsage(
  prices: TokenPrices | undefined,
  usage: Usage | undefined,
): Cost | undefined {
  const input = inputOf(usage ?? {});
  const output = outputOf(usage ?? {});
  if (prices === undefined || input === undefined || output === undefined) return undefined;
  const parts = [
    [input.text - input.cachedText, prices.textInput],
    [input.cachedText, prices.cachedTextInput],
    [input.images - input.cachedImages, prices.imageInput],
    [input.cachedImages, prices.cachedImageInput],
    [output.images, prices.imageOutput],
    [output.text, prices.textOutput],
  ] as const;
  let sum = 0;
  for (const [tokens, price] of parts) {
    if (tokens === 0) continue;
    // A part larger than the whole: such counts cannot be added up.
    if (price === undefined || tokens < 0) return undefined;
    sum += tokens * price;
  }
  return dollars(sum, "usage");
}

/** What went in, by kind: text and images have different prices, and without the split there is no sum. */
function inputOf(usage: Usage) {
  const { inputTokens: total, inputTextTokens: text, cachedInputTokens: cached = 0 } = usage;
  if (text === undefined) return undefined;
  const images = usage.inputImageTokens ?? (total ?? text) - text;
  if (total !== undefined && text + images !== total) return undefined;
  if (cached === 0) return { text, images, cachedText: 0, cachedImages: 0 };
  // Whichever is told tells the other; where one kind went in, all of the cached ones are of it.
  const told = { text: usage.cachedInputTextTokens, images: usage.cachedInputImageTokens };
  const least = images === 0 ? cached : text === 0 ? 0 : undefined;
  const cachedText = told.text ?? (told.images === undefined ? least : cached - told.images);
  if (cachedText === undefined) return undefined;
  const cachedImages = told.images ?? cached - cachedText;
  return cachedText + cachedImages === cached
    ? { text, images, cachedText, cachedImages }
    : undefined;
}

/** What came out, by kind; all of it images where nothing else is said. */
function outputOf({ outputTokens: total, outputTextTokens, outputImageTokens }: Usage) {
  if (total === undefined) return undefined;
  const text =
    outputTextTokens ?? (outputImageTokens === undefined ? 0 : total - outputImageTokens);
  const images = outputImageTokens ?? total - text;
  return text + images === total ? { text, images } : undefined;
}

function dollars(millionths: number, basis: Cost["basis"]): Cost {
  return { amount: Number((millionths / 1_000_000).toPrecision(12)), unit: "USD", basis };
}
