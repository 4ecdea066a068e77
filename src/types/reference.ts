import type { Cost } from "../cost";

/** The two things that a provider can be asked to do. */
export type Operation = "generate" | "edit";

/**
 * How far a task is. `"waiting"`: not sent yet. `"submitting"`: the create is on its way.
 * `"refused"`: the provider did not take it. `"unknown"`: sent, and its response was lost.
 */
export type TaskState =
  | "waiting"
  | "submitting"
  | "queued"
  | "running"
  | "succeeded"
  | "failed"
  | "refused"
  | "unknown";

/** One native request of a job. */
export interface TaskReference {
  /** Its place in the job, from 0. */
  readonly index: number;
  /** How many images it asks for. */
  readonly n: number;
  /** The provider's id, once it has accepted. */
  readonly id?: string;
  /** The idempotency key that was sent, at a provider that honours one. */
  readonly key?: string;
  /** How far it was when the reference was made. */
  readonly state: TaskState;
  /** What the provider said it costs; some say so in the response to the create alone. */
  readonly cost?: Cost;
}

/** A job as plain JSON: no key, no prompt. Any process can resume it. */
export interface JobReference {
  /** The version of this form. */
  readonly v: 1;
  /** Ours, minted before anything is sent. */
  readonly id: string;
  /** The provider's name: a client of another one refuses it. */
  readonly provider: string;
  /** Where the provider was reached, without a query. */
  readonly baseURL: string;
  /** What was asked for. */
  readonly operation: Operation;
  /** When the call was made, as ISO 8601. */
  readonly submittedAt: string;
  /** Its native requests; several where `n` was split. */
  readonly tasks: readonly TaskReference[];
}
