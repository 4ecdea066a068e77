import type { Order } from "./order";

/** How many orders of each caller are under way or unreceived. */
export class CallerCounts {
  readonly #counts = new Map<string, number>();

  of(caller: string): number {
    return this.#counts.get(caller) ?? 0;
  }

  add(order: Order): void {
    const { caller } = order.record;
    order.isCounted = true;
    this.#counts.set(caller, this.of(caller) + 1);
  }

  /** Each order once. */
  remove(order: Order): void {
    if (!order.isCounted) return;
    order.isCounted = false;
    const { caller } = order.record;
    const left = this.of(caller) - 1;
    if (left > 0) this.#counts.set(caller, left);
    else this.#counts.delete(caller);
  }
}
