import type { Operation } from "../types/reference";

/** How large a picture is asked for, where that is known: it decides how long it takes. */
export type SizeClass = "standard" | "large";

/** What is known when the next poll is planned. */
export interface PollMoment {
  /** How many polls the job has had. */
  readonly attempt: number;
  /** How long ago the create was sent, in milliseconds. */
  readonly ageMs: number;
  /**
   * How old the job was when it was last known to be running. Once a job has settled, this says how
   * far back it may have ended.
   */
  readonly previousAgeMs?: number | undefined;
  /** The provider's name, such as `"trinetra"`. */
  readonly provider: string;
  /** What the job does: edits may take longer. */
  readonly operation: Operation;
  /** As it was asked for, such as `"low"` or `"high"`. */
  readonly quality?: string | undefined;
  /** How large a picture was asked for; absent where the request does not tell. */
  readonly sizeClass?: SizeClass | undefined;
  /** The provider's own least wait between two polls, in milliseconds. */
  readonly floorMs?: number | undefined;
}

/** When to ask again. */
export interface PollSchedule {
  /** How long to wait before the next poll, in milliseconds. */
  next(moment: PollMoment): number;
  /** Told once a job has settled, so that a schedule can learn. */
  settled?(moment: PollMoment): void;
}

/** The same wait before every poll. */
export function fixedSchedule(delayMs: number): PollSchedule {
  return { next: () => delayMs };
}

const leastLocalWaitMs = 20;

/**
 * The longest wait before a poll of a provider on this machine's loopback address: a quarter of the
 * job's age. That is where the sandbox and test doubles are, whose jobs are over in a moment; a poll
 * costs next to nothing there, and a gateway to a real provider gets some 30 polls more of a job.
 */
export function longestLocalWaitMs(ageMs: number): number {
  return Math.max(leastLocalWaitMs, ageMs / 4);
}

/** Whether a URL leads to this machine's loopback address, by its text alone. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return /^(127(\.\d+){3}|\[::1\]|(.+\.)?localhost)$/.test(hostname);
}
