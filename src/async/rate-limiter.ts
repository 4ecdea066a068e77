import type { AbortSignalLike, Clock } from "./clock";

/** The distance between two polls after the first refusal, and the longest that there is. */
const firstGapMs = 10;
const longestGapMs = 2_000;
/**
 * A refusal makes the distance so much longer, and each response that follows so much shorter, the more
 * so the more there were: where one poll in ten is refused whatever the distance, since others use up
 * what the provider takes, the distance stays small.
 */
const slower = 1.5;
const faster = 0.99;
const mostResponses = 10;
/** The job that was told to come back later does so; one of the others asks again after this time. */
const longestPauseMs = 5_000;

/**
 * The polls of one client, which share what its provider takes. They leave at once, until one is
 * refused for coming too often. From then on they leave in the order in which they come due, those
 * that were refused before all others, so that no job starves; and at a distance that finds its way
 * to what the provider takes, at the price of a refusal in eight polls or so.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #refused = new Set<() => void>();
  readonly #others = new Set<() => void>();
  #gapMs = 0;
  #nextAt = 0;
  /** What left before says nothing of the distance that there is by now. */
  #slowedAt = Number.NEGATIVE_INFINITY;
  /** How many polls were answered since the last refusal. */
  #answers = 0;
  #cancelTimer: () => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when a poll may leave, `undefined` for now; rejects with the signal's reason. */
  turn(signal: AbortSignalLike, wasRefused: boolean): Promise<void> | undefined {
    if (this.#gapMs === 0 && this.#nextAt <= this.#clock.now() && !this.#isQueued) return undefined;
    const queue = wasRefused ? this.#refused : this.#others;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const go = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        queue.delete(go);
        this.#advance();
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      queue.add(go);
      this.#advance();
    });
  }

  /** A poll that left then was answered; `pauseMs` says that it came too often, and for how long. */
  answered(leftAt: number, pauseMs?: number): void {
    if (pauseMs === undefined) {
      this.#answers += 1;
      const gapMs = this.#gapMs * faster ** Math.min(this.#answers, mostResponses);
      this.#gapMs = gapMs < 1 ? 0 : gapMs;
      return;
    }
    const now = this.#clock.now();
    if (leftAt > this.#slowedAt) {
      this.#gapMs = Math.min(longestGapMs, Math.max(firstGapMs, this.#gapMs * slower));
      this.#slowedAt = now;
    }
    // Where others are answered, the pause is for the one that was refused.
    const pause = this.#answers > 0 ? 0 : Math.min(pauseMs, longestPauseMs);
    this.#answers = 0;
    const waitMs = Math.max(this.#gapMs, pause);
    this.#nextAt = Math.max(this.#nextAt, now + waitMs);
  }

  get #isQueued(): boolean {
    return this.#refused.size + this.#others.size > 0;
  }

  #advance(): void {
    this.#cancelTimer();
    for (const queue of [this.#refused, this.#others]) {
      for (const go of queue) {
        const now = this.#clock.now();
        if (this.#nextAt > now) {
          this.#cancelTimer = this.#clock.after(this.#nextAt - now, () => this.#advance());
          return;
        }
        queue.delete(go);
        this.#nextAt = now + this.#gapMs;
        go();
      }
    }
  }
}
