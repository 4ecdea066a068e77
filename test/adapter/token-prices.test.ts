import { expect, test } from "vitest";
import { gptImage2Prices, priceOfImages, priceOfUsage } from "../../src/adapter/token-prices";
import type { Usage } from "../../src/cost";

const both = { inputTokens: 100, inputTextTokens: 40, inputImageTokens: 60, outputTokens: 10 };
const textOnly = { inputTokens: 40, inputTextTokens: 40 };

test.each<[string, Usage, number]>([
  ["text and images that went in", both, 980],
  ["text alone, without a total", { inputTextTokens: 40, outputTokens: 10 }, 500],
  [
    "cached tokens of both kinds",
    { ...both, cachedInputTokens: 30, cachedInputTextTokens: 10, cachedInputImageTokens: 20 },
    822.5,
  ],
  ["cached text alone", { ...both, cachedInputTokens: 30, cachedInputTextTokens: 10 }, 822.5],
  ["cached images alone", { ...both, cachedInputTokens: 30, cachedInputImageTokens: 20 }, 822.5],
  [
    "cached tokens where only text went in",
    { ...textOnly, cachedInputTokens: 10, outputTokens: 10 },
    462.5,
  ],
  [
    "cached tokens where only images went in",
    { inputTokens: 60, inputTextTokens: 0, cachedInputTokens: 20, outputTokens: 10 },
    660,
  ],
  ["text that came out", { ...textOnly, outputTokens: 12, outputTextTokens: 2 }, 520],
  ["images that came out", { ...textOnly, outputTokens: 12, outputImageTokens: 10 }, 520],
])("%s are priced by their kind", (_, usage, millionths) => {
  const amount = millionths / 1_000_000;
  expect(priceOfUsage(gptImage2Prices, usage)).toEqual({ amount, unit: "USD", basis: "usage" });
});

test.each<[string, Usage | undefined]>([
  ["no usage", undefined],
  ["no text tokens", { inputTokens: 100, outputTokens: 10 }],
  ["no output tokens", textOnly],
  ["parts that are not the input", { ...both, inputImageTokens: 50 }],
  ["parts that are not the output", { ...both, outputTextTokens: 5, outputImageTokens: 6 }],
  ["cached tokens of no kind", { ...both, cachedInputTokens: 30 }],
  [
    "cached parts that are not the cached tokens",
    { ...both, cachedInputTokens: 30, cachedInputTextTokens: 10, cachedInputImageTokens: 10 },
  ],
  ["more cached tokens than went in", { ...textOnly, cachedInputTokens: 50, outputTokens: 10 }],
])("usage with %s has no cost, rather than a wrong one", (_, usage) => {
  expect(priceOfUsage(gptImage2Prices, usage)).toBeUndefined();
});

test("a kind of token without a price leaves the cost unknown", () => {
  const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };
  const usage = { ...textOnly, outputTokens: 12, outputTextTokens: 2 };
  expect(priceOfUsage(prices, usage)).toBeUndefined();
  expect(priceOfUsage(undefined, both)).toBeUndefined();
});

test.each([
  ["a quality that the model chooses", "auto", "1024x1024"],
  ["no quality", undefined, "1024x1024"],
  ["a size that the model chooses", "high", "auto"],
])("%s has no price before it is made", (_, quality, size) => {
  expect(priceOfImages(gptImage2Prices, { quality, size }, 1)).toBeUndefined();
});
