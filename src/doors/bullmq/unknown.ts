import type { Charged, JobReference } from "../../index";
import { isImageJobData, isImageJobResult } from "./data";
import { jobsOf } from "./listing";
import type { ListedQueue } from "./types";

/** A job that a person must look at. */
export interface UnknownImageJob {
  /** Its id in the queue. */
  readonly id: string;
  /** `"yes"` or `"unknown"`: what is known of the money. */
  readonly charged: Exclude<Charged, "no">;
  /** Where it stands in the queue: `"completed"` where other tasks of a split request gave pictures. */
  readonly state: "failed" | "completed";
  /** The provider's job, as far as it is known: `client.settle` takes it. */
  readonly reference?: JobReference;
  /** Why, in a sentence. */
  readonly message: string;
  /** As the job was added. */
  readonly metadata?: unknown;
}

/**
 * The jobs that ended, and of which nobody can say that they cost nothing: look each up in the provider's
 * console and end it by `client.settle(reference, { charged, … })`. Then let the queue run a failed one again
 * by `job.retry()`; a completed one delivered its other images, and the sweep delivers what a `taskId` given
 * to `settle` leads to. With `"yes"` there is nothing to settle.
 *
 * It reads what the queue keeps of failed and completed jobs, in pages.
 *
 * @example
 * ```ts
 * for await (const { id, charged, message } of listUnknown(queue)) console.log(id, charged, message);
 * ```
 */
export async function* listUnknown(queue: ListedQueue): AsyncIterableIterator<UnknownImageJob> {
  for await (const job of jobsOf(queue, "failed")) {
    if (!isImageJobData(job.data)) continue;
    const { charged, reference, problem, metadata } = job.data;
    if (charged === undefined || charged === "no") continue;
    const message = problem?.message ?? job.failedReason ?? "";
    yield { ...{ id: job.id, charged, state: "failed", message }, ...rest(reference, metadata) };
  }
  for await (const job of jobsOf(queue, "completed")) {
    if (!isImageJobData(job.data) || !isImageJobResult(job.returnvalue)) continue;
    // What was found out since stands in its data: BullMQ does not change a return value.
    const { reference, metadata, result = job.returnvalue } = job.data;
    // Of several the doubtful one first: that it was charged is at least known.
    const charges = result.failures.map(({ charged }) => charged);
    const charged = (["unknown", "yes"] as const).find((each) => charges.includes(each));
    if (charged === undefined) continue;
    const failure = result.failures.find((each) => each.charged === charged);
    const message = String(failure?.message ?? "");
    yield { ...{ id: job.id, charged, state: "completed", message }, ...rest(reference, metadata) };
  }
}

function rest(reference: JobReference | undefined, metadata: unknown) {
  return {
    ...(reference !== undefined && { reference }),
    ...(metadata !== undefined && { metadata }),
  };
}
