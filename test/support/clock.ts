import { subscribe } from "node:diagnostics_channel";
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../src/async/clock";

/** undici's requests that are on their way, its own ones and those of Node's `fetch` alike. */
const inFlight = new Set<unknown>();
const requestOf = (message: unknown) => (message as { request: unknown }).request;
subscribe("undici:request:create", (message) => inFlight.add(requestOf(message)));
subscribe("undici:request:trailers", (message) => inFlight.delete(requestOf(message)));
subscribe("undici:request:error", (message) => inFlight.delete(requestOf(message)));

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

const tickMs = 2;
/** A jump of more than this might be a time-out: it has to wait until nothing at all goes on. */
const longJumpMs = 30_000;

/**
 * Time in the hands of a test: it stands still until it is told to go on. With `auto` it jumps to
 * the next timer by itself whenever no request is on its way and nothing else happens.
 */
export class TestClock implements Clock {
  readonly startedAt = Date.now();
  readonly #timers = new Set<Timer>();
  readonly #auto: boolean;
  #now = this.startedAt;
  #wallShiftMs = 0;
  #changes = 0;
  #watching = false;

  constructor({ auto = true } = {}) {
    this.#auto = auto;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return this.#now + this.#wallShiftMs;
  }

  /** The system's clock is set, forward or back. */
  setWallTime(byMs: number): void {
    this.#wallShiftMs += byMs;
  }

  /** How far it has gone since it was made, in milliseconds. */
  get elapsedMs(): number {
    return this.#now - this.startedAt;
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    this.#changes += 1;
    if (this.#auto) void this.#watch();
    return () => {
      this.#changes += 1;
      this.#timers.delete(timer);
    };
  }

  /** Goes on by so much, calling every timer on the way at its time. */
  async advance(byMs: number): Promise<void> {
    const end = this.#now + byMs;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at > end) break;
      this.#jumpTo(next);
      // What a timer sets off may set timers of its own within the same stretch.
      for (let turns = 0; turns < 5; turns += 1) await turn();
    }
    this.#now = end;
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.at !== Number.POSITIVE_INFINITY && (next === undefined || timer.at < next.at)) {
        next = timer;
      }
    }
    return next;
  }

  #jumpTo(timer: Timer): void {
    this.#now = Math.max(this.#now, timer.at);
    this.#timers.delete(timer);
    this.#changes += 1;
    timer.callback();
  }

  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    let quiet = 0;
    let seen = this.#changes;
    for (;;) {
      await pause(tickMs);
      await turn();
      const next = this.#next();
      if (next === undefined) break;
      const busy = inFlight.size > 0 || seen !== this.#changes;
      seen = this.#changes;
      quiet = busy ? 0 : quiet + 1;
      if (quiet < (next.at - this.#now > longJumpMs ? 60 : 3)) continue;
      quiet = 0;
      this.#jumpTo(next);
      seen = this.#changes;
    }
    this.#watching = false;
  }
}
