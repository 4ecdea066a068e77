import type { JobReference } from "../../index";
import type { Clock } from "./clock";
import { CallerCounts } from "./counts";
import { type End, isSuccess, lostOf, missingOf } from "./ends";
import { GatewayFault } from "./faults";
import { newOrderId, Order, type Placing, slotOf } from "./order";
import { OrderIndex, OrderLists } from "./order-index";
import type { OrderStorage } from "./order-storage";

/** How long orders are kept, and how many. */
export interface BookLimits {
  readonly keyTtlMs: number;
  readonly orphanTtlMs: number;
  readonly maxOrdersPerCaller: number;
}

/** A reply's hold on an order. */
export interface Ticket {
  readonly order: Order;
  /** The order is the ticket's to begin. */
  readonly begins: boolean;
  /** Called once, when the reply was written out or its caller has left. */
  close(isDelivered: boolean): void;
}

/**
 * The orders. Repeats of `openai` and of the AI SDK carry no key: an order whose reply nobody received is
 * given to the next equal request, one to one. Two equal requests that both wait are two orders.
 */
export class OrderBook {
  readonly #clock: Clock;
  readonly #storage: OrderStorage;
  readonly #limits: BookLimits;
  readonly #orders = new OrderIndex();
  readonly #keyed = new OrderIndex();
  /** Orders that nobody has received, the oldest first. */
  readonly #orphans = new OrderLists();
  readonly #counts = new CallerCounts();
  #ordinal = 0;

  constructor(clock: Clock, storage: OrderStorage, limits: BookLimits) {
    this.#clock = clock;
    this.#storage = storage;
    this.#limits = limits;
  }

  /**
   * The order of a request: one that is there for it, or a new one.
   *
   * @throws {@link GatewayFault} 422 for another request under the same key, 429 beyond the limit.
   */
  take(placing: Placing): Ticket {
    const found = placing.key === undefined ? this.#orphanFor(placing) : this.#joined(placing);
    const order = found ?? this.#placed(placing);
    // A machine that slept has held its timers back.
    if (order.isLost && order.lostUntil <= this.#clock.now()) void this.#giveUp(order);
    const begins = found === undefined || order.isLost;
    order.isRerun ||= order.isLost;
    order.isLost = false;
    return this.#ticket(order, begins, false);
  }

  /** A caller's own order, for one who fetches it later. */
  fetch(caller: string, id: string): Ticket | undefined {
    const order = this.#orders.get(id);
    if (order === undefined || order.record.caller !== caller) return undefined;
    return this.#ticket(order, false, true);
  }

  #joined(placing: Placing): Order | undefined {
    const order = this.#keyed.get(slotOf(placing));
    if (order === undefined) return undefined;
    if (order.record.digest !== placing.digest) {
      const message = "This Idempotency-Key came with another request before.";
      throw new GatewayFault(422, "idempotency_key_reused", message);
    }
    return order;
  }

