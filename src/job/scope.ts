import { type AbortSignalLike, LightAbortSignal } from "../async/clock";

/** A caller's signal and the client's end in one, for as long as somebody waits. */
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

  /** Nobody waits any more. */
  end(): void {
    this.#signal?.removeEventListener("abort", this.#onEnd);
    this.#closing.removeEventListener("abort", this.#onEnd);
    this.#waiters.leave();
  }
}

/** Those who wait for a job. */
export class Waiters {
  /** What they are told when the client is closed. */
  readonly closedError: () => unknown;
  #count = 0;
  #onChange: ((isAwaited: boolean) => void) | undefined;

  constructor(closedError: () => unknown) {
    this.closedError = closedError;
  }

  get isAwaited(): boolean {
    return this.#count > 0;
  }

  /** Hears when somebody begins to wait, and when the last one has left. */
  follow(onChange: (isAwaited: boolean) => void): void {
    this.#onChange = onChange;
  }

  /** Somebody waits; the scope's `end` says until when. */
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
