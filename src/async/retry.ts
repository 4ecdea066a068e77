import pRetry from "p-retry";

/** An exchange that may be repeated, and who decides. */
export interface Repetition<Value> {
  attempt(number: number): Promise<Value>;
  /** The wait before the next attempt, in milliseconds, or `undefined` for no more. */
  again(error: unknown, attempt: number): number | undefined;
  wait(delayMs: number, error: unknown, attempt: number): Promise<void>;
}

/**
 * p-retry, with the decision and the clock in our hands: nothing is repeated that `again` does not
 * name. It is called in after the first attempt has failed, as few do.
 */
export async function repeat<Value>({ attempt, again, wait }: Repetition<Value>): Promise<Value> {
  const goesOn = async (reason: unknown, number: number) => {
    const delayMs = again(reason, number);
    if (delayMs !== undefined) await wait(delayMs, reason, number);
    return delayMs !== undefined;
  };
  try {
    return await attempt(1);
  } catch (error) {
    if (!(await goesOn(error, 1))) throw error;
  }
  try {
    return await pRetry(
      async (number) => {
        try {
          return await attempt(number + 1);
        } catch (error) {
          // p-retry takes TypeErrors for bugs and rethrows them before anyone is asked.
          throw new Attempt(error);
        }
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 0,
        shouldRetry: ({ error, attemptNumber }) =>
          goesOn(error instanceof Attempt ? error.reason : error, attemptNumber + 1),
      },
    );
  } catch (error) {
    throw error instanceof Attempt ? error.reason : error;
  }
}

class Attempt extends Error {
  readonly reason: unknown;

  constructor(reason: unknown) {
    super("attempt failed");
    this.reason = reason;
  }
}

/** What a provider asks for, unless it asks for less than a second: that would be a storm. */
export function waitMs(retryAfterMs: number | undefined, backoff: number): number {
  return retryAfterMs === undefined || retryAfterMs < 1_000 ? backoff : retryAfterMs;
}

/** 1 s, 2 s, 4 s …, up to a ceiling, each less a random part of up to a quarter. */
export function backoffMs(attempt: number, ceilingMs: number): number {
  const full = Math.min(ceilingMs, 1_000 * 2 ** (attempt - 1));
  return full * (1 - Math.random() / 4);
}
