import type { JobReference } from "../../index";
import type { Failure, SuccessFacts } from "./ends";

/** A picture of an order that has ended, as it is kept. */
export interface StoredPicture {
  /** The file's name in the spool directory. */
  readonly file: string;
  readonly byteLength: number;
  readonly outputFormat?: string | undefined;
  readonly size?: string | undefined;
  readonly url?: string | undefined;
  readonly revisedPrompt?: string | undefined;
}

/** What became of an order, as it is kept. */
export type StoredEnd =
  | Failure
  | { readonly pictures: readonly StoredPicture[]; readonly facts: SuccessFacts };

/** An order, as a store keeps it: plain JSON without a prompt, a key of a provider or one of a caller. */
export interface OrderRecord {
  readonly v: 1;
  /** Random, 128 bits: the id of the job. */
  readonly id: string;
  /** The SHA-256 of the caller's name. */
  readonly caller: string;
  /** What tells the request from another. */
  readonly digest: string;
  /** Which of the equal orders of this caller it is. */
  readonly ordinal: number;
  /** The SHA-256 of the `Idempotency-Key`, where one came. */
  readonly key?: string;
  /** Which of the gateway's models. */
  readonly model: string;
  /** When it was ordered, in milliseconds since 1970. */
  readonly orderedAt: number;
  /** The provider's job, once it has accepted. */
  readonly reference?: JobReference;
  /** What became of it. */
  readonly end?: StoredEnd | undefined;
  /** When it ended, in milliseconds since 1970. */
  readonly endedAt?: number;
  /** Whether its caller has received it. */
  readonly isDelivered?: boolean;
}

/** The right to a store that several gateways share: one of them has it at a time. */
export interface StoreLease {
  /** How often it is to be renewed, in milliseconds: several times before it runs out. */
  readonly renewEveryMs: number;
  /**
   * Takes the lease, or renews it. Gives a number, which is another one where somebody else has had it
   * meanwhile; `undefined` while another has it. From then on this gateway's `put` and `delete` reject.
   */
  take(): Promise<number | undefined>;
  /** Ends it, so that another need not wait until it runs out. */
  release(): Promise<void>;
}

/**
 * Where orders outlive the process. One gateway at a time uses one: orders that are under way are joined
 * in its memory. A table with an id and a JSON column is enough.
 */
export interface GatewayStore {
  /** Where the pictures of its orders are kept: files that must outlive the process as well. */
  readonly directory: string;
  /**
   * Keeps a record, durably and whole, in the place of one with the same id. The gateway waits for each
   * write of an order before it begins the next.
   */
  put(record: OrderRecord): Promise<void>;
  /** Forgets a record; its pictures are removed by the gateway. */
  delete(id: string): Promise<void>;
  /** Everything that is there: read once, as the gateway starts or has got the lease, and checked. */
  list(): AsyncIterable<unknown>;
  /** Where several gateways share it. One without the lease orders nothing, and answers 503. */
  readonly lease?: StoreLease;
}
