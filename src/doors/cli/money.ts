import type { Amount, Cost } from "../../index";
import { clean } from "./text";
import { UsageError } from "./usage-error";

/** Reads `"0.10 USD"` or `"14 credits"`. */
export function parseAmount(option: string, text: string): Amount {
  const [, digits = "", word = ""] = /^(\d+(?:\.\d+)?) *([a-z]+)$/i.exec(text.trim()) ?? [];
  if (digits === "") {
    const wanted = 'an amount and its unit, such as "0.10 USD" or "14 credits"';
    throw new UsageError(`${option} takes ${wanted}, and was given "${text}"`);
  }
  return { amount: Number(digits), unit: unitOf(word) };
}

/** The units that providers have, however they are written. */
function unitOf(word: string): string {
  const lower = word.toLowerCase();
  return lower === "usd" || lower === "credits" ? (lower === "usd" ? "USD" : lower) : word;
}

/** `7 credits`, `0.06 USD`. */
export function amountText({ amount, unit }: Amount): string {
  return `${Number(amount.toFixed(6))} ${clean(unit)}`;
}

const bases = {
  list: "by its list",
  reported: "as the provider reports",
  usage: "by the tokens used",
} as const;

/** An amount, and where the figure comes from. */
export function costText(cost: Cost): string {
  return `${amountText(cost)} ${bases[cost.basis]}`;
}

/** Why a request may not be ordered under `--max-cost`; `undefined` where it may. */
export function costProblem(estimate: Cost | undefined, most: Amount): string | undefined {
  const limit = `--max-cost ${amountText(most)}`;
  if (estimate === undefined) {
    return `No price is known for this, so that ${limit} cannot be kept.`;
  }
  if (estimate.unit !== most.unit) {
    return `It costs ${costText(estimate)}, which is another unit than that of ${limit}.`;
  }
  if (estimate.amount <= most.amount) return undefined;
  return `It costs ${costText(estimate)}, more than ${limit}.`;
}
