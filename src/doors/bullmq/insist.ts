import { setTimeout as pause } from "node:timers/promises";
import { DelayedError } from "./errors";

const mostTries = 9;
const longestPauseMs = 5_000;

/** Some ten minutes of them: what is saved exists in this process alone. */
const mostSaves = 30;
const longestSavePauseMs = 30_000;

/**
 * Does something in the queue, for some 20 s again and again. What is thrown instead is BullMQ's word for a
 * job that was moved, which leaves it where it stands: a lost connection, thrown on, would fail the job once
 * the connection is back, though it was paid for. A job that is another worker's by now is left to it, and
 * one that could not be moved is found by the check for stalled ones.
 */
export function insist<Value>(work: () => Promise<Value>): Promise<Value> {
  return repeat(work, (error, tries) => {
    if (error instanceof DelayedError) throw error;
    if (isLost(error) || tries >= mostTries) throw new DelayedError();
    return longestPauseMs;
  });
}

/**
 * Saves what exists nowhere but in memory, again and again for some ten minutes, or 20 s where the worker is
 * to stop; then it throws what was thrown last.
 */
export function insistOnSave<Value>(
  save: () => Promise<Value> | Value,
  isStopping: () => boolean,
): Promise<Value> {
  return repeat(save, (error, tries) => {
    if (tries >= (isStopping() ? mostTries : mostSaves)) throw error;
    return isStopping() ? longestPauseMs : longestSavePauseMs;
  });
}

/**
 * Does something until it succeeds, with pauses that double.
 *
 * @param longestPauseAfter After an error; it throws where there is to be no further try.
 */
async function repeat<Value>(
  work: () => Promise<Value> | Value,
  longestPauseAfter: (error: unknown, tries: number) => number,
): Promise<Value> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      await pause(Math.min(longestPauseAfter(error, tries), 100 * 2 ** Math.min(tries, 20)));
    }
  }
}

/** It has no such job, or the lock is another worker's: BullMQ (6.7) has numbers below 0 for that. */
export function isLost(error: unknown): boolean {
  const isError = typeof error === "object" && error !== null && "code" in error;
  return isError && typeof error.code === "number" && error.code < 0;
}
