import { Ending, type EndSignal } from "../async/clock";

/** A caller's signal and the client's end in one, for as long as somebody waits. */
export class Scope extends Ending {
  readonly #attendance: Attendance;
  readonly #signal: EndSignal | undefined;
  readonly #closing: EndSignal;

  constructor(attendance: Attendance, signal: EndSignal | undefined, closing: EndSignal) {
    super();
    this.#attendance = attendance;
    this.#signal = signal;
    this.#closing = closing;
    if (closing.aborted || signal?.aborted) this.#onEnd();
    signal?.addEventListener("abort", this.#onEnd, { once: true });
    closing.addEventListener("abort", this.#onEnd, { once: true });
  }

  readonly #onEnd = () =>
    this.abort(this.#closing.aborted ? this.#attendance.closedError() : this.#signal?.reason);

  /** Nobody waits any more. */
  end(): void {
    this.#signal?.removeEventListener("abort", this.#onEnd);
    this.#closing.removeEventListener("abort", this.#onEnd);
    this.#attendance.leave();
  }
}

/** Those who wait for a job. */
export class Attendance {
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
  enter(signal: EndSignal | undefined, closing: EndSignal): Scope {
    this.#count += 1;
    if (this.#count === 1) this.#onChange?.(true);
    return new Scope(this, signal, closing);
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count === 0) this.#onChange?.(false);
  }
}
