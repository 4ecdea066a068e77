import type {
  LedgerChange,
  LedgerEntry,
  LedgerLimit,
  LedgerRange,
  LedgerScope,
  LedgerShortfall,
  LedgerSums,
} from "../../index";
import { fromParts, toParts } from "./money";

/** The sums of a scope, in billionths. */
interface Counter {
  readonly scope: LedgerScope;
  readonly sums: Record<keyof LedgerSums, number>;
}

/** How many scopes are summed at once; those of hours long past make room. */
const mostCounters = 256;

/** The entries of a ledger in memory, with the sums that budgets ask for. */
export class Book {
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #jobs = new Map<string, string>();
  readonly #counters = new Map<string, Counter>();

  read(id: string): LedgerEntry | undefined {
    return this.#entries.get(id);
  }

  findJob(job: string): LedgerEntry | undefined {
    const id = this.#jobs.get(job);
    return id === undefined ? undefined : this.read(id);
  }

  entries(range: LedgerRange = {}): LedgerEntry[] {
    return [...this.#entries.values()].filter((entry) => isWithin(entry, range));
  }

  /** Which of the limits has no room for an entry. */
  shortfall(entry: LedgerEntry, limits: readonly LedgerLimit[]): LedgerShortfall | undefined {
    for (const [index, limit] of limits.entries()) {
      const wanted = partsIn(entry, limit);
      const { charged, reserved, unknown } = this.#counter(limit).sums;
      const used = charged + reserved + unknown;
      // What costs nothing always has room, also where an order in flight came to cost more.
      if (wanted > 0 && used + wanted > toParts(limit.amount)) {
        return { limit: index, used: fromParts(used) };
      }
    }
    return undefined;
  }

  add(entry: LedgerEntry): void {
    this.#put(entry, undefined);
  }

  /** Whether there is such an entry. */
  change(id: string, change: LedgerChange): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#put({ ...entry, ...change }, entry);
    return true;
  }

  sums(scope: LedgerScope): LedgerSums {
    const { charged, reserved, unknown } = this.#counter(scope).sums;
    return {
      charged: fromParts(charged),
      reserved: fromParts(reserved),
      unknown: fromParts(unknown),
    };
  }

  #put(entry: LedgerEntry, before: LedgerEntry | undefined): void {
    this.#entries.set(entry.id, entry);
    if (entry.job !== undefined) this.#jobs.set(entry.job, entry.id);
    for (const counter of this.#counters.values()) {
      if (before !== undefined) count(counter, before, -1);
      count(counter, entry, 1);
    }
  }

  #counter({ from, to, tags, rates }: LedgerScope): Counter {
    const name = JSON.stringify([
      from,
      to,
      Object.entries(tags).sort(),
      Object.entries(rates).sort(),
    ]);
    const known = this.#counters.get(name);
    if (known !== undefined) return known;
    const scope = {
      ...{ tags, rates },
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to }),
    };
    const counter: Counter = { scope, sums: { charged: 0, reserved: 0, unknown: 0 } };
    for (const entry of this.#entries.values()) count(counter, entry, 1);
    const [oldest] = this.#counters.keys();
    if (this.#counters.size >= mostCounters && oldest !== undefined) this.#counters.delete(oldest);
    this.#counters.set(name, counter);
    return counter;
  }
}

function count({ scope, sums }: Counter, entry: LedgerEntry, sign: 1 | -1): void {
  if (entry.state === "refunded" || !isIn(entry, scope)) return;
  sums[entry.state] += sign * partsIn(entry, scope);
}

function isIn(entry: LedgerEntry, scope: LedgerScope): boolean {
  const tags = Object.entries(scope.tags);
  return isWithin(entry, scope) && tags.every(([name, value]) => entry.tags[name] === value);
}

/** Times in ISO 8601 and UTC sort as text. */
function isWithin({ at }: LedgerEntry, { from, to }: LedgerRange): boolean {
  return (from === undefined || at >= from) && (to === undefined || at < to);
}

/** What an entry counts in a scope's unit, in billionths. */
function partsIn({ counted }: LedgerEntry, { rates }: LedgerScope): number {
  if (counted === undefined) return 0;
  return toParts(counted.amount * (rates[counted.unit] ?? 0));
}
