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
