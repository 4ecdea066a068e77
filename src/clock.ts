import { setMaxListeners } from "node:events";

/** Time, so that tests can hold it in their hands. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back once after `delayMs`; what it returns cancels that. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay that `setTimeout` takes; beyond it, it fires at once. */
const longestTimerMs = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs > longestTimerMs) return () => {};
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason the moment it aborts. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    const onAbort = () => {
      cancel();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Who may end a wait, and when. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since 1970. Default: never. */
  readonly deadlineAt?: number | undefined;
  /** What to reject with at the deadline. */
  readonly onDeadline?: (() => unknown) | undefined;
}

/** Waits for `work`, which goes on when the wait ends early. */
export function within<Value>(
  clock: Clock,
  work: Promise<Value>,
  { signal, deadlineAt, onDeadline }: WaitLimits,
): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    if (signal?.aborted) {
      // Nobody is left to hear how the work ends: without this its rejection would end the process.
      work.catch(() => {});
      reject(signal.reason);
      return;
    }
    const end = () => {
      signal?.removeEventListener("abort", onAbort);
      cancelDeadline?.();
    };
    const onAbort = () => {
      end();
      reject(signal?.reason);
    };
    const cancelDeadline =
      deadlineAt === undefined
        ? undefined
        : clock.after(deadlineAt - clock.now(), () => {
            end();
            reject(onDeadline?.());
          });
    signal?.addEventListener("abort", onAbort, { once: true });
    work.finally(end).then(resolve, reject);
  });
}

/** A controller whose signal any number may listen to: from the eleventh on Node warns of a leak. */
export function sharedController(): AbortController {
  const controller = new AbortController();
  try {
    setMaxListeners(0, controller.signal);
  } catch {
    // Not Node's own signal, as under jsdom: then there is no warning to avert either.
  }
  return controller;
}