  #orphanFor(placing: Placing): Order | undefined {
    const oldest = this.#orphans.oldestOf(slotOf(placing));
    if (oldest !== undefined) this.#orphans.delete(oldest);
    return oldest;
  }

  #placed({ caller, digest, key, model }: Placing): Order {
    const { maxOrdersPerCaller: most } = this.#limits;
    if (this.#counts.of(caller) >= most) {
      const message = `This caller has ${most} orders under way or not yet received. Nothing was ordered.`;
      const headers = { "retry-after": "10" };
      throw new GatewayFault(429, "rate_limit_exceeded", message, { headers });
    }
    this.#ordinal += 1;
    const order = new Order({
      v: 1,
      id: newOrderId(),
      caller,
      digest,
      ordinal: this.#ordinal,
      model,
      orderedAt: this.#clock.now(),
      ...(key !== undefined && { key }),
    });
    this.#list(order);
    this.#counts.add(order);
    return order;
  }

  #list(order: Order): void {
    this.#orders.set(order.id, order);
    if (order.isKeyed) this.#keyed.set(order.slot, order);
  }

  /** An order that an earlier process has left. */
  restore(order: Order): void {
    this.#ordinal = Math.max(this.#ordinal, order.record.ordinal);
    if (order.end?.charged === "no") {
      // Nobody but those who fetch it hears of it again.
      order.isFetched = true;
      this.#orders.set(order.id, order);
      this.#startTimes(order);
      return;
    }
    this.#list(order);
    if (!order.isDelivered) {
      this.#counts.add(order);
      this.#orphan(order);
      if (order.isLost) this.#startLostTimes(order);
    } else if (order.end !== undefined) {
      this.#startTimes(order);
    }
  }

  #ticket(order: Order, begins: boolean, isFetch: boolean): Ticket {
    order.readers += 1;
    if (!isFetch) order.waiting += 1;
    let isOpen = true;
    const close = (isDelivered: boolean) => {
      if (!isOpen) return;
      isOpen = false;
      order.readers -= 1;
      if (!isFetch) order.waiting -= 1;
      if (isDelivered) this.#deliver(order, isFetch);
      else if (!isFetch && !order.isDelivered) this.#orphan(order);
      this.#tidy(order);
    };
    return { order, begins, close };
  }

  /** Keeps an order, before anything is sent. */
  begin(order: Order): Promise<void> | undefined {
    return this.#storage.put(order);
  }

  /** The provider has accepted: never throws, as the order is paid for. */
  async submitted(order: Order, reference: JobReference): Promise<void> {
    order.note({ reference });
    await this.#storage.tryPut(order);
  }

  async settle(order: Order, found: End): Promise<void> {
    if (order.record.end !== undefined && !isSuccess(found)) {
      // It was made and paid for. Where its pictures are it may be had yet: its record stays as it is.
      this.#end(order, missingOf(order.id));
      return;
    }
    // That nothing was charged this time says nothing of what the dead process had sent.
    const end = order.isRerun && found.charged === "no" ? lostOf(order.id) : found;
    if (end.charged !== "no") {
      const endedAt = this.#clock.now();
      order.note({ endedAt, end: this.#storage.stored(end) });
      await this.#storage.tryPut(order);
    }
    this.#end(order, end);
  }

  #end(order: Order, end: End): void {
    order.settle(end);
    // What cost nothing is ordered afresh.
    if (end.charged === "no") this.#unlist(order);
    else this.#startTimes(order);
    this.#tidy(order);
  }

  /** A surer end in the place of one that was told: it can be fetched for as long as any other. */
  async revise(order: Order, end: End): Promise<void> {
    order.isFetched = true;
    order.note({ endedAt: this.#clock.now(), end: this.#storage.stored(end) });
    await this.#storage.tryPut(order);
    order.settle(end);
    if (end.charged === "no") this.#unlist(order);
    this.#startTimes(order);
  }

  /** As an orphan it lasts from its end on, and from when its caller left; as a job from its end. */
  #startTimes(order: Order): void {
    const { keyTtlMs, orphanTtlMs } = this.#limits;
    const age = this.#clock.now() - (order.record.endedAt ?? this.#clock.now());
    order.cancelJob?.();
    order.cancelJob = this.#clock.after(Math.max(0, keyTtlMs - age), () => {
      // Its pictures may be on their way to somebody.
      order.isExpired = true;
      this.#unlist(order);
      this.#tidy(order);
    });
    if (order.isDelivered) return;
    order.cancelOrphan?.();
    order.cancelOrphan = this.#clock.after(orphanTtlMs, () => {
      this.#orphans.delete(order);
      if (order.waiting === 0) this.#counts.remove(order);
    });
  }

  /** A lost order is sent again only while nothing is bought twice by it, and is not counted for longer than any other. */
  #startLostTimes(order: Order): void {
    const { orphanTtlMs } = this.#limits;
    const leftMs = Math.max(0, order.lostUntil - this.#clock.now());
    order.cancelJob = this.#clock.after(leftMs, () => {
      if (order.isLost) void this.#giveUp(order);
    });
    order.cancelOrphan = this.#clock.after(orphanTtlMs, () => {
      if (order.isLost) this.#counts.remove(order);
    });
  }

  /** Never rejects. */
  #giveUp(order: Order): Promise<void> {
    order.isLost = false;
    return this.settle(order, lostOf(order.id));
  }

  #deliver(order: Order, isFetch: boolean): void {
    order.isDelivered = true;
    order.isFetched ||= isFetch;
    order.cancelOrphan?.();
    this.#orphans.delete(order);
    this.#counts.remove(order);
    order.note({ isDelivered: true });
    if (!this.#isDone(order)) void this.#storage.tryPut(order);
  }

  #orphan(order: Order): void {
    if (order.end?.charged === "no" || order.waiting > 0) return;
    if (!order.isKeyed) this.#orphans.add(order);
    if (order.end !== undefined) this.#startTimes(order);
  }

  /** Whether nobody can ask for it any more: what was charged and failed can still be looked up. */
  #isDone({ end, isKeyed, isDelivered, isFetched, isExpired }: Order): boolean {
    if (end === undefined) return false;
    if (isExpired) return true;
    if (end.charged === "no") return !isFetched;
    return isDelivered && !isKeyed && !isFetched && isSuccess(end);
  }

  #tidy(order: Order): void {
    if (order.readers === 0 && this.#isDone(order)) this.#forget(order);
  }

  #unlist(order: Order): void {
    if (this.#keyed.get(order.slot) === order) this.#keyed.delete(order.slot);
    this.#orphans.delete(order);
    this.#counts.remove(order);
  }

  #forget(order: Order): void {
    order.cancelOrphan?.();
    order.cancelJob?.();
    this.#unlist(order);
    this.#orders.delete(order.id);
    void this.#storage.forget(order);
  }
}
