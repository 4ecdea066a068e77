import { randomBytes } from "node:crypto";
import type { ImageJob } from "../../index";
import type { End } from "./ends";
import type { Reply } from "./exchange";
import type { PartialImageEvent, PartialImageQueue } from "./partial-images";
import type { OrderRecord } from "./store";

/** What an order is of. */
export interface Placing {
  readonly caller: string;
  readonly digest: string;
  /** The hash of the `Idempotency-Key`. */
  readonly key: string | undefined;
  readonly model: string;
}

/** Where equal orders are found: one place for a key, or one for all that ask the same. */
export function slotOf({
  caller,
  digest,
  key,
}: Pick<OrderRecord, "caller" | "digest"> & { readonly key?: string | undefined }): string {
  return `${caller}\n${key === undefined ? digest : `key ${key}`}`;
}

/** One purchase: it goes on when its caller leaves. */
export class Order {
  readonly id: string;
  readonly slot: string;
  /** Settles once, and never rejects. */
  readonly ended: Promise<End>;
  record: OrderRecord;
  end: End | undefined;
  /** How many replies wait for its end, or are being written. */
  readers = 0;
  /** How many of them are to those who ordered, and not to those who fetch it as a job. */
  waiting = 0;
  /** Whether it counts against its caller's limit. */
  isCounted = false;
  isDelivered = false;
  /** Somebody has fetched it as a job: it stays to be fetched again. */
  isFetched = false;
  /** Its gateway was stopped: whoever comes for it runs it again, under the same id. */
  isLost = false;
  /** Until when that buys nothing more, in milliseconds since 1970. */
  lostUntil = 0;
  /** It was run again: what the first run has bought is not known from what the second says. */
  isRerun = false;
  /** Its time as a job is over. */
  isExpired = false;
  /** Where its partial images go: nobody keeps them for a reader who comes later. */
  readonly watchers = new Set<PartialImageQueue>();
  /** What asks after a job that its provider still has. */
  review: Promise<Reply> | undefined;
  /**
   * The client's job behind it, which is released once the order is forgotten. Not a function that releases it:
   * with one here, 7 KB of each small order outlived every scavenge, until a full collection (measured with
   * Node 20.20; why is not known).
   */
  job: ImageJob | undefined;
  /** Ends its time as an orphan, and its time as a job. */
  cancelOrphan: (() => void) | undefined;
  cancelJob: (() => void) | undefined;
  #resolve: (end: End) => void = () => {};

  constructor(record: OrderRecord) {
    this.id = record.id;
    this.record = record;
    this.slot = slotOf(record);
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get isKeyed(): boolean {
    return this.record.key !== undefined;
  }

  /** Adds to what is kept of it. */
  note(more: Partial<OrderRecord>): void {
    this.record = Object.assign({}, this.record, more);
  }

  show(partial: PartialImageEvent): void {
    for (const watcher of this.watchers) watcher.push(partial);
  }

  /** A later end, as a job that was fetched again may have one, takes the place of an earlier one. */
  settle(end: End): void {
    this.end = end;
    this.#resolve(end);
  }
}

const idBytes = 16;
let pool = Buffer.alloc(0);

/** An id that nobody can guess. Randomness is drawn for many at once: a draw costs more than all the rest. */
export function newOrderId(): string {
  if (pool.byteLength < idBytes) pool = randomBytes(idBytes * 128);
  const id = pool.toString("hex", 0, idBytes);
  pool = pool.subarray(idBytes);
  return id;
}
