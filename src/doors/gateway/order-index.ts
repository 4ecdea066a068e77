import type { Order } from "./order";

/**
 * Orders by a name. What is taken out is let go at once: V8 links each table that a `Map` outgrows to the one
 * that replaces it, so that of a table that has grown old all later ones, and what stood in them when they
 * were replaced, wait for a full collection. With the orders themselves in it, each small one left 16 KB.
 */
export class OrderIndex {
  readonly #places = new Map<string, { order: Order | undefined }>();

  get(name: string): Order | undefined {
    return this.#places.get(name)?.order;
  }

  set(name: string, order: Order): void {
    this.#places.set(name, { order });
  }

  delete(name: string): void {
    const place = this.#places.get(name);
    if (place === undefined) return;
    place.order = undefined;
    this.#places.delete(name);
  }
}

/** Orders that may stand for each other, by the slot that they have in common, the oldest first. */
export class OrderLists {
  readonly #lists = new Map<string, Order[]>();

  oldestOf(slot: string): Order | undefined {
    return this.#lists.get(slot)?.[0];
  }

  add(order: Order): void {
    this.#lists.set(order.slot, [...(this.#lists.get(order.slot) ?? []), order]);
  }

  delete(order: Order): void {
    const left = this.#lists.get(order.slot)?.filter((each) => each !== order) ?? [];
    if (left.length > 0) this.#lists.set(order.slot, left);
    else this.#lists.delete(order.slot);
  }
}
