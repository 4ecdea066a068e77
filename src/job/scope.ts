import { type AbortSignalLike, LightAbortSignal } from "../async/clock";

/** Combines the caller's signal with the client's close, for the duration of one wait. */
export class Scope extends LightAbortSignal {
  readonly #waiters: Waiters;
  readonly #signal: AbortSignalLike | undefined;
  readonly #closing: AbortSignalLike;

  constructor(waiters: Waiters, signal: AbortSignalLike | undefined, closing: AbortSignalLike) {
    super();
    this.#waiters = waiters;
    this.#signal = signal;
    this.#closing = closing;
    if (closing.aborted || signal?.aborted) this.#onEnd();
    signal?.addEventListener("abort", this.#onEnd, { once: true });
    closing.addEventListener("abort", this.#onEnd, { once: true });
  }

  readonly #onEnd = () =>
    this.abort(this.#closing.aborted ? this.#waiters.closedError() : this.#signal?.reason);

  /** Ends the wait. */
  end(): void {
    this.#signal?.removeEventListener("abort", this.#onEnd);
    this.#closing.removeEventListener("abort", this.#onEnd);
    this.#waiters.leave();
  }
}

/** A job that is waited for. Not a function of it: a closure is 80 bytes in every job that waits. */
interface AwaitedJob {
  /** What becomes of those who wait when the client is closed. */
  closedError(): unknown;
}

/** Those who wait for a job. */
export class Waiters {
  readonly #job: AwaitedJob;
  #count = 0;
  #onChange: ((isAwaited: boolean) => void) | undefined;

  constructor(job: AwaitedJob) {
    this.#job = job;
  }

  /** What they are told when the client is closed. */
  closedError(): unknown {
    return this.#job.closedError();
  }

  get isAwaited(): boolean {
    return this.#count > 0;
  }

  /** Calls back when the first waiter arrives and when the last one leaves. */
  follow(onChange: (isAwaited: boolean) => void): void {
    this.#onChange = onChange;
  }

  /** Adds a waiter, until the returned scope's `end`. */
  enter(signal: AbortSignalLike | undefined, closing: AbortSignalLike): Scope {
    this.#count += 1;
    if (this.#count === 1) this.#onChange?.(true);
    return new Scope(this, signal, closing);
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count === 0) this.#onChange?.(false);
  }
}
