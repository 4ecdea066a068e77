import {
  type AbortSignalLike,
  type Clock,
  LightAbortSignal,
  type WaitLimits,
} from "../async/clock";
import { inTurn } from "../async/turns";

/** What one poll gave: the end, an error that ends the waiting though not the job, or one more wait. */
export type PollStep<Value> =
  | { readonly settled: Value }
  | { readonly stopped: unknown }
  | {
      /** At least this long before the next poll, in milliseconds: the provider asked for it. */
      readonly retryAfterMs?: number | undefined;
      /** Why this poll gave no response, where it gave none. */
      readonly failure?: unknown;
    };

export interface PollLoop<Value> {
  readonly clock: Clock;
  /** Asks once. Must not reject: a failed poll is one more wait. */
  query(signal: AbortSignalLike): Promise<PollStep<Value>>;
  /** The wait before a poll, in milliseconds, by the number of polls so far. */
  delayMs(polls: number): number;
  /** Waits, after that, for the polls of others that are before it. */
  turn?(signal: AbortSignalLike): Promise<void> | undefined;
}

/** No provider is taken at its word for longer: it may be a mistake. */
const longestWaitMs = 60 * 60 * 1000;

/** One who waits; its promise is settled as it leaves. */
interface Waiter<Value> {
  readonly limits: WaitLimits;
  readonly resolve: (value: Value) => void;
  readonly reject: (reason: unknown) => void;
  readonly onAbort: () => void;
  readonly cancelDeadline: () => void;
}

/**
 * One polling loop shared by all who wait for the same thing: the first to come starts it, the last
 * to leave stops it. It knows no HTTP, no schema and no provider. Between two polls it is no more
 * than a timer, since thousands of them may wait.
 */
export class Poller<Value> {
  readonly #loop: PollLoop<Value>;
  #waiters: readonly Waiter<Value>[] = [];
  /** The end of the loop that runs while anybody waits. */
  #running: LightAbortSignal | undefined;
  /** Cancels the wait before the next poll; absent while a poll is on its way. */
  #cancelPause: (() => void) | undefined;
  #nudged = false;
  /** The provider asked for a wait until then, by this failure. */
  #blockedUntil = 0;
  #blockedBy: unknown;
  #polls = 0;

  constructor(loop: PollLoop<Value>) {
    this.#loop = loop;
  }

  /** How many times it has asked. */
  get polls(): number {
    return this.#polls;
  }

  /** One poll now, beside whatever loop is running. If it sees the end, all who wait have it. */
  async once(signal: AbortSignalLike): Promise<PollStep<Value>> {
    this.#polls += 1;
    const step = await this.#loop.query(signal);
    if ("settled" in step && !signal.aborted) {
      for (const waiter of this.#waiters) this.#leave(waiter).resolve(step.settled);
    }
    return step;
  }

  /** Whether anybody waits. */
  get isWatched(): boolean {
    return this.#waiters.length > 0;
  }

  /** Cuts the wait before the next poll short: there may be news. */
  nudge(): void {
    const cancel = this.#cancelPause;
    if (cancel === undefined) {
      // A poll on its way may be too early for the news: another one follows it.
      this.#nudged = true;
      return;
    }
    cancel();
    this.#ask();
  }

  /**
   * Waits for the end. Rejects with the signal's reason the moment it aborts, at the deadline with
   * what `onDeadline` gives, and at once with the failure that made the provider ask for a wait that
   * reaches past the deadline.
   */
  wait(limits: WaitLimits): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      const { signal } = limits;
      if (signal?.aborted) reject(signal.reason);
      else this.#enter(limits, resolve, reject);
    });
  }

  #enter(
    limits: WaitLimits,
    resolve: (value: Value) => void,
    reject: (reason: unknown) => void,
  ): void {
    const { clock } = this.#loop;
    const { signal, deadlineAt = Number.POSITIVE_INFINITY } = limits;
    const waiter: Waiter<Value> = {
      limits,
      resolve,
      reject,
      onAbort: () => this.#leave(waiter).reject(waiter.limits.signal?.reason),
      cancelDeadline: clock.after(deadlineAt - clock.now(), () =>
        this.#leave(waiter).reject(waiter.limits.onDeadline?.()),
      ),
    };
    signal?.addEventListener("abort", waiter.onAbort, { once: true });
    // By `concat`: a spread leaves room for 16 more, in every job that waits.
    this.#waiters = this.#waiters.concat(waiter);
    if (this.#running !== undefined) {
      this.#releaseBlocked(waiter);
      return;
    }
    this.#running = new LightAbortSignal();
    this.#pause(0);
  }

  #leave(waiter: Waiter<Value>): Waiter<Value> {
    this.#waiters = this.#waiters.filter((each) => each !== waiter);
    waiter.cancelDeadline();
    waiter.limits.signal?.removeEventListener("abort", waiter.onAbort);
    if (this.#waiters.length === 0) {
      this.#cancelPause?.();
      this.#cancelPause = undefined;
      this.#running?.abort(new Error("nobody waits any more"));
      this.#running = undefined;
    }
    return waiter;
  }

  /** Rejects a waiter whose deadline is before the provider's Retry-After. */
  #releaseBlocked(waiter: Waiter<Value>): void {
    const { deadlineAt = Number.POSITIVE_INFINITY } = waiter.limits;
    const isBlocked = this.#blockedBy !== undefined && this.#blockedUntil > this.#loop.clock.now();
    if (isBlocked && this.#blockedUntil >= deadlineAt) this.#leave(waiter).reject(this.#blockedBy);
  }

  #rejectAll(reason: unknown): void {
    for (const waiter of this.#waiters) this.#leave(waiter).reject(reason);
  }

  #pause(leastMs: number): void {
    let delayMs: number;
    try {
      delayMs = Math.max(leastMs, this.#loop.delayMs(this.#polls));
    } catch (error) {
      // A schedule of the caller's may throw: those who wait are told, and nothing is left hanging.
      this.#rejectAll(error);
      return;
    }
    if (this.#nudged) this.#ask();
    else this.#cancelPause = this.#loop.clock.after(delayMs, () => this.#ask());
  }

  #ask(): void {
    this.#cancelPause = undefined;
    this.#nudged = false;
    const running = this.#running;
    if (running === undefined) return;
    this.#poll(running).catch((error: unknown) => this.#rejectAll(error));
  }

  async #poll(running: LightAbortSignal): Promise<void> {
    await inTurn();
    // It rejects once nothing waits.
    await this.#loop.turn?.(running)?.catch(() => {});
    if (running.aborted) return;
    const step = await this.once(running);
    if (running.aborted || "settled" in step) return;
    if ("stopped" in step) {
      this.#rejectAll(step.stopped);
      return;
    }
    const leastMs = Math.min(step.retryAfterMs ?? 0, longestWaitMs);
    this.#blockedUntil = this.#loop.clock.now() + leastMs;
    this.#blockedBy = step.failure;
    for (const waiter of this.#waiters) this.#releaseBlocked(waiter);
    if (!running.aborted) this.#pause(leastMs);
  }
}
