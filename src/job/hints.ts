import { type AbortSignalLike, LightAbortSignal, sleep } from "../async/clock";
import type { JobTask } from "./task";

/** Initial minimum gap between two webhook-triggered polls. */
const firstGapMs = 1_000;
const longestGapMs = 30_000;

const followers = new WeakMap<JobTask, HintFollower>();

/**
 * A webhook says that there is news of a task. What comes of a call is at most one poll. Calls that
 * follow too soon share the next one, and each that told nothing doubles the time before it: anybody
 * can call a webhook, and a true call may come after false ones.
 */
export function hint(task: JobTask, signal: AbortSignalLike): Promise<void> {
  const follower = followers.get(task) ?? new HintFollower(task);
  followers.set(task, follower);
  return follower.hint(signal);
}

class HintFollower {
  readonly #task: JobTask;
  /** A webhook has called since the last query that was made for one. */
  #hinted = false;
  #following: Promise<void> | undefined;
  #gapMs = firstGapMs;

  constructor(task: JobTask) {
    this.#task = task;
  }

  hint(signal: AbortSignalLike): Promise<void> {
    this.#hinted = true;
    this.#task.tellEnd();
    this.#following ??= this.#follow(signal).finally(() => {
      this.#following = undefined;
    });
    return this.#following;
  }

  async #follow(signal: AbortSignalLike): Promise<void> {
    const task = this.#task;
    // A quick job may call before the response to its create is here.
    await task.created({ signal });
    while (this.#hinted && task.progress.settled === undefined && !signal.aborted) {
      this.#hinted = false;
      // If it fails, the polling, `recover` or the next call comes by later.
      if (!task.nudge()) await task.poll(signal).catch(() => {});
      if (task.progress.settled !== undefined) return;
      const gapMs = this.#gapMs;
      this.#gapMs = Math.min(2 * gapMs, longestGapMs);
      await this.#pause(gapMs, signal);
    }
  }

  /** Waits, until the task settles at the latest. */
  async #pause(delayMs: number, signal: AbortSignalLike): Promise<void> {
    const ended = new LightAbortSignal();
    const end = () => ended.abort("there is nothing to wait for");
    const signals = [signal, this.#task.progress.end];
    for (const each of signals) {
      if (each.aborted) end();
      else each.addEventListener("abort", end, { once: true });
    }
    // It rejects when it is cut short, which is not an error.
    await sleep(this.#task.clock, delayMs, ended).catch(() => {});
    for (const each of signals) each.removeEventListener("abort", end);
  }
}
