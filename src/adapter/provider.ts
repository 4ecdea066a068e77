import { InvalidRequestError } from "../errors";
import { isHeader } from "../http/header";
import { nearestTo } from "../parse/nearest";
import { shortened, shown } from "../parse/shown";
import { parseBaseURL } from "./base-url";
import type { Adapter } from "./contract";

/** How a provider is reached. */
export interface ProviderSettings {
  /** The key, or a function that yields one (also later); default: the provider's own variable of the environment. */
  readonly apiKey?: string | (() => string | Promise<string>);
  /**
   * Another origin, such as a proxy of yours or the sandbox. A query in it, such as
   * `?api-version=preview`, goes with every call and is kept out of references, records and messages.
   */
  readonly baseURL?: string;
  /** Sent with every call to the provider's API; a `user-agent` among them replaces this package's own. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A provider as `createImageClient` takes it. The key is held in a closure: nothing that prints this shows it. */
export interface Provider {
  readonly name: string;
  /** Without a slash at the end, and without a query. */
  readonly baseURL: string;
  readonly adapter: Adapter;
  /** The query of the base URL, without its question mark: sent with every call, and shown nowhere. */
  baseQuery(): string;
  /** The caller's own headers. */
  headers(): Readonly<Record<string, string>>;
  /** The key, now or later; `undefined` where none was given and the variable is not set. */
  apiKey(): string | undefined | Promise<string | undefined>;
  /** A function of the caller's yields the key, so that nobody can tell whose the next one is. */
  readonly hasApiKeyFunction: boolean;
}

/**
 * Makes a provider of an adapter and the place where it lives. The key is looked up at each send,
 * so that a missing one is not an error before that.
 *
 * @param ownSettings the names of settings that this provider alone takes, such as `model`.
 * @throws {@link InvalidRequestError} if `baseURL` is not an http(s) URL, or has credentials or a
 * fragment, and for a setting of another name: what was meant for `baseURL` would leave the key with
 * the real service.
 */
export function createProvider(
  adapter: Adapter,
  settings: ProviderSettings & { readonly baseURL: string },
  ownSettings: readonly string[] = [],
): Provider {
  checkNames(adapter.name, settings, ["apiKey", "baseURL", "headers", ...ownSettings]);
  const address = parseBaseURL(settings.baseURL);
  if ("taken" in address) {
    const facts = { provider: adapter.name, charged: "no", field: "baseURL" } as const;
    throw new InvalidRequestError({ ...facts, ...address });
  }
  const { baseURL, query } = address;
  const { apiKey } = settings;
  const given = settings.headers ?? {};
  // Who has a `Headers` may well give it.
  const headers = Symbol.iterator in given ? Object.fromEntries(new Headers(given)) : given;
  checkHeaders(adapter.name, headers);
  return {
    name: adapter.name,
    baseURL,
    adapter,
    baseQuery: () => query,
    headers: () => headers,
    hasApiKeyFunction: typeof apiKey === "function",
    apiKey: () => {
      const orVariable = (given: string | undefined) => {
        const variable = adapter.keyVariable;
        return given ?? (variable === undefined ? undefined : process.env[variable]);
      };
      return typeof apiKey === "function"
        ? Promise.resolve(apiKey()).then(orVariable)
        : orVariable(apiKey);
    },
  };
}

function checkNames(provider: string, settings: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || names.includes(name)) continue;
    const nearest = nearestTo(name, names);
    const taken =
      nearest === undefined ? `there are ${names.join(", ")}` : `did you mean \`${nearest}\`?`;
    // The value may be a key under a misspelt name.
    const facts = { field: shortened(name), given: shown("key", value), taken, isUnknown: true };
    throw new InvalidRequestError({ provider, charged: "no", ...facts });
  }
}

/** They are about the connection, which is ours. */
const connectionHeaders = new Set([
  "content-length",
  "expect",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

function checkHeaders(provider: string, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (isHeader(name, value) && !connectionHeaders.has(name.toLowerCase())) continue;
    // The value may be a secret.
    const field = `headers[${JSON.stringify(name)}]`;
    const isOurs = connectionHeaders.has(name.toLowerCase());
    const taken = isOurs
      ? "no header that is about the connection"
      : "a name and a value that HTTP can hold";
    const given = isOurs ? "one" : "what it cannot";
    throw new InvalidRequestError({ provider, charged: "no", field, given, taken });
  }
}

/**
 * Statuses that a caller vouches for as refusals, checked.
 *
 * @throws {@link InvalidRequestError} if they are no list of whole numbers from 400 to 599.
 */
export function checkedStatuses(
  provider: string,
  given: readonly number[] = [],
): readonly number[] {
  const isStatus = (each: number) => Number.isInteger(each) && each >= 400 && each < 600;
  if (Array.isArray(given) && given.every(isStatus)) return given;
  const field = "refusalStatuses";
  const taken = "whole numbers from 400 to 599";
  throw new InvalidRequestError({
    ...{ provider, charged: "no", field, given: shown(field, given), taken },
  });
}

/**
 * A provider function like the built-in ones, for an adapter of your own. A setting that is none of
 * `ProviderSettings` is refused.
 *
 * @param adapter the adapter, or a function that gives it, called with each provider that is made: with
 * {@link once}, importing the adapter makes none of its schemas.
 *
 * @example
 * ```ts
 * export const kie = defineProvider("https://api.example.com", adapter);
 * const client = createImageClient({ provider: kie({ apiKey }) });
 * ```
 */
export function defineProvider(
  defaultBaseURL: string,
  adapter: Adapter | (() => Adapter),
): (settings?: ProviderSettings) => Provider {
  return (settings = {}) =>
    createProvider(typeof adapter === "function" ? adapter() : adapter, {
      ...settings,
      baseURL: settings.baseURL ?? defaultBaseURL,
    });
}
