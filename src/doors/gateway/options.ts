import { type ImageClient, InvalidRequestError } from "../../index";
import { longestTimerMs } from "./clock";
import type { ImageGatewayOptions } from "./types";

const hour = 60 * 60 * 1000;
const mebibyte = 1024 * 1024;

const defaults = {
  keyTtlMs: 24 * hour,
  orphanTtlMs: hour / 6,
  maxOrdersPerCaller: 16,
  maxBodyBytes: 64 * mebibyte,
  maxFileBytes: 50 * mebibyte,
  maxParts: 64,
} as const;

/** Options that were checked, with their defaults. */
export type GatewayOptions = Omit<ImageGatewayOptions, keyof typeof defaults | "models"> & {
  readonly [Name in keyof typeof defaults]: number;
} & { readonly models: ReadonlyMap<string, ImageClient> };

const known: Readonly<Record<keyof ImageGatewayOptions, true>> = {
  ...{ models: true, authorize: true, store: true, keyTtlMs: true, orphanTtlMs: true },
  ...{ maxOrdersPerCaller: true, maxBodyBytes: true, maxFileBytes: true, maxParts: true },
  ...{ whitespaceEveryMs: true, spoolDirectory: true, onError: true },
};

/** @throws {@link InvalidRequestError} naming the option that is wrong. */
export function checkedOptions(given: ImageGatewayOptions): GatewayOptions {
  if (typeof given !== "object" || given === null) {
    throw wrong("", kindOf(given), "an object with models and authorize");
  }
  const models = checkedModels(given.models);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) throw wrong(name, "", "another", true);
  }
  const { authorize, store, spoolDirectory, onError } = given;
  if (typeof authorize !== "function") {
    throw wrong("authorize", kindOf(authorize), "a function that says who calls");
  }
  if (store !== undefined) checkStore(store);
  if (store?.lease !== undefined) checkJournals(models);
  if (spoolDirectory !== undefined && typeof spoolDirectory !== "string") {
    throw wrong("spoolDirectory", kindOf(spoolDirectory), "the path of a directory");
  }
  if (onError !== undefined && typeof onError !== "function") {
    throw wrong("onError", kindOf(onError), "a function that is told of errors");
  }
  const numbers = Object.fromEntries(
    Object.entries(defaults).map(([name, fallback]) => [
      name,
      // A name of `defaults`, which are options.
      numberOf(name, given[name as keyof typeof defaults] ?? fallback),
    ]),
  );
  for (const name of ["keyTtlMs", "orphanTtlMs"]) {
    const value = numbers[name] ?? 0;
    // A longer time would be cut short, and a key given up on, unseen.
    if (value > longestTimerMs) {
      throw wrong(name, String(value), `at most ${longestTimerMs} (24.8 days)`);
    }
  }
  const { whitespaceEveryMs } = given;
  if (whitespaceEveryMs !== undefined) numberOf("whitespaceEveryMs", whitespaceEveryMs);
  // Every name of `defaults` is there now, and each is a number.
  const checked = numbers as Record<keyof typeof defaults, number>;
  return { ...given, ...checked, models };
}

function checkedModels(models: unknown): ReadonlyMap<string, ImageClient> {
  const taken = 'a plain object with at least one client by its name, { "gpt-image-2": client }';
  const prototype: unknown =
    typeof models === "object" && models !== null ? Object.getPrototypeOf(models) : undefined;
  // A Map, a list or a client has entries of its own, which are no models.
  const isPlain = prototype === null || prototype === Object.prototype;
  if (!isPlain || isClient(models)) throw wrong("models", kindOf(models), taken);
  const clients = new Map<string, ImageClient>();
  for (const [name, client] of Object.entries(Object(models))) {
    if (!isClient(client)) {
      throw wrong(`models.${name}`, kindOf(client), "a client, as `createImageClient` makes one");
    }
    clients.set(name, client);
  }
  if (clients.size === 0) throw wrong("models", "nothing", taken);
  return clients;
}

/** A gateway that takes over on another machine would not find what the one before it has bought. */
function checkJournals(models: ReadonlyMap<string, ImageClient>): void {
  for (const [name, { journal }] of models) {
    if (journal === undefined || journal.shared) continue;
    const taken = "one that all gateways of the store share, such as createPostgresJournal(pool)";
    throw wrong(`models.${name}.journal`, "a journal of one machine", taken);
  }
}

function isClient(value: unknown): value is ImageClient {
  return hasMembers(value, {
    ...{ name: "string", capabilities: "object" },
    ...{ generate: "function", edit: "function", resume: "function" },
  });
}

function checkStore(store: unknown): void {
  const members = { directory: "string", put: "function", delete: "function", list: "function" };
  if (hasMembers(store, members)) return;
  const path = typeof store === "string" ? JSON.stringify(store) : '"./.orders"';
  const taken = `a store with directory, put, delete and list, such as directoryStore(${path})`;
  throw wrong("store", kindOf(store), taken);
}

/** Whether a value has members of these types. */
function hasMembers(value: unknown, members: Readonly<Record<string, string>>): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(members).every(([name, type]) => typeof Reflect.get(value, name) === type);
}

/** What was given, in a word. */
function kindOf(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 60));
  if (typeof value !== "object") return typeof value;
  return value === null ? "null" : (value.constructor?.name ?? "object");
}

function numberOf(name: string, value: unknown): number {
  if (typeof value === "number" && value >= 1) return value;
  throw wrong(name, String(value), "a number of at least 1");
}

function wrong(name: string, given: string, taken: string, isUnknown = false) {
  const field = name === "" ? "options" : `options.${name}`;
  return new InvalidRequestError({
    ...{ charged: "no", field, isUnknown },
    ...(isUnknown ? {} : { given, taken }),
  });
}
