import type { TaskReference } from "./reference";

/** The second argument of everything that waits. */
export interface WaitCallOptions {
  /** Aborting rejects at once with the signal's own reason; nothing more is sent. */
  readonly signal?: AbortSignal;
  /** Milliseconds from the sending of the create (in `job.result`: from this call). Default: the client's. */
  readonly timeoutMs?: number;
  /**
   * A directory: images are written there as they arrive, whole files only. `generate`, `edit` and
   * `submit` try it before anything is paid, and throw an `InvalidRequestError` where it cannot be
   * made or written to. A relative path is resolved at the call.
   */
  readonly saveTo?: string;
}

/** The argument of `job.status`. */
export interface StatusOptions extends Pick<WaitCallOptions, "signal"> {
  /** Whether the provider is asked; `false` gives what is known here. Default true. */
  readonly poll?: boolean;
}

/** What one poll of a job said. */
export interface JobStatus {
  /** `"succeeded"` as soon as nothing runs any more and one task gave pictures. */
  readonly state: "queued" | "running" | "succeeded" | "failed" | "unknown";
  /** Nothing will change any more: `job.result()` answers without waiting. */
  readonly settled: boolean;
  /** 0 to 1, where the provider says. */
  readonly progress?: number;
  /**
   * How long this client would wait by its schedule before it polled again, in milliseconds; absent once
   * there is nothing left to ask the provider. For a queue that holds no worker meanwhile.
   */
  readonly nextPollMs?: number;
  /** Each native request of the job, as of now. */
  readonly tasks: readonly TaskReference[];
}
