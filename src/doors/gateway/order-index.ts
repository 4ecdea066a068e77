import type { Order } from "./order";

/**
 * Orders by a name. What is taken out is let go at once: V8 links each table that a `Map` outgrows to the
 * next, so that one old table keeps alive, until the next full collection, whatever has stood in the later
 * ones: with the orders themselves in it, each small one left 16 KB behind.
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
