import type { LedgerEntry, LedgerRange, LedgerState } from "../../index";
import { exactly } from "./money";

/** By what entries are added up; `tag:` goes before the name of a tag. */
export type LedgerGroup =
  | "client"
  | "provider"
  | "account"
  | "operation"
  | "state"
  | "hour"
  | "day"
  | "month"
  | `tag:${string}`;

/** What to add up. */
export interface LedgerTotalsOptions extends LedgerRange {
  /** Default: all in one. */
  readonly by?: LedgerGroup | readonly LedgerGroup[];
}

/** What the orders of a group come to, in one unit. */
export interface LedgerTotal {
  /** The group, by what was asked for; `""` where an entry has none, such as an account. */
  readonly group: Readonly<Record<string, string>>;
  /** Absent for orders of which no price is known. */
  readonly unit?: string;
  /** How many orders. */
  readonly orders: number;
  /** How many images they asked for. */
  readonly images: number;
  readonly charged: number;
  /** Held for what is on its way. */
  readonly reserved: number;
  /** Held for what may have been charged. */
  readonly unknown: number;
}

/** Adds entries up, group by group, in the order in which the groups first come. */
export async function totalsOf(
  entries: AsyncIterable<LedgerEntry>,
  by: LedgerTotalsOptions["by"] = [],
): Promise<readonly LedgerTotal[]> {
  const groups = typeof by === "string" ? [by] : by;
  const totals = new Map<string, LedgerTotal>();
  for await (const entry of entries) {
    const group = Object.fromEntries(groups.map((each) => [each, groupOf(entry, each)]));
    const unit = entry.counted?.unit;
    const name = JSON.stringify([group, unit]);
    const sums = totals.get(name) ?? { group, ...none, ...(unit !== undefined && { unit }) };
    totals.set(name, plus(sums, entry));
  }
  return [...totals.values()];
}

const none = { orders: 0, images: 0, charged: 0, reserved: 0, unknown: 0 };

function plus(sums: LedgerTotal, { images, state, counted }: LedgerEntry): LedgerTotal {
  const amount = (of: LedgerState) => (state === of ? (counted?.amount ?? 0) : 0);
  return {
    ...sums,
    orders: sums.orders + 1,
    images: sums.images + images,
    charged: exactly(sums.charged + amount("charged")),
    reserved: exactly(sums.reserved + amount("reserved")),
    unknown: exactly(sums.unknown + amount("unknown")),
  };
}

/** How much of an ISO date is a group. */
const lengths = { hour: 13, day: 10, month: 7 } as const;

function groupOf(entry: LedgerEntry, by: LedgerGroup): string {
  switch (by) {
    case "hour":
    case "day":
    case "month":
      return entry.at.slice(0, lengths[by]);
    case "client":
    case "provider":
    case "operation":
    case "state":
    case "account":
      return entry[by] ?? "";
    default:
      return entry.tags[by.slice("tag:".length)] ?? "";
  }
}
