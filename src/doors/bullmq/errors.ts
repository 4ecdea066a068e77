/*
 * BullMQ 6.7 knows its two errors by their names as well as by `instanceof` (worker.js, job.js), so that several
 * copies of it go together. To import it for these alone would take a second, and load ioredis.
 */

/** The job has been moved to the delayed set: no failure, and no attempt. */
export class DelayedError extends Error {
  override readonly name = "DelayedError";

  constructor() {
    super("bullmq:movedToDelayed");
  }
}

/** The job fails for good, whatever attempts are left. */
export class UnrecoverableError extends Error {
  override readonly name = "UnrecoverableError";
}

/** What was thrown, in words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
