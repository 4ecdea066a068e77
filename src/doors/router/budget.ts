import { BudgetExceededError, type LedgerLimit, type LedgerRange } from "../../index";
import { exactly, fromParts, type Rates, toParts } from "./money";
import type { Budget } from "./types";

/** A budget in the hour, day or month of an order. */
export interface BudgetWindow {
  readonly budget: Budget;
  readonly limit: LedgerLimit;
}

/** The calendar time of a budget that a moment falls into, in UTC. */
export function windowOf(per: Budget["per"], at: number): LedgerRange {
  if (per === "forever") return {};
  const date = new Date(at);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  const [day, hour] = [date.getUTCDate(), date.getUTCHours()];
  // Beyond the last hour, day or month JavaScript counts on.
  const start = (on: number): number => {
    if (per === "hour") return Date.UTC(year, month, day, hour + on);
    return per === "day" ? Date.UTC(year, month, day + on) : Date.UTC(year, month + on);
  };
  return { from: new Date(start(0)).toISOString(), to: new Date(start(1)).toISOString() };
}

/** A budget as of a moment. */
export function windowAt(budget: Budget, at: number, rates: Rates): BudgetWindow {
  const { amount, unit, tags = {} } = budget;
  const limit = { amount, tags, rates: rates.into(unit), ...windowOf(budget.per, at) };
  return { budget, limit };
}

/** Whether a budget is about a call. */
export function isAbout({ tags = {} }: Budget, given: Readonly<Record<string, string>>): boolean {
  return Object.entries(tags).every(([name, value]) => given[name] === value);
}

/** What is left of a limit that so much of was used. */
export function leftOf(limit: number, used: number): number {
  return fromParts(Math.max(0, toParts(limit) - toParts(used)));
}

/** No room for an order in a budget. */
export function exceeded(
  { budget, limit }: BudgetWindow,
  wanted: number,
  facts: { readonly used: number; readonly now: number; readonly client: string },
): BudgetExceededError {
  const { used, now, client } = facts;
  const { amount, unit, per } = budget;
  const renewsAt = limit.to === undefined ? undefined : new Date(limit.to);
  const span = per === "forever" ? "in all" : `a${per === "hour" ? "n" : ""} ${per}`;
  return new BudgetExceededError({
    ...{ provider: client, charged: "no" },
    detail: `It would take ${exactly(wanted)} ${unit} of a budget of ${amount} ${unit} ${span}`,
    left: { amount: leftOf(amount, used), unit },
    // What is dearer than the whole budget does not fit into the next one either.
    transient: renewsAt !== undefined && wanted <= amount,
    ...(renewsAt !== undefined && { renewsAt, retryAfterMs: renewsAt.getTime() - now }),
  });
}

/** An order that no budget can be held against. */
export function unpriced(client: string, detail: string): BudgetExceededError {
  return new BudgetExceededError({ provider: client, charged: "no", detail });
}
