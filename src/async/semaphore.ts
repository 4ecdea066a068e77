import type { AbortSignalLike, Clock } from "./clock";

/** A slot that its job keeps although nothing waits for the job. */
interface Held {
  readonly release: () => void;
  /** It is given back at the latest then, by `clock.now()`. */
  readonly until: number;
}

/** A FIFO semaphore. */
export class Semaphore {
  readonly #clock: Clock;
  #free: number;
  readonly #isUnlimited: boolean;
  readonly #queue: (() => void)[] = [];
  readonly #held = new Map<string, Held>();
  /** The timer for held slots. It runs only while something waits, so that it keeps no process alive. */
  #cancelTimer: (() => void) | undefined;

  constructor(count: number, clock: Clock) {
    this.#clock = clock;
    this.#free = count;
    this.#isUnlimited = count === Number.POSITIVE_INFINITY;
  }

  /** The function that gives a slot back, or the wait for it, which rejects with the signal's reason. */
  acquire(signal: AbortSignalLike): (() => void) | Promise<() => void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#free === 0) this.#lapse();
    if (this.#free > 0) {
      this.#free -= 1;
      return this.#releaser();
    }
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", leave);
        resolve(this.#releaser());
      };
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(enter), 1);
        this.#watch();
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#queue.push(enter);
      this.#watch();
    });
  }

  /** A job keeps its slot by this name, until that time at most. A job that has one already needs no other. */
  hold(name: string, release: () => void, until: number): void {
    if (this.#isUnlimited) {
      release();
      return;
    }
    const known = this.#held.get(name);
    if (known === undefined) this.#held.set(name, { release, until });
    else {
      this.#held.set(name, { release: known.release, until: Math.max(until, known.until) });
      release();
    }
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#watch();
  }

  /** The slot that a job keeps by this name is given back, if there is one. */
  vacate(name: string): void {
    const held = this.#held.get(name);
    this.#held.delete(name);
    held?.release();
  }

  #lapse(): void {
    const now = this.#clock.now();
    for (const [name, { until }] of this.#held) if (until <= now) this.vacate(name);
  }

  #watch(): void {
    if (this.#queue.length === 0) {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
      return;
    }
    if (this.#cancelTimer !== undefined || this.#held.size === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of this.#held.values()) next = Math.min(next, until);
    this.#cancelTimer = this.#clock.after(next - this.#clock.now(), () => {
      this.#cancelTimer = undefined;
      this.#lapse();
      this.#watch();
    });
  }

  #releaser(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#queue.shift();
      if (next === undefined) this.#free += 1;
      else {
        next();
        this.#watch();
      }
    };
  }
}
