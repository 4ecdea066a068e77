/**
 * Whether money was spent: `"no"` and `"yes"` are certain; `"unknown"` means that the provider may
 * have accepted the job, and nobody has said so.
 */
export type Charged = "no" | "yes" | "unknown";

/** An amount of money or credits, and where the figure comes from. */
export interface Cost {
  /** In whole units: dollars, not cents. */
  readonly amount: number;
  /** `"USD"`, or the provider's own `"credits"`. */
  readonly unit: "USD" | "credits" | (string & {});
  /**
   * `"reported"`: the provider's response said so, and its list may say otherwise: ShortAPI reports 0.02
   * USD for every model, and lists 0.06 for this one. `"usage"`: computed from the tokens it reported and
   * the price of a token. `"list"`: the published price, before anything was sent.
   */
  readonly basis: "reported" | "usage" | "list";
}

/** Tokens, as the provider counted them. */
export interface Usage {
  /** All that went in. */
  readonly inputTokens?: number;
  /** All that came out. */
  readonly outputTokens?: number;
  /** Both together, as the provider says. */
  readonly totalTokens?: number;
  /** The part of `inputTokens` that is text. */
  readonly inputTextTokens?: number;
  /** The part of `inputTokens` that is images. */
  readonly inputImageTokens?: number;
  /** The part of `inputTokens` that came from a cache, and is cheaper. */
  readonly cachedInputTokens?: number;
  /** The part of `cachedInputTokens` that is text. */
  readonly cachedInputTextTokens?: number;
  /** The part of `cachedInputTokens` that is images. */
  readonly cachedInputImageTokens?: number;
  /** The part of `outputTokens` that is text. */
  readonly outputTextTokens?: number;
  /** The part of `outputTokens` that is images. */
  readonly outputImageTokens?: number;
}

/** The sum of costs, known only where every one is known and all are in one unit. */
export function totalCost(costs: readonly (Cost | undefined)[]): Cost | undefined {
  const [first, ...rest] = costs;
  if (first === undefined) return undefined;
  let amount = first.amount;
  for (const cost of rest) {
    if (cost === undefined || cost.unit !== first.unit || cost.basis !== first.basis) {
      return undefined;
    }
    amount += cost.amount;
  }
  // Twelve digits keep every real price and lose the noise of binary fractions (0.06 × 3).
  return { ...first, amount: Number(amount.toPrecision(12)) };
}
