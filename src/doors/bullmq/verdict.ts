import type { ImageError, JobReference } from "../../index";

/** What becomes of a job after an error. */
export type Verdict =
  /** It goes on, or is tried again, after a wait; no attempt of BullMQ is used up. */
  | "again"
  /** The same, and the whole queue waits: the provider was asked too often. */
  | "pause"
  /** Nothing was charged, and BullMQ may make its next attempt. */
  | "attempt"
  /** It ends here. */
  | "final";

/** How often a create of unknown fate is sent again under a key that the provider honours. */
const mostRepeats = 5;

/** How often in a row an order waits for a provider that says when, and uses up no attempt. */
const mostPauses = 50;

/** Whether anything of a job may still run, or be fetched. */
export function isOpen({ tasks }: Pick<JobReference, "tasks">): boolean {
  const ended = ["failed", "refused", "unknown"];
  return tasks.some(({ state }) => !ended.includes(state));
}

/** Whether the provider can be asked after a job: of each task its name there is known, or its end. */
export function isAskable({ tasks }: JobReference): boolean {
  const ended = ["failed", "refused", "unknown", "succeeded"];
  return (
    tasks.some(({ id }) => id !== undefined) &&
    tasks.every(({ id, state }) => id !== undefined || ended.includes(state))
  );
}

/** An error and those of the other tasks of a split request: the first of them says nothing of the rest. */
export function allOf(error: ImageError): readonly ImageError[] {
  return [error, ...error.failures];
}

/** Whether nothing was charged, for any task. */
export function isUncharged(error: ImageError): boolean {
  return allOf(error).every(({ charged }) => charged === "no");
}

/** The one that decides: what may have been paid for, before what was, before what cost nothing. */
export function decisiveOf(error: ImageError): ImageError {
  const errors = allOf(error);
  const withCharge = (wanted: ImageError["charged"]) =>
    errors.find(({ charged }) => charged === wanted);
  return withCharge("unknown") ?? withCharge("yes") ?? error;
}

/** Whether an error has whole images that the journal could not keep. Those of other codes may be torn. */
export function isUnkept({ code, charged, images = [] }: ImageError): boolean {
  return code === "journal_failed" && charged !== "no" && images.length > 0;
}

/** What is left of a job once the images of the tasks that succeeded are there. */
export function withoutSucceeded<Reference extends Pick<JobReference, "tasks">>(
  reference: Reference,
): Reference {
  return { ...reference, tasks: reference.tasks.filter(({ state }) => state !== "succeeded") };
}

/** Those that may have been paid for. Where no id is known, their images are in the errors alone. */
export function failuresToWaitFor(
  failures: readonly ImageError[],
  left: JobReference,
): readonly ImageError[] {
  return failures.filter(
    (failure) => failure.charged !== "no" && (isAskable(left) || !isUnkept(failure)),
  );
}

/** What becomes of a job after an error, of which `tries` were met in a row. */
export function verdictOn(
  error: ImageError,
  reference: JobReference | undefined,
  { tries, isIdempotent }: { readonly tries: number; readonly isIdempotent: boolean },
): Verdict {
  if (error.code === "rate_limited") return "pause";
  if (error.code === "client_closed") return "again";
  if (error.charged === "no") {
    // A database that cannot be written is no fault of the order.
    if (error.code === "journal_failed") return "again";
    // It says when, and a budget is renewed some time: of a provider, or a router's clients, nobody knows.
    const isPause = error.code === "budget_exceeded" || tries < mostPauses;
    if (error.retryable && error.retryAfterMs !== undefined && isPause) return "again";
    // It was accepted: that this worker's client knows no such provider says nothing of what it cost.
    if (error.code === "invalid_request" && reference !== undefined && isAskable(reference)) {
      return isOpen(reference) ? "again" : "final";
    }
    return error.retryable ? "attempt" : "final";
  }
  // An image that ends early: the journal has it, and each further request gives the same bytes.
  const isCutShort = error.code === "malformed_response" && error.images !== undefined;
  if (isCutShort && !isOpen(withoutSucceeded(reference ?? { tasks: [] }))) return "final";
  // What can be resumed is never final.
  if (reference !== undefined && isOpen(reference)) return "again";
  const isLost = error.code === "submission_unknown" || error.code === "journal_failed";
  return isLost && isIdempotent && tries < mostRepeats ? "again" : "final";
}
