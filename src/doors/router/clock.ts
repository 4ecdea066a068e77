/** Time, so that tests can hold it in their hands. */
export interface Clock {
  /** Milliseconds on a monotonic clock: for pauses and deadlines. */
  now(): number;
  /** Milliseconds since 1970: for records, and for the hours and days of budgets. */
  wallTime(): number;
  /** Calls back once after `delayMs`; what it returns cancels that. */
  after(delayMs: number, callback: () => void): () => void;
}

/** `setTimeout` fires at once beyond it. */
const longestTimerMs = 2_147_483_647;

export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, longestTimerMs));
    return () => clearTimeout(timer);
  },
};

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back once the signal aborts; what it returns ends that. All who listen share one listener: a
 * signal may be that of thousands of calls, and of more than ten listeners Node warns as of a leak.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let all = listeners.get(signal);
  if (all === undefined) {
    const added = new Set<() => void>();
    all = added;
    listeners.set(signal, added);
    const tell = () => {
      for (const each of [...added]) each();
    };
    signal.addEventListener("abort", tell, { once: true });
  }
  const callbacks = all;
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

/** Resolves after `delayMs`, or as soon as `wake` settles; rejects with the reason of a signal that aborts. */
export function pause(
  clock: Clock,
  delayMs: number,
  signals: readonly AbortSignal[],
  wake?: Promise<unknown>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted !== undefined) return reject(aborted.reason);
    const end = () => {
      cancel();
      for (const stop of stops) stop();
    };
    const done = () => {
      end();
      resolve();
    };
    const stops = signals.map((signal) =>
      onAbort(signal, () => {
        end();
        reject(signal.reason);
      }),
    );
    const cancel = clock.after(delayMs, done);
    wake?.then(done, done);
  });
}
