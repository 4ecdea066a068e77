import { InvalidRequestError, type JobReference, type JournalRecord } from "../../index";
import { accountOf, isProviderClient, type Member } from "./members";

/** What a claim says of its order, beside what every record has. */
export interface ClaimFacts {
  /** What the router calls the client that has the order. */
  readonly client: string;
  readonly provider: string;
  readonly baseURL?: string | undefined;
  readonly account?: string | undefined;
  /** The order's entry in the ledger. */
  readonly entry?: string | undefined;
  /** It is the one more purchase of an order of unknown fate. */
  readonly again?: boolean | undefined;
  /** Up to when its owner may still send, in milliseconds since 1970, where nobody can tell whether it lives. */
  readonly until: number;
  readonly reference?: JobReference | undefined;
}

/**
 * One link of the chain of a key: one order at one client. A later link is there only once the order of
 * the one before has ended without a charge, or its owner has: whoever makes a link, by exclusive
 * creation, alone may send. Everybody else waits for what comes of it.
 */
export interface Claim {
  readonly key: string;
  /** Its place in the chain, from 0. */
  readonly index: number;
  readonly record: JournalRecord;
  readonly facts: ClaimFacts;
}

/** The id of a link's record. */
export function idOf(key: string, index: number): string {
  return index === 0 ? `${key}.0` : `${key}-${index}.0`;
}

/** The order under a claim has ended without a charge. */
export function isFree({ record }: Claim): boolean {
  return record.state === "failed" && record.failure?.charged === "no";
}

/** What a claim says of a client. */
export function placeOf({
  name,
  client,
}: Member): Pick<ClaimFacts, "client" | "provider" | "baseURL" | "account"> {
  const baseURL = isProviderClient(client) ? client.baseURL : undefined;
  return { client: name, provider: client.name, baseURL, account: accountOf(client) };
}

/** The client that a claim names. */
export function claimedMember(
  { facts }: Claim,
  members: readonly Member[],
  router: string,
): Member {
  const member = members.find(({ name }) => name === facts.client);
  const place = member && placeOf(member);
  const isSame =
    place?.provider === facts.provider &&
    place.baseURL === facts.baseURL &&
    place.account === facts.account;
  if (member !== undefined && isSame) return member;
  throw new InvalidRequestError({
    ...{ provider: router, charged: "unknown", field: "options.idempotencyKey" },
    given: `the key of an order that went to "${facts.client}" (${facts.provider})`,
    taken:
      member === undefined
        ? "a router that has this client"
        : "a router whose client of this name has the same provider, base URL and account",
  });
}

/** Whether something in a journal is a record of this format. */
export function isRecord(value: unknown): value is JournalRecord {
  return (
    typeof value === "object" &&
    value !== null &&
    "v" in value &&
    value.v === 1 &&
    "state" in value &&
    "provider" in value &&
    "requestDigest" in value
  );
}

/** What a record says of its order, where it is a claim. */
export function factsIn(value: unknown): ClaimFacts | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (!("client" in value) || typeof value.client !== "string") return undefined;
  if (!("provider" in value) || typeof value.provider !== "string") return undefined;
  if (!("until" in value) || typeof value.until !== "number") return undefined;
  // The journal is this router's own: what it wrote with these three has the rest as it was.
  return value as ClaimFacts;
}
