import type { Amount, LedgerEntry, LedgerRange, LedgerStore } from "../../index";
import { csvOf } from "./csv";
import { checkAmount, invalid } from "./invalid";
import { jsonLinesStore } from "./json-lines-store";
import { memoryStore } from "./memory-store";
import { isSettled } from "./order";
import { type LedgerTotal, type LedgerTotalsOptions, totalsOf } from "./totals";

/** What a person has found out of an order of which nobody could know whether it was charged. */
export interface LedgerSettlement {
  readonly charged: "no" | "yes";
  /** What it cost; default, where it was charged: what is reserved for it. */
  readonly cost?: Amount;
}

/** A record of every order: what was asked of whom, for whom, and what it cost. */
export interface ImageLedger {
  /** Where it is kept. */
  readonly store: LedgerStore;
  /** Every order, in the order in which they were made. */
  entries(range?: LedgerRange): AsyncIterable<LedgerEntry>;
  /**
   * What orders come to, one row for each group and unit.
   *
   * @example
   * ```ts
   * await ledger.totals({ by: ["provider", "tag:team"], from: "2026-11-01", to: "2026-12-01" });
   * ```
   */
  totals(options?: LedgerTotalsOptions): Promise<readonly LedgerTotal[]>;
  /**
   * Ends an order of unknown fate by the word of a person who has looked it up at the provider: its
   * reservation becomes a cost, or is given back. A router that has the ledger ends the record of the
   * client's journal with it, so that the key of a call that was not charged is free again.
   *
   * @param id that of the entry.
   * @throws {@link InvalidRequestError} where there is no such entry, it has ended already, or a call under
   * its key is at it just now; what the client's own `settle` throws.
   */
  settle(id: string, settlement: LedgerSettlement): Promise<void>;
  /** A table for a spreadsheet. What begins like a formula is quoted as text. */
  csv(range?: LedgerRange): Promise<string>;
}

/** What ends along with an entry. */
export type SettleListener = (entry: LedgerEntry, charged: "no" | "yes") => Promise<void>;

const listeners = new WeakMap<ImageLedger, Set<SettleListener>>();

/** Ends something else before an entry is settled. */
export function beforeSettling(ledger: ImageLedger, listener: SettleListener): void {
  const known = listeners.get(ledger) ?? new Set();
  listeners.set(ledger, known.add(listener));
}

/** A ledger over a store, such as one of your own. */
export function createLedger(store: LedgerStore): ImageLedger {
  const ledger: ImageLedger = {
    store,
    entries: (range) => store.entries(range),
    totals: ({ by, ...range } = {}) => totalsOf(store.entries(range), by),
    csv: (range) => csvOf(store.entries(range)),
    async settle(id, { charged, cost }) {
      if (charged !== "no" && charged !== "yes") {
        throw invalid("settlement.charged", charged, '"no" or "yes"');
      }
      checkAmount("settlement.cost", cost);
      const entry = await store.read(id);
      if (entry === undefined) throw invalid("id", id, "the id of an entry of this ledger");
      if (isSettled(entry)) {
        throw invalid("id", `an entry that is ${entry.state}`, "one that is still open");
      }
      // First what may refuse it: the entry stays open then.
      for (const listener of listeners.get(ledger) ?? []) await listener(entry, charged);
      const unit = entry.counted?.unit;
      const free = unit === undefined ? undefined : { amount: 0, unit };
      const counted = charged === "no" ? free : (cost ?? entry.counted);
      await store.update(id, {
        state: charged === "no" ? "refunded" : "charged",
        settledAt: new Date().toISOString(),
        ...(counted !== undefined && { counted }),
      });
    },
  };
  return ledger;
}

/** A ledger that forgets when the process ends: for tests, and for budgets of one process. */
export function memoryLedger(): ImageLedger {
  return createLedger(memoryStore());
}

/**
 * A ledger in a file of JSON lines, on a local disk. It is made where it is not there, read back at the
 * first use, and only ever appended to, one `write` a line; a line that a crash has torn is passed over.
 * Several processes may write it and see each other's orders; that a budget holds among them to the cent
 * takes a database.
 */
export function jsonLinesLedger(path: string): ImageLedger {
  if (typeof path !== "string" || path === "") throw invalid("path", path, "the path of a file");
  return createLedger(jsonLinesStore(path));
}
