import type { Operation } from "./request";

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
  readonly provider: string;
  readonly operation: Operation;
  /** As it was asked for, such as `"low"` or `"high"`. */
  readonly quality?: string | undefined;
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
