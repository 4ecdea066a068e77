import { type Clock, sleep, type WaitLimits } from "./clock";

/** What one poll gave: the end, an error that ends the waiting though not the job, or one more wait. */
export type PollStep<Value> =
  | { readonly settled: Value }
  | { readonly stopped: unknown }
  | {
      /** At least this long before the next poll, in milliseconds: the provider asked for it. */
      readonly retryAfterMs?: number | undefined;
      /** Why this poll gave no answer, where it gave none. */
      readonly failure?: unknown;
    };

export interface PollLoop<Value> {
  readonly clock: Clock;
  /** Asks once. Must not reject: a failed poll is one more wait. */
  query(signal: AbortSignal): Promise<PollStep<Value>>;
  /** The wait before a poll, in milliseconds, by the number of polls so far. */
  delayMs(polls: number): number;
  /** Waits, after that, for the polls of others that are before it. */
  turn?(signal: AbortSignal): Promise<void>;
}

/** No provider is taken at its word for longer: it may be a mistake. */
const longestWaitMs = 60 * 60 * 1000;

interface Waiter<Value> {
  readonly deadlineAt: number;
  resolve(value: Value): void;
  reject(reason: unknown): void;
}

/**
 * One polling loop shared by all who wait for the same thing: the first to come starts it, the last
 * to leave stops it. It knows no HTTP, no schema and no provider.
 */
export class Poller<Value> {
  readonly #loop: PollLoop<Value>;
  readonly #waiters = new Set<Waiter<Value>>();
  #running: AbortController | undefined;
  #wake: AbortController | undefined;
  #nudged = false;
  /** The provider asked for a wait until then, by this failure. */
  #blocked: { readonly until: number; readonly by: unknown } = { until: 0, by: undefined };
  #polls = 0;

  constructor(loop: PollLoop<Value>) {
    this.#loop = loop;
  }

  /** How many times it has asked. */
  get polls(): number {
    return this.#polls;
  }

  /** One poll now, beside whatever loop is running. If it sees the end, all who wait have it. */
  async once(signal: AbortSignal): Promise<PollStep<Value>> {
    this.#polls += 1;
    const step = await this.#loop.query(signal);
    if ("settled" in step && !signal.aborted) {
      for (const waiter of this.#waiters) waiter.resolve(step.settled);
    }
    return step;
  }

  /** Whether anybody waits. */
  get isWatched(): boolean {
    return this.#waiters.size > 0;
  }

  /** Cuts the wait before the next poll short: there may be news. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.abort();
  }

  /**
   * Waits for the end. Rejects with the signal's reason the moment it aborts, at the deadline with
   * what `onDeadline` gives, and at once with the failure that made the provider ask for a wait that
   * reaches past the deadline.
   */
  wait({ signal, deadlineAt = Infinity, onDeadline }: WaitLimits): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const leave = () => {
        this.#waiters.delete(waiter);
        cancelDeadline();
        signal?.removeEventListener("abort", onAbort);
        if (this.#waiters.size === 0) {
          this.#running?.abort();
          this.#running = undefined;
        }
      };
      const waiter: Waiter<Value> = {
        deadlineAt,
        resolve: (value) => {
          leave();
          resolve(value);
        },
        reject: (reason) => {
          leave();
          reject(reason);
        },
      };
      const onAbort = () => waiter.reject(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      const { clock } = this.#loop;
      const cancelDeadline = clock.after(deadlineAt - clock.now(), () =>
        waiter.reject(onDeadline?.()),
      );
      this.#waiters.add(waiter);
      if (this.#running !== undefined) this.#releaseBlocked(waiter);
      else {
        this.#running = new AbortController();
        // A schedule of the caller's may throw: those who wait are told, and nothing is left hanging.
        this.#run(this.#running.signal).catch((error: unknown) => this.#rejectAll(error));
      }
    });
  }

  async #sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    // The news came while the last poll was on its way, which may have been too early for it.
    const nudged = this.#nudged;
    this.#nudged = false;
    if (nudged) return;
    const wake = new AbortController();
    const end = () => wake.abort();
    this.#wake = wake;
    signal.addEventListener("abort", end, { once: true });
    try {
      await sleep(this.#loop.clock, delayMs, wake.signal);
    } catch {
      // It rejects for a nudge, or because nobody waits any more: both go on from here.
    } finally {
      signal.removeEventListener("abort", end);
      this.#nudged = false;
    }
  }

  /** Who could only wait in vain hears why at once. */
  #releaseBlocked(waiter: Waiter<Value>): void {
    const { until, by } = this.#blocked;
    const isBlocked = by !== undefined && until > this.#loop.clock.now();
    if (isBlocked && until >= waiter.deadlineAt) waiter.reject(by);
  }

  #rejectAll(reason: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(reason);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let leastMs = 0;
    for (;;) {
      const delayMs = Math.max(leastMs, this.#loop.delayMs(this.#polls));
      await this.#sleep(delayMs, signal);
      // It rejects where nobody waits any more.
      if (!signal.aborted) await this.#loop.turn?.(signal).catch(() => {});
      if (signal.aborted) return;
      const step = await this.once(signal);
      if (signal.aborted || "settled" in step) return;
      if ("stopped" in step) {
        this.#rejectAll(step.stopped);
        return;
      }
      leastMs = Math.min(step.retryAfterMs ?? 0, longestWaitMs);
      this.#blocked = { until: this.#loop.clock.now() + leastMs, by: step.failure };
      for (const waiter of this.#waiters) this.#releaseBlocked(waiter);
    }
  }
}
