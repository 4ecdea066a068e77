import type { Clock } from "./clock";

/**
 * Counts what has begun and not ended. A set of promises would cost each order two more, for a `close` that
 * comes once. The one in `src/async` is below the public surface, which is all that a door imports.
 */
export class UnderWay {
  #count = 0;
  #idle: { readonly reached: Promise<void>; readonly reach: () => void } | undefined;

  /** Something begins: to be followed by one `end`, however it ends. */
  begin(): void {
    this.#count += 1;
  }

  end(): void {
    this.#count -= 1;
    if (this.#count > 0) return;
    this.#idle?.reach();
    this.#idle = undefined;
  }

  /** Resolves once nothing is under way, or after a time. */
  async idle(clock: Clock, timeoutMs: number): Promise<void> {
    let isLate = false;
    let cancel = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(timeoutMs, () => {
        isLate = true;
        resolve();
      });
    });
    // Something new may have begun before this resumes.
    while (this.#count > 0 && !isLate) await Promise.race([this.#reached(), late]);
    cancel();
  }

  #reached(): Promise<void> {
    if (this.#idle === undefined) {
      let reach = () => {};
      const reached = new Promise<void>((resolve) => {
        reach = resolve;
      });
      this.#idle = { reached, reach };
    }
    return this.#idle.reached;
  }
}
