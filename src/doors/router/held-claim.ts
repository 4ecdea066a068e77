import type { ImageError, ImageJob, JobReference } from "../../index";
import type { Claim } from "./claim";
import type { Claims } from "./claims";
import type { Order } from "./order";
import { isUncharged } from "./rules";

/** A claim that is a call's own while its client is asked, and what is written down of the order under it. */
export class HeldClaim {
  readonly #claims: Claims;
  readonly #opened: Claim;
  #claim: Claim;

  constructor(claims: Claims, opened: Claim) {
    this.#claims = claims;
    this.#opened = opened;
    this.#claim = opened;
  }

  /** Keeps it for as long as the order waits; `onLost` is called where somebody else has taken it over. */
  keep(limitMs: number, onLost: () => void): () => void {
    return this.#claims.keep(this.#opened, limitMs, onLost);
  }

  /** The call is at it no longer. */
  leave(): void {
    this.#claims.leave(this.#opened);
  }

  /** What is paid for must not be lost by a journal that cannot be written. */
  async accepted({ reference }: ImageJob, order: Order): Promise<void> {
    try {
      this.#claim = await this.#claims.update(this.#claim, {}, { reference });
    } catch (error) {
      order.warnings.push(`The claim does not know the job: ${String(error)}`);
    }
  }

  async succeeded(reference: JobReference, isOver: boolean, order: Order): Promise<void> {
    // A job that was submitted goes on: its claim stays open, and leads to it.
    const change = isOver ? ({ state: "succeeded" } as const) : {};
    await this.#claims.update(this.#claim, change, { reference }).catch((error: unknown) => {
      order.warnings.push(`The claim could not be ended: ${String(error)}`);
    });
  }

  /** @throws the error where it cannot be written: nobody may go on then. */
  async failed(error: ImageError, order: Order): Promise<void> {
    const { code: kind, message } = error;
    const reference = error.job?.reference;
    const charged = isUncharged(error) ? "no" : error.charged === "yes" ? "yes" : "unknown";
    const failure = { kind, message, charged } as const;
    const state = charged === "unknown" ? "unknown" : "failed";
    const more = reference === undefined ? {} : { reference };
    try {
      await this.#claims.update(this.#claim, { state, failure }, more, charged);
    } catch (cause) {
      // Without its end nobody may go on: the next claim would stand beside an open order.
      order.warnings.push(`The claim could not be ended: ${String(cause)}`);
      throw error;
    }
  }

  /** The caller has left. */
  async abandoned(order: Order): Promise<void> {
    const message = "The caller left before it ended";
    const charged = order.isBegun ? "unknown" : "no";
    const failure = { kind: "generation_failed", message, charged } as const;
    const state = order.isBegun ? "unknown" : "failed";
    // The caller's own reason is thrown whatever the journal says: an open claim tells no less.
    await this.#claims.update(this.#claim, { state, failure }).catch(() => {});
  }
}
