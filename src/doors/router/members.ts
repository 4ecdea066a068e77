import type { Amount, ImageClient, ImageRequest, ProviderImageClient } from "../../index";
import type { Clock } from "./clock";
import { Cooling } from "./cooling";
import { invalid } from "./invalid";
import type { ImageRouterOptions, RoutedClient } from "./types";

/** One client of a router, with what the router knows of it. */
export interface Member {
  readonly name: string;
  readonly client: ImageClient;
  readonly weight: number;
  readonly when?: ((request: ImageRequest) => boolean) | undefined;
  readonly assume?: Amount | undefined;
  readonly cooling: Cooling;
  /** Whether a call made again under its key finds its job there, instead of paying again. */
  readonly honoursKeys: boolean;
}

/** The clients of a router, and whether the order among them is drawn. */
export interface Members {
  readonly all: readonly Member[];
  readonly isWeighted: boolean;
}

/** Checks the clients that a router is given. */
export function membersOf(given: ImageRouterOptions["clients"], clock: Clock): Members {
  if (!Array.isArray(given) || given.length === 0) {
    throw invalid("options.clients", given, "a list of at least one client");
  }
  const entries = given.map((each: unknown, index): RoutedClient => {
    if (isClient(each)) return { client: each };
    const isEntry = typeof each === "object" && each !== null && "client" in each;
    if (isEntry && isClient(each.client)) return { ...each, client: each.client };
    throw invalid(`options.clients[${index}]`, each, "a client, or { client, … }");
  });
  const all = entries.map((entry, index) => memberOf(entry, `options.clients[${index}]`, clock));
  all.forEach(({ name }, index) => {
    if (all.findIndex((each) => each.name === name) === index) return;
    const field = `options.clients[${index}].name`;
    throw invalid(field, name, "a name of its own: a claim leads back to one client alone");
  });
  return { all, isWeighted: entries.some(({ weight }) => weight !== undefined) };
}

function memberOf(entry: RoutedClient, field: string, clock: Clock): Member {
  const { client, name = nameOf(client), weight = 1, when, assume } = entry;
  const stray = Object.keys(entry).find((each) => !entryNames.includes(each));
  if (stray !== undefined) throw invalid(`${field}.${stray}`, "it", "no such entry");
  if (typeof name !== "string" || name === "") throw invalid(`${field}.name`, name, "a name");
  if (typeof weight !== "number" || !(weight >= 0) || weight === Number.POSITIVE_INFINITY) {
    throw invalid(`${field}.weight`, weight, "a number of 0 or more");
  }
  if (when !== undefined && typeof when !== "function") {
    throw invalid(`${field}.when`, when, "a function");
  }
  const honoursKeys = client.capabilities.idempotent || client.capabilities.keepsJournal === true;
  return { name, client, weight, when, assume, cooling: new Cooling(clock), honoursKeys };
}

const entryNames = ["client", "name", "weight", "when", "assume"];

function nameOf(client: ImageClient): string {
  const account = accountOf(client);
  return account === undefined ? client.name : `${client.name}/${account}`;
}

/** The account that its user has named. */
export function accountOf(client: ImageClient): string | undefined {
  return isProviderClient(client) ? client.account : undefined;
}

/** Whether it is the client of a provider itself, as `createImageClient` makes one. */
export function isProviderClient(client: ImageClient): client is ProviderImageClient {
  return "holds" in client && "recover" in client && "settle" in client && "baseURL" in client;
}

function isClient(value: unknown): value is ImageClient {
  return (
    typeof value === "object" &&
    value !== null &&
    "generate" in value &&
    typeof value.generate === "function" &&
    "check" in value &&
    "capabilities" in value
  );
}
