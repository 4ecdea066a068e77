import { randomUUID } from "node:crypto";
import {
  type Amount,
  type Charged,
  type JobReference,
  JournalError,
  type LedgerEntry,
  type LedgerStore,
  type Operation,
} from "../../index";
import { type BudgetWindow, exceeded, isAbout, leftOf, unpriced, windowAt } from "./budget";
import type { Clock } from "./clock";
import { accountOf } from "./members";
import { exactly, type Rates } from "./money";
import { Order, type OrderContext } from "./order";
import type { Candidate } from "./selection";
import type { Budget, BudgetStatus, RouteEvent } from "./types";

/** What an order is besides what its client is asked. */
export interface OrderFacts {
  readonly operation: Operation;
  readonly tags: Readonly<Record<string, string>>;
  readonly claim?: string | undefined;
  /** The entry of unknown fate that it is bought again for. */
  readonly again?: string | undefined;
}

/** How orders are counted. */
export interface AccountingOptions {
  readonly store: LedgerStore | undefined;
  readonly budgets: readonly Budget[];
  readonly rates: Rates;
  readonly margin: number;
  readonly trustReported: boolean;
  readonly clock: Clock;
  readonly tell: (event: RouteEvent) => void;
}

/** Reserves for orders before they leave, and settles them after. */
export class Accounting {
  readonly options: AccountingOptions;
  readonly #context: OrderContext;

  constructor(options: AccountingOptions) {
    this.options = options;
    this.#context = { ...options, tellOvershoot: (entry) => this.#tellOvershoot(entry) };
  }

  /**
   * Writes an order down and holds its price against every budget that is about it.
   *
   * @throws {@link BudgetExceededError} where a budget has no room, or no price is known.
   */
  async reserve(candidate: Candidate, facts: OrderFacts): Promise<Order> {
    const { store, budgets, rates, margin, clock } = this.options;
    if (store === undefined) return new Order(this.#context, undefined);
    const { member, request, estimate } = candidate;
    const now = clock.wallTime();
    const about = budgets.filter((budget) => isAbout(budget, facts.tags));
    const windows = about.map((budget) => windowAt(budget, now, rates));
    const counted = estimate && { amount: exactly(estimate.amount * margin), unit: estimate.unit };
    const covering = this.#covering(windows, counted, member.name);
    const account = accountOf(member.client);
    const { operation, tags, claim, again } = facts;
    const entry: LedgerEntry = {
      ...{ id: randomUUID(), at: new Date(now).toISOString(), client: member.name },
      ...{ provider: member.client.name, operation, images: request.n ?? 1, tags },
      ...{ state: "reserved" as const },
      ...(account !== undefined && { account }),
      ...(estimate !== undefined && { estimate }),
      ...(counted !== undefined && { counted }),
      ...(claim !== undefined && { claim }),
      ...(again !== undefined && { again }),
    };
    const limits = covering.map(({ limit }) => limit);
    const shortfall = await this.guarded("no", () => store.append(entry, limits));
    if (shortfall === undefined) return new Order(this.#context, entry);
    const window = covering[shortfall.limit];
    // A store that names a limit which it was not given.
    if (window === undefined) throw unpriced(member.name, "The ledger refused it");
    const wanted = counted && rates.convert(counted, window.budget.unit);
    throw exceeded(window, wanted?.amount ?? 0, { ...shortfall, now, client: member.name });
  }

  /** The budgets that an order is held against. One at least, where any is about it. */
  #covering(
    windows: readonly BudgetWindow[],
    counted: Amount | undefined,
    client: string,
  ): readonly BudgetWindow[] {
    if (windows.length === 0) return [];
    if (counted === undefined) {
      throw unpriced(client, "No price is known for it: `assume` can give one");
    }
    const covering = windows.filter(({ limit }) => limit.rates[counted.unit] !== undefined);
    if (covering.length > 0) return covering;
    const units = [...new Set(windows.map(({ budget }) => budget.unit))].join(", ");
    const detail = `Its price is in ${counted.unit}, and the budget in ${units}: \`rates\` can tell`;
    throw unpriced(client, detail);
  }

  /** An order of another call, which no entry is open for. */
  none(): Order {
    return new Order(this.#context, undefined, true);
  }

  /**
   * The order of an entry that is there already; one that has been paid for needs none. Gives nothing
   * where there is no such entry, or its money was given back.
   */
  async reopen(id: string | undefined): Promise<Order | undefined> {
    const { store } = this.options;
    if (store === undefined) return this.none();
    const entry = id === undefined ? undefined : await this.guarded("no", () => store.read(id));
    if (entry === undefined || entry.state === "refunded") return undefined;
    return entry.state === "charged" ? this.none() : new Order(this.#context, entry, true);
  }

  /**
   * The order of a job that was taken up again, and has ended. One that was not paid for ends its own order
   * alone: under one key a job that was sent later can have the same name, and its entry.
   */
  async orderOf({ id: job, tasks }: JobReference, isPaid: boolean): Promise<Order> {
    const { store } = this.options;
    const entry = await this.guarded("unknown", async () => store?.findJob(job));
    const isAnother = ({ index, id }: JobReference["tasks"][number]) => {
      const own = tasks.find((task) => task.index === index)?.id;
      return id !== undefined && own !== undefined && own !== id;
    };
    const isOwn = entry?.job === job && !entry.reference?.tasks.some(isAnother);
    const id = isPaid || isOwn ? entry?.id : undefined;
    return (await this.reopen(id)) ?? this.none();
  }

  /** Tells of each budget that a settled order has exceeded. */
  async #tellOvershoot(entry: LedgerEntry): Promise<void> {
    const { budgets, rates, tell } = this.options;
    for (const budget of budgets) {
      if (!isAbout(budget, entry.tags)) continue;
      const { limit } = windowAt(budget, Date.parse(entry.at), rates);
      const by = await this.#overshootOf(budget, limit);
      if (by > 0) tell({ type: "overshoot", budget, by });
    }
  }

  async #overshootOf({ amount }: Budget, limit: BudgetWindow["limit"]): Promise<number> {
    const sums = await this.options.store?.sums(limit);
    return sums === undefined ? 0 : leftOf(sums.charged + sums.reserved + sums.unknown, amount);
  }

  /** What has become of each budget. */
  async statuses(): Promise<readonly BudgetStatus[]> {
    const { store, budgets, rates, clock } = this.options;
    if (store === undefined) return [];
    return Promise.all(
      budgets.map(async (budget) => {
        const { limit } = windowAt(budget, clock.wallTime(), rates);
        const sums = await this.guarded("no", () => store.sums(limit));
        const used = sums.charged + sums.reserved + sums.unknown;
        return {
          ...budget,
          ...sums,
          left: leftOf(budget.amount, used),
          overshoot: leftOf(used, budget.amount),
          ...(limit.to !== undefined && { renewsAt: new Date(limit.to) }),
        };
      }),
    );
  }

  /** @throws {@link JournalError} in place of what the store throws. */
  async guarded<Value>(charged: Charged, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new JournalError({ charged, detail: `The ledger: ${reason}`, cause });
    }
  }
}
