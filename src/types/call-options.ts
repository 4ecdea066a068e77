import type { ImageEvent, ImageJob } from "../types";
import type { WaitCallOptions } from "./waiting";

/** The second argument of `generate`, `edit` and `submit`. */
export interface CallOptions extends WaitCallOptions {
  /**
   * Sent where the provider honours one (each task of a split request derives its own from it), so
   * that the same call made again does not pay again.
   */
  readonly idempotencyKey?: string;
  /**
   * Awaited once the provider has accepted, before the first poll: the place to save
   * `job.reference`. Called again for each further task of a split request, with the same `job.id`.
   * If it throws, the call rejects with a `CallbackError` that carries the job.
   */
  readonly onSubmitted?: (job: ImageJob) => unknown;
  /** Hears what happens. What it throws is ignored. */
  readonly onEvent?: (event: ImageEvent) => unknown;
  /** Comes back in every event of this call. */
  readonly metadata?: unknown;
  /**
   * Whose order it is, such as `{ team: "web" }`: a router keeps them in its ledger and limits budgets by
   * them. A client by itself does nothing with them.
   */
  readonly tags?: Readonly<Record<string, string>>;
  /**
   * Whether a create that nothing came of for the moment (429, not available, no connection) is sent again
   * within the time-out. With `false` its error comes at once, so that a router can ask another provider.
   * Default true.
   */
  readonly retryRefused?: boolean;
  /**
   * Of a `submit`: the job goes on in another process, by its reference. This client lets go of it, and of
   * its place under `concurrency`, once the provider has answered; without it the job has both until this
   * client sees its end. Default false.
   */
  readonly detached?: boolean;
}
