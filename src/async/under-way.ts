import { type Clock, within } from "./clock";
import { Latch } from "./latch";

/** Counts what has begun and not ended. */
export class UnderWay {
  #count = 0;
  #idle: Latch | undefined;

  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Something begins: to be followed by `end`, however it ends. */
  begin(): void {
    this.#count += 1;
  }

  end(): void {
    this.#count -= 1;
    if (this.#count > 0) return;
    this.#idle?.open();
    this.#idle = undefined;
  }

  /** Waits until nothing is under way, or that long. */
  async idle(clock: Clock, withinMs: number): Promise<void> {
    if (this.isIdle) return;
    this.#idle ??= new Latch();
    const deadlineAt = clock.now() + withinMs;
    // A function of the caller's that never ends must not hold it for ever.
    await within(clock, this.#idle.opened, { deadlineAt }).catch(() => {});
  }
}
