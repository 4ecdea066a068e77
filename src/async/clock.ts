import { setImmediate } from "node:timers";

/**
 * Node's own, kept from the moment the package is imported. With one that a test has faked since, each client
 * would stop after as many calls as begin in one turn of the event loop.
 */
export const realSetImmediate = setImmediate;

/** Time, so that tests can hold it in their hands. */
export interface Clock {
  /**
   * Milliseconds on a monotonic clock: for deadlines, ages and pauses, and for nothing that is shown or
   * written. The system's clock may be set meanwhile (NTP, a virtual machine that is resumed), and no
   * distance may change with it.
   */
  now(): number;
  /** Milliseconds since 1970 by the system's clock: for records, events and dates of a server's. */
  wallTime(): number;
  /** Calls back once after `delayMs`; what it returns cancels that. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay that `setTimeout` takes; beyond it, it fires at once. */
const longestTimerMs = 2_147_483_647;

/**
 * Close to the time of day, so that a monotonic time which is shown by mistake is late or early by as
 * much as the clock was set, and not by decades.
 */
const origin = Date.now() - performance.now();

export const systemClock: Clock = {
  // Whole milliseconds: what is left of a limit stands in messages.
  now: () => Math.floor(origin + performance.now()),
  wallTime: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs > longestTimerMs) return () => {};
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** The part of an `AbortSignal` that is listened to here. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: () => void, options?: { once: true }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

type Listener = () => void;

/**
 * A signal, and what gives it, in one. An `AbortController` would do, save that it weighs a kilobyte,
 * of which each of thousands that wait would have several, and that it warns of a leak where
 * thousands listen.
 */
export class LightAbortSignal implements AbortSignalLike {
  #aborted = false;
  #reason: unknown;
  /**
   * Each of them once, in the order in which they came: mostly one. Not a `Set` while they come and go: V8
   * links each table that a `Set` outgrows to the one that replaces it, so that of a table that has grown old
   * all later ones, and who stood in them when they were replaced, wait for a full collection.
   */
  #listeners: Listener | Listener[] | undefined;
  /** Those whom an abort calls: one that is removed before its turn is not called. */
  #called: Set<Listener> | undefined;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  get isListenedTo(): boolean {
    return this.#listeners !== undefined;
  }

  addEventListener(_: "abort", listener: () => void): void {
    if (this.#aborted) return;
    const known = this.#listeners;
    if (known === undefined) this.#listeners = listener;
    else if (Array.isArray(known)) known.push(listener);
    else this.#listeners = [known, listener];
  }

  removeEventListener(_: "abort", listener: () => void): void {
    this.#called?.delete(listener);
    const known = this.#listeners;
    if (known === listener) this.#listeners = undefined;
    if (!Array.isArray(known)) return;
    const at = known.indexOf(listener);
    if (at >= 0) known.splice(at, 1);
    if (known.length === 0) this.#listeners = undefined;
  }

  /** The first reason counts. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const known = this.#listeners;
    if (known === undefined) return;
    this.#listeners = undefined;
    this.#called = new Set(Array.isArray(known) ? known : [known]);
    for (const listener of this.#called) listener();
    this.#called = undefined;
  }
}

/** Shares one listener on the caller's AbortSignal, attached only while needed. */
class CallerSignal implements AbortSignalLike {
  readonly #signal: AbortSignal;
  readonly #shared = new LightAbortSignal();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  get aborted(): boolean {
    return this.#signal.aborted;
  }

  get reason(): unknown {
    return this.#signal.reason;
  }

  throwIfAborted(): void {
    this.#signal.throwIfAborted();
  }

  addEventListener(_: "abort", listener: () => void): void {
    if (this.aborted) return;
    if (!this.#shared.isListenedTo) this.#signal.addEventListener("abort", this.#tell);
    this.#shared.addEventListener("abort", listener);
  }

  removeEventListener(_: "abort", listener: () => void): void {
    this.#shared.removeEventListener("abort", listener);
    // A signal that is still listened to is not collected, though its caller has forgotten it.
    if (!this.#shared.isListenedTo) this.#signal.removeEventListener("abort", this.#tell);
  }

  readonly #tell = () => {
    this.#signal.removeEventListener("abort", this.#tell);
    this.#shared.abort(this.reason);
  };
}

const callerSignals = new WeakMap<AbortSignal, AbortSignalLike>();

/** A caller's signal, which may be that of many calls: of more than ten listeners Node warns as of a leak. */
export function callerSignal(signal: AbortSignal): AbortSignalLike {
  const known = callerSignals.get(signal);
  if (known !== undefined) return known;
  const made = new CallerSignal(signal);
  callerSignals.set(signal, made);
  return made;
}

/** The same end as an `AbortSignal`, for functions that take no other. */
export function abortSignalOf(signal: AbortSignalLike): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const controller = new AbortController();
  const end = () => controller.abort(signal.reason);
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  return controller.signal;
}

/** Resolves after `delayMs`, or rejects with the signal's reason the moment it aborts. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignalLike): Promise<void> {
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
  readonly signal?: AbortSignalLike | undefined;
  /** By `clock.now()`. Default: never. */
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
  if (signal === undefined && deadlineAt === undefined) return work;
  return new Promise<Value>((resolve, reject) => {
    if (signal?.aborted) {
      // The result is ignored: an unhandled rejection would end the process.
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
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
  });
}
