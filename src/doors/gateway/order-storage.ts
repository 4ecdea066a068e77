import { basename } from "node:path";
import { type End, isSuccess, type Picture } from "./ends";
import type { Order } from "./order";
import type { Spool } from "./pictures";
import type { GatewayStore, StoredEnd, StoredPicture } from "./store";

/** What of orders is kept: records in the store, where there is one, and pictures in the spool. */
export class OrderStorage {
  readonly #store: GatewayStore | undefined;
  readonly #spool: Spool;
  readonly #onError: (error: unknown) => void;
  /** The last write of each order that is being written. */
  readonly #writing = new Map<string, Promise<void>>();
  #isLeft = false;

  constructor(store: GatewayStore | undefined, spool: Spool, onError: (error: unknown) => void) {
    this.#store = store;
    this.#spool = spool;
    this.#onError = onError;
  }

  /** The store is another gateway's now: nothing is written any more, and no picture is removed. */
  leave(): void {
    this.#isLeft = true;
  }

  put(order: Order): Promise<void> | undefined {
    const { record } = order;
    return this.#inTurn(order.id, (store) => store.put(record));
  }

  /** One write of an order at a time: over a pool of connections an earlier state could come last. */
  #inTurn(id: string, write: (store: GatewayStore) => Promise<void>): Promise<void> | undefined {
    const store = this.#store;
    if (store === undefined) return undefined;
    const before = this.#writing.get(id);
    const work = async () => {
      if (this.#isLeft) throw new Error("Another gateway has the store by now");
      await write(store);
    };
    const now = before === undefined ? work() : before.then(work, work);
    this.#writing.set(id, now);
    const end = () => {
      if (this.#writing.get(id) === now) this.#writing.delete(id);
    };
    now.then(end, end);
    return now;
  }

  /** The same of an order that is paid for: what goes wrong must not take its end from it. */
  async tryPut(order: Order): Promise<void> {
    if (this.#isLeft) return;
    try {
      await this.put(order);
    } catch (error) {
      this.#onError(error);
    }
  }

  /** An end as a record holds it. */
  stored(end: End): StoredEnd | undefined {
    if (this.#store === undefined) return undefined;
    if (!isSuccess(end)) return end;
    return { facts: end.facts, pictures: end.pictures.flatMap(recordOf) };
  }

  /** An end out of a record. */
  async restored(end: StoredEnd): Promise<End> {
    if (!("pictures" in end)) return end;
    const pictures = await Promise.all(
      end.pictures.map(async ({ file, byteLength, outputFormat, size, url, revisedPrompt }) => {
        const stored = { file: await this.#spool.placeOf(file), byteLength };
        return { outputFormat, size, url, revisedPrompt, stored };
      }),
    );
    return { charged: "yes", pictures, facts: end.facts };
  }

  async discard({ pictures }: { readonly pictures: readonly Picture[] }): Promise<void> {
    try {
      await this.#spool.discard(pictures);
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Forgets an order, its pictures, and what a client's journal has of it. */
  async forget({ id, end, job }: Order): Promise<void> {
    if (this.#isLeft) return;
    if (end !== undefined && isSuccess(end)) await this.discard(end);
    try {
      await this.#inTurn(id, (store) => store.delete(id));
      await job?.release();
    } catch (error) {
      this.#onError(error);
    }
  }
}

function recordOf(picture: Picture): StoredPicture[] {
  // With a store every picture is on the disk.
  if (!("stored" in picture)) return [];
  const { outputFormat, size, url, revisedPrompt, stored } = picture;
  const { file, byteLength } = stored;
  return [{ file: basename(file), byteLength, outputFormat, size, url, revisedPrompt }];
}
