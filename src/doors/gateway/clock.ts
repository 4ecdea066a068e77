/** Time, so that tests can hold it in their hands. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back once after `delayMs`; what it returns cancels that. Keeps no process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay that `setTimeout` takes; beyond it, it fires at once. */
export const longestTimerMs = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, longestTimerMs));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
