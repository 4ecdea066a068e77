import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../../src/doors/router/clock";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

const startedAt = Date.UTC(2026, 10, 2, 9);

/** Time that jumps to the next timer as soon as nothing else can go on: all of it lies in promises. */
export class SimClock implements Clock {
  readonly #heap: Timer[] = [];
  #now = 0;
  #order = 0;
  /** A clock of a machine that is ahead, or behind. */
  wallShiftMs = 0;

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return startedAt + this.#now + this.wallShiftMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const at = this.#now + Math.max(0, delayMs);
    const timer: Timer = { at, order: this.#order++, callback, isCancelled: false };
    this.#push(timer);
    return () => {
      timer.isCancelled = true;
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  /** Goes on until the work is done; fails where it never will be. */
  async run<Value>(work: Promise<Value>): Promise<Value> {
    let isDone = false;
    const end = () => {
      isDone = true;
    };
    work.then(end, end);
    for (;;) {
      await turn();
      if (isDone) return work;
      const timer = this.#pop();
      if (timer === undefined) throw new Error("It waits for something that never comes");
      if (timer.isCancelled) continue;
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
    }
  }

  /** Lets time pass. */
  async pass(delayMs: number): Promise<void> {
    await this.run(this.sleep(delayMs));
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(timer, heap[above])) break;
      this.#move(above, at);
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, heap[below])) below += 1;
      if (!isBefore(heap[below], last)) break;
      this.#move(below, at);
      at = below;
    }
    heap[at] = last;
    return first;
  }

  #move(from: number, to: number): void {
    const timer = this.#heap[from];
    if (timer !== undefined) this.#heap[to] = timer;
  }
}

function isBefore(a: Timer | undefined, b: Timer | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.at === b.at ? a.order < b.order : a.at < b.at;
}
