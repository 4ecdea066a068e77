import type { Provider } from "../adapter/provider";
import type { ProviderApi } from "../api/api";
import type { Clock, EndSignal } from "../async/clock";
import type { RateLimiter } from "../async/rate-limiter";
import type { PollSchedule } from "../schedule/schedule";
import type { ImageEvent } from "../types";

/** What all tasks of a client share. */
export interface TaskContext {
  readonly provider: Provider;
  readonly gateway: ProviderApi;
  readonly clock: Clock;
  readonly schedule: PollSchedule;
  /** The schedule is ours, and the provider on this machine's loopback address: its jobs may be short. */
  readonly pollsLocally: boolean;
  readonly timeoutMs: number;
  readonly pace: RateLimiter;
  readonly attemptTimeoutMs: number;
  /** Aborts when the client is closed: nothing begins any more. */
  readonly closing: EndSignal;
  /** Aborts when `close` has waited long enough: what is still on its way is torn. */
  readonly tearing: EndSignal;
  /** `close` waits for it. */
  underWay(work: Promise<unknown>): void;
}

type Distribute<Event> = Event extends ImageEvent
  ? Omit<Event, "provider" | "jobId" | "task" | "at" | "metadata">
  : never;

/** An event, before the job has said whose it is. */
export type TaskEvent = Distribute<ImageEvent>;
