import pRetry from "p-retry";

/** A request that may be repeated, and who decides. */
export interface Repetition<Value> {
  attempt(): Promise<Value>;
  /** The wait before the next attempt, in milliseconds, or `undefined` for no more. */
  again(error: unknown, attempt: number): number | undefined;
  wait(delayMs: number, error: unknown): Promise<void>;
}

/**
 * What follows on a first attempt that has failed, as few do: p-retry, with the decision and the clock in
 * our hands. Nothing is repeated that `again` does not name.
 *
 * @throws what the last attempt did.
 */
export async function repeatAfter<Value>(
  first: unknown,
  { attempt, again, wait }: Repetition<Value>,
): Promise<Value> {
  const goesOn = async (reason: unknown, number: number) => {
    const delayMs = again(reason, number);
    if (delayMs !== undefined) await wait(delayMs, reason);
    return delayMs !== undefined;
  };
  if (!(await goesOn(first, 1))) throw first;
  try {
    return await pRetry(
      async () => {
        try {
          return await attempt();
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
