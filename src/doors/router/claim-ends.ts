import {
  DownloadError,
  type ImageClient,
  type ImageError,
  type ImageJob,
  type JobReference,
  SubmissionUnknownError,
} from "../../index";
import type { Claim, ClaimFacts } from "./claims";
import type { Member } from "./members";

const openStates: readonly string[] = ["waiting", "submitting", "queued", "running"];

/** The order under a claim has ended without a charge: the key is free for another client. */
export function isFree({ record }: Claim): boolean {
  return record.state === "failed" && record.failure?.charged === "no";
}

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
