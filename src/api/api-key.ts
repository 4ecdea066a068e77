import type { Provider } from "../adapter/provider";
import { type AbortSignalLike, type Clock, within } from "../async/clock";
import { AuthenticationError, CallbackError } from "../errors";
import { TransportFault } from "../http/faults";

/** How long a key may be waited for, and who ends that. */
export interface KeyLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignalLike | undefined;
  readonly stop?: AbortSignalLike | undefined;
}

/** What `apiKey` gives, at once or later. */
export function askForKey(from: Provider): unknown {
  const provider = from.name;
  const fail = (cause: unknown): never => {
    throw new CallbackError({ provider, charged: "no", callback: "apiKey", cause });
  };
  try {
    const asking: unknown = from.apiKey();
    // A promise need not be one of this realm.
    const isLater = typeof asking === "object" && asking !== null;
    return isLater ? Promise.resolve(asking).catch(fail) : asking;
  } catch (cause) {
    return fail(cause);
  }
}

/** Waits for the key no longer than the exchange may take: until it is there nothing has been sent. */
export function inTime(
  asking: Promise<unknown>,
  clock: Clock,
  limits: KeyLimits,
): Promise<unknown> {
  const { timeoutMs, signal, stop } = limits;
  return within(clock, asking, {
    signal: stop ?? signal,
    deadlineAt: clock.now() + timeoutMs,
    onDeadline: () =>
      new TransportFault(`\`apiKey\` gave no key within ${timeoutMs} ms`, {
        sent: false,
        timeoutMs,
      }),
  });
}

/**
 * A key as it can be sent.
 *
 * @throws {@link AuthenticationError} where there is none.
 */
export function checkedKey(given: unknown, { name, adapter }: Provider): string {
  const text = given ?? "";
  if (typeof text !== "string") {
    const problem = "What `apiKey` gives is no string";
    throw new AuthenticationError({ provider: name, charged: "no", problem });
  }
  const apiKey = text.trim();
  if (apiKey === "") {
    const variable = adapter.keyVariable;
    const where = variable === undefined ? "" : `, or set the environment variable ${variable}`;
    const problem = `There is no API key: give the provider an \`apiKey\`${where}`;
    throw new AuthenticationError({ provider: name, charged: "no", problem });
  }
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    const problem = "The API key has characters that no HTTP header can hold";
    throw new AuthenticationError({ provider: name, charged: "no", problem });
  }
  return apiKey;
}
