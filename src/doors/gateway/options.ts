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
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) throw wrong(name, "", "another", true);
  }
  const entries = Object.entries(given.models ?? {});
  if (entries.length === 0) throw wrong("models", "nothing", "at least one client, by its name");
  for (const [name, client] of entries) {
    const isClient = typeof client === "object" && client !== null && "generate" in client;
    const taken = "a client, as `createImageClient` makes one";
    if (!isClient) throw wrong(`models.${name}`, typeof client, taken);
  }
  if (typeof given.authorize !== "function") {
    throw wrong("authorize", typeof given.authorize, "a function that says who calls");
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
  return { ...given, ...checked, models: new Map(entries) };
}

function numberOf(name: string, value: unknown): number {
  if (typeof value === "number" && value >= 1) return value;
  throw wrong(name, String(value), "a number of at least 1");
}

function wrong(name: string, given: string, taken: string, isUnknown = false) {
  const field = `options.${name}`;
  return new InvalidRequestError({
    ...{ charged: "no", field, isUnknown },
    ...(isUnknown ? {} : { given, taken }),
  });
}
