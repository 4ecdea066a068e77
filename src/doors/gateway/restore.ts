import { stat } from "node:fs/promises";
import type { ImageClient } from "../../index";
import type { OrderBook } from "./book";
import type { Clock } from "./clock";
import { type End, isSuccess, lostOf } from "./ends";
import { Order } from "./order";
import type { OrderStorage } from "./order-storage";
import type { GatewayStore, OrderRecord } from "./store";
import { type FulfilmentContext, repeatableForMs, resumption } from "./work";

interface RestoreContext {
  readonly book: OrderBook;
  readonly storage: OrderStorage;
  readonly clock: Clock;
  readonly keyTtlMs: number;
  readonly models: ReadonlyMap<string, ImageClient>;
  contextFor(order: Order): FulfilmentContext;
  track(work: Promise<void>): void;
  onError(error: unknown): void;
}

/** Takes up the orders that an earlier process has left. */
export async function restoreOrders(store: GatewayStore, context: RestoreContext): Promise<void> {
  const found: OrderRecord[] = [];
  for await (const record of store.list()) {
    if (isRecord(record)) found.push(record);
    else context.onError(new Error("The store holds something that is no order of this version"));
  }
  // Heirs get the oldest first.
  found.sort((one, other) => one.ordinal - other.ordinal);
  for (const record of found) await restore(record, context);
}

async function restore(record: OrderRecord, context: RestoreContext): Promise<void> {
  const { book, models, clock, keyTtlMs } = context;
  const order = new Order(record);
  order.isDelivered = record.isDelivered === true;
  const end = await endOf(record, context);
  if (end !== undefined) {
    order.settle(end);
    // It is kept for those who fetch it: nobody else waits for what was received.
    order.isFetched = order.isDelivered;
    book.restore(order);
    return;
  }
  const client = models.get(record.model);
  if (client?.capabilities.resumable === true && record.reference !== undefined) {
    book.restore(order);
    const resume = async () => {
      await book.settle(order, await resumption(client, order, context.contextFor(order)));
    };
    context.track(resume());
    return;
  }
  const lastsMs = client === undefined ? 0 : Math.min(repeatableForMs(client), keyTtlMs);
  order.lostUntil = record.orderedAt + lastsMs;
  order.isLost = order.lostUntil > clock.now();
  book.restore(order);
  if (!order.isLost) await book.settle(order, lostOf(order.id));
}

/** The end that was kept, with its pictures; `undefined` where one of them is not there whole. */
async function endOf(record: OrderRecord, { storage }: RestoreContext): Promise<End | undefined> {
  if (record.end === undefined) return undefined;
  const end = await storage.restored(record.end);
  if (!isSuccess(end)) return end;
  for (const picture of end.pictures) {
    if (!("stored" in picture)) continue;
    const { file, byteLength } = picture.stored;
    const size = await stat(file).then(
      (found) => found.size,
      // It is missing: the power went before it was on the disk.
      () => undefined,
    );
    if (size !== byteLength) return undefined;
  }
  return end;
}

function isRecord(value: unknown): value is OrderRecord {
  if (typeof value !== "object" || value === null) return false;
  // Whatever it is, its members can be asked for.
  const { v, id, caller, digest, ordinal, model, orderedAt } = value as Partial<OrderRecord>;
  return (
    v === 1 &&
    typeof id === "string" &&
    /^[\da-f]{32}$/.test(id) &&
    [caller, digest, model].every((each) => typeof each === "string") &&
    [ordinal, orderedAt].every((each) => typeof each === "number")
  );
}
