import type { Clock } from "../../../src/doors/gateway/clock";

/** Time that passes when it is told to. */
export class TestClock implements Clock {
  #now = Date.parse("2026-11-01T00:00:00Z");
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  /** How many times somebody has begun to wait. */
  armed = 0;

  now(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.add(timer);
    this.armed += 1;
    return () => this.#timers.delete(timer);
  }

  /** Time passes, and nothing that waits for it happens. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  /** Lets time pass, and whatever waits for it happen. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = due.at;
      due.callback();
      await settled();
    }
    this.#now = until;
    await settled();
  }
}

/** Until what is under way within this process has come to rest. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
