import type { OrderBook } from "./book";
import type { Clock } from "./clock";
import { GatewayFault } from "./faults";
import type { OrderStorage } from "./order-storage";
import type { StoreLease } from "./store";

/** A time in which a gateway has its store to itself: the orders that it knows, and what keeps them. */
export interface Term {
  readonly book: OrderBook;
  readonly storage: OrderStorage;
  /** Settles once the orders of an earlier process are taken up. */
  readonly started: Promise<void> | undefined;
}

interface TermsContext {
  readonly lease: StoreLease | undefined;
  readonly clock: Clock;
  /** Begins one, with whatever the store holds by now. */
  open(): Term;
  onError(error: unknown): void;
}

/** One term after another: a gateway that shares its store has one only while it has the lease. */
export class Terms {
  readonly #context: TermsContext;
  #term: Term | undefined;
  #number: number | undefined;
  /** The first attempt to have the lease. */
  readonly #first: Promise<void> | undefined;
  #renewing: Promise<void> | undefined;
  #cancel = () => {};
  #isReleased = false;

  constructor(context: TermsContext) {
    this.#context = context;
    if (context.lease === undefined) this.#begin();
    else this.#first = this.#renew(context.lease);
  }

  /** @throws {@link GatewayFault} 503 while another gateway has the store; why it could not be read. */
  async current(): Promise<Term> {
    if (this.#first !== undefined && this.#number === undefined) await this.#first;
    const term = this.#term;
    if (term === undefined) {
      const message =
        "Another gateway has the store of this one. This request ordered nothing; an earlier one may be under way.";
      throw new GatewayFault(503, "standby", message, { headers: { "retry-after": "2" } });
    }
    if (term.started !== undefined) await term.started;
    return term;
  }

  /** Lets another gateway have the store. */
  async release(): Promise<void> {
    const { lease, onError } = this.#context;
    // What a store of its own has not been told yet still goes there.
    if (lease === undefined) return;
    this.#isReleased = true;
    this.#cancel();
    await this.#renewing;
    this.#end();
    try {
      await lease.release();
    } catch (error) {
      // It runs out by itself.
      onError(error);
    }
  }

  #begin(): void {
    const term = this.#context.open();
    this.#term = term;
    if (this.#context.lease === undefined) return;
    // What could not be read may be the next time.
    term.started?.catch(() => {
      if (this.#term === term) this.#end();
    });
  }

  /** What it has under way goes on, and is kept by whoever has the store now. */
  #end(): void {
    this.#term?.storage.leave();
    this.#term = undefined;
    this.#number = undefined;
  }

  #renew(lease: StoreLease): Promise<void> {
    this.#renewing = this.#take(lease).then(() => {
      if (this.#isReleased) return;
      this.#cancel = this.#context.clock.after(lease.renewEveryMs, () => void this.#renew(lease));
    });
    return this.#renewing;
  }

  /** Never rejects: what cannot be asked now leaves all as it is, and whoever lost it cannot write. */
  async #take(lease: StoreLease): Promise<void> {
    try {
      const number = await lease.take();
      if (number === this.#number || this.#isReleased) return;
      this.#end();
      this.#number = number;
      if (number !== undefined) this.#begin();
    } catch (error) {
      this.#context.onError(error);
    }
  }
}
