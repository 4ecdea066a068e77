import {
  type AnyImageError,
  DownloadError,
  type ImageClient,
  type ImageError,
  type ImageJob,
  type JobReference,
  SubmissionUnknownError,
} from "../../index";
import type { Claim, ClaimFacts } from "./claim";
import type { Member } from "./members";
import { isUncharged, withFailures, withOthers } from "./rules";

const openStates: readonly string[] = ["waiting", "submitting", "queued", "running"];

/** Whether nothing of a job runs any more. */
export function isOver({ tasks }: JobReference): boolean {
  return tasks.every(({ state }) => !openStates.includes(state));
}

/** Whether every task of a job can be asked after. */
export function isWhole({ tasks }: JobReference): boolean {
  return tasks.every(({ id, state }) => id !== undefined || !openStates.includes(state));
}

/** The job of a claim, where it can be asked after. */
export function jobOf({ reference }: ClaimFacts, client: ImageClient): ImageJob | undefined {
  return reference !== undefined && client.capabilities.resumable
    ? client.resume(reference)
    : undefined;
}

/** What a client with a journal says of an order once it has looked the order up: no refusal comes before that. */
const lookedUp: readonly string[] = [
  "rate_limited",
  "provider_unavailable",
  "insufficient_credits",
  "permission_denied",
  "moderation",
  "generation_failed",
] satisfies readonly AnyImageError["code"][];

/**
 * What an error comes to of an order that was sent before under the same key, and whose fate nobody knew.
 * That nothing was charged is taken from a client that has looked the order up in its journal; a refusal of
 * the second try alone says nothing of the first.
 */
export function endOf(before: Claim, member: Member, error: ImageError): ImageError {
  if (!isUncharged(error)) return error;
  const keepsJournal = member.client.capabilities.keepsJournal === true;
  const isAnswer = ({ code, status }: ImageError & { code: string }) =>
    lookedUp.includes(code) || status !== undefined;
  if (keepsJournal && withOthers(error).every(isAnswer)) return error;
  return withFailures(lostError(before, member), [error]);
}

/** Its client honours no key and has no journal: nobody can know what became of it. */
export function lostError({ record, facts }: Claim, { client }: Member): ImageError {
  const known = { provider: client.name, job: jobOf(facts, client) };
  if (record.state === "succeeded" || record.failure?.charged === "yes") {
    const detail = "It was delivered under this key before, and nobody has kept its pictures";
    return new DownloadError({ ...known, charged: "yes", detail });
  }
  const detail = "It was sent under this key before, by a call that has ended";
  return new SubmissionUnknownError({ ...known, charged: "unknown", detail });
}
