import { type AbortSignalLike, type Clock, LightAbortSignal } from "./clock";

/** A time-out that can be pushed on, and a caller's signal, in one. */
export class Timer extends LightAbortSignal {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #outer: AbortSignalLike | undefined;
  #cancel: () => void = () => {};
  expired = false;

  constructor(clock: Clock, timeoutMs: number, outer: AbortSignalLike | undefined) {
    super();
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#outer = outer;
    if (outer?.aborted) this.abort(outer.reason);
    else outer?.addEventListener("abort", this.#onAbort, { once: true });
    this.restart();
  }

  readonly #onAbort = () => this.abort(this.#outer?.reason);

  restart(): void {
    this.#cancel();
    this.#cancel = this.#clock.after(this.#timeoutMs, () => {
      this.expired = true;
      this.abort(new Error("The time is up"));
    });
  }

  stop(): void {
    this.#cancel();
    this.#outer?.removeEventListener("abort", this.#onAbort);
  }
}
