import type { Provider } from "../adapter/provider";
import type { ProviderApi } from "../api/api";
import type { AbortSignalLike, Clock } from "../async/clock";
import type { RateLimiter } from "../async/rate-limiter";
import type { Semaphore } from "../async/semaphore";
import type { UnderWay } from "../async/under-way";
import type { Transport } from "../http/transport";
import type { PollSchedule } from "../schedule/schedule";
import type { ImageJob } from "../types";
import type { CallOptions } from "../types/call-options";
import type { JobEvents } from "./events";

/** What all jobs of a client share. */
export interface ClientServices {
  readonly provider: Provider;
  readonly api: ProviderApi;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly schedule: PollSchedule;
  /** The schedule is ours, and the provider on this machine's loopback address: its jobs may be short. */
  readonly pollsLocally: boolean;
  /** Spaces the polls of a client once its provider has refused one. */
  readonly pollLimiter: RateLimiter;
  /** The places under `concurrency`: a job that was submitted keeps its own until it has ended. */
  readonly slots: Semaphore;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** Milliseconds between polls while webhooks are expected; absent where none are. */
  readonly backstopMs: number | undefined;
  readonly onEvent: CallOptions["onEvent"];
  /** Aborts when the client is closed: nothing begins any more. */
  readonly closing: AbortSignalLike;
  /** Aborts when `close` has waited long enough: what is still on its way is torn. */
  readonly tearing: AbortSignalLike;
  /** What `close` waits for. */
  readonly underWay: UnderWay;
}

/**
 * What the tasks of one job have. The client's are not copied into it: that would be 130 bytes in each of
 * thousands of jobs that wait.
 */
export interface TaskServices {
  readonly client: ClientServices;
  /** The job that they are of, as errors carry it. */
  readonly job: ImageJob;
  readonly events: JobEvents;
  /** What its result shall warn of. */
  readonly warnings: string[];
}
