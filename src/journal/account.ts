import { createHmac } from "node:crypto";
import type { Provider } from "../adapter/provider";
import { InvalidRequestError } from "../errors";

/** Fixed for ever: another one would make strangers of all records. */
const label = "gpt-image-client account";

/** Whose money a key spends, in 128 bits that do not tell the key: the same on every machine. */
function accountOf(apiKey: string, { baseURL }: Pick<Provider, "baseURL">): string {
  const { origin } = new URL(baseURL);
  return createHmac("sha256", apiKey).update(`${label}\n${origin}`).digest("hex").slice(0, 32);
}

/** Whose money a client spends: what its caller has named, or else what its key says. */
export class Account {
  readonly #name: string | undefined;
  readonly #provider: Provider;
  readonly #apiKey: () => Promise<string>;

  constructor(name: string | undefined, provider: Provider, apiKey: () => Promise<string>) {
    this.#name = name;
    this.#provider = provider;
    this.#apiKey = apiKey;
  }

  get isNamed(): boolean {
    return this.#name !== undefined;
  }

  /**
   * As of now: a key from the environment may have been replaced.
   *
   * @throws {@link AuthenticationError} where the key says it, and there is none.
   */
  async current(): Promise<string> {
    return this.#name ?? accountOf(await this.#apiKey(), this.#provider);
  }

  /** What the key says though the caller has named another; not where a function yields the key. */
  async derived(): Promise<string | undefined> {
    if (this.#provider.hasApiKeyFunction) return undefined;
    return accountOf(await this.#apiKey(), this.#provider);
  }
}

/** A create stops at what another account has under the same key. */
export function otherAccountError(provider: string, recordId: string): InvalidRequestError {
  return new InvalidRequestError({
    ...{ provider, charged: "no", field: "options.account" },
    given: `another account than that of the unsettled job ${recordId}`,
    taken:
      "the account that its record names; under its idempotencyKey also any, once it is settled",
  });
}

/** A call under a caller's key waited, and meanwhile the API key became another account's. */
export function changedAccountError(provider: string): InvalidRequestError {
  return new InvalidRequestError({
    ...{ provider, charged: "no", field: "options.account", transient: true },
    given: "an API key that changed while the call waited",
    taken: "the call once more",
  });
}
