// The contract between a ledger and where it is kept, so that a door with a database can be one.
import type { Cost } from "../cost";
import type { JobReference, Operation } from "../types/reference";

/** So much money, or so many credits. */
export type Amount = Pick<Cost, "amount" | "unit">;

/**
 * What became of the money of an order. `"reserved"`: it is on its way. `"charged"` and `"refunded"` are
 * certain; `"unknown"` says that nobody can tell yet, and keeps its reservation until it is settled.
 */
export type LedgerState = "reserved" | "charged" | "refunded" | "unknown";

/** One order: a create at one client, with whatever a split of it sends. */
export interface LedgerEntry {
  /** Unique among all that share a ledger. */
  readonly id: string;
  /** When it was reserved, as ISO 8601. It counts in the hour, day and month of this time. */
  readonly at: string;
  /** When its state became what it is, as ISO 8601; absent while it is reserved. */
  readonly settledAt?: string;
  /** What the router calls the client. */
  readonly client: string;
  readonly provider: string;
  /** The account of the client, where its user has named one. */
  readonly account?: string;
  readonly operation: Operation;
  /** How many images were ordered. */
  readonly images: number;
  /** The `tags` of the call. */
  readonly tags: Readonly<Record<string, string>>;
  readonly state: LedgerState;
  /** The list price, or the assumed one, of the whole order. */
  readonly estimate?: Amount;
  /**
   * What it takes of a budget: its reservation while it is reserved or unknown, then its cost; 0 once
   * it is refunded. Absent where no price is known.
   */
  readonly counted?: Amount;
  /** What the provider said that it cost. */
  readonly reported?: Amount;
  /** What it cost by the tokens that the provider reported. */
  readonly computed?: Amount;
  /** When its create left, as ISO 8601: the last one, where a later call under its key had to send again. */
  readonly sentAt?: string;
  /** The id of its job, once there is one. */
  readonly job?: string;
  /** To take the job up again: without a key or a prompt. */
  readonly reference?: JobReference;
  /** The record of its `idempotencyKey` in the router's journal. */
  readonly claim?: string;
  /** The order of unknown fate that it was bought again for. */
  readonly again?: string;
}

/** What becomes known of an entry later. A change replaces the fields that it has. */
export type LedgerChange = Partial<
  Pick<
    LedgerEntry,
    "state" | "settledAt" | "counted" | "reported" | "computed" | "sentAt" | "job" | "reference"
  >
>;

/** Entries by when they were reserved: `from` is included, `to` is not. ISO 8601. */
export interface LedgerRange {
  readonly from?: string;
  readonly to?: string;
}

/** Which entries a limit is about: those of a time and of all its tags. */
export interface LedgerScope extends LedgerRange {
  readonly tags: Readonly<Record<string, string>>;
  /** What one of a unit is in the unit of the sums. Entries of other units are left out. */
  readonly rates: Readonly<Record<string, number>>;
}

/** What the entries of a scope may come to in all. */
export interface LedgerLimit extends LedgerScope {
  readonly amount: number;
}

/** What the `counted` of a scope's entries come to, by their states. */
export type LedgerSums = Readonly<Record<Exclude<LedgerState, "refunded">, number>>;

/** A limit that has no room for an entry. */
export interface LedgerShortfall {
  /** Which of the limits. */
  readonly limit: number;
  /** What it has been used for already. */
  readonly used: number;
}

/**
 * Where a ledger is kept. Nothing is ever removed.
 *
 * `append` decides over budgets: whatever runs at once, in as many processes as share the store, the sum
 * of what was let in never exceeds a limit. Sums are exact to a billionth: binary fractions
 * must not make a limit one order too small.
 */
export interface LedgerStore {
  /**
   * Adds an entry, unless one of the limits has no room for what it counts: then nothing is added, and
   * the first such limit is told. The check and the addition are one step for all who share the store.
   */
  append(entry: LedgerEntry, limits?: readonly LedgerLimit[]): Promise<LedgerShortfall | undefined>;
  /** Changes an entry; one that is not there is left alone. */
  update(id: string, change: LedgerChange): Promise<void>;
  /** An entry by its id. */
  read(id: string): Promise<LedgerEntry | undefined>;
  /** The newest entry of a job. */
  findJob(job: string): Promise<LedgerEntry | undefined>;
  /** Entries in the order in which they were reserved. */
  entries(range?: LedgerRange): AsyncIterable<LedgerEntry>;
  /** What a scope comes to. */
  sums(scope: LedgerScope): Promise<LedgerSums>;
}
