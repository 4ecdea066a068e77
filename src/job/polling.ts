import type { AbortSignalLike, Clock } from "../async/clock";
import { CallbackError, isImageError, RateLimitError, reasonOf } from "../errors";
import { Poller, type PollLoop, type PollStep } from "../schedule/poller";
import { longestLocalWaitMs, type PollMoment, type SizeClass } from "../schedule/schedule";
import type { GeneratedImage } from "../types/image";
import type { Operation } from "../types/reference";
import { poll, type Step } from "./poll";
import type { TaskServices } from "./services";
import type { TaskProgress } from "./task-progress";
import type { Settled } from "./task-state";

/** What was asked for, as far as it decides when polls come due. */
export interface Asked {
  readonly operation: Operation;
  readonly quality?: string | undefined;
  readonly sizeClass?: SizeClass | undefined;
  /** Milliseconds between polls while a webhook is expected. */
  readonly backstopMs?: number | undefined;
}

/** A provider posts its webhook within this time of the end. */
const webhookLatencyMs = 1_000;

/** The wait before a poll where the caller's schedule gives none. */
const unsaidDelayMs = 5_000;

/** The polls of one task: when they are due, what they tell, and the loop that all who wait for it share. */
export class Polling implements PollLoop<Settled> {
  readonly poller = new Poller(this);
  readonly #services: TaskServices;
  readonly #task: TaskProgress;
  readonly #asked: Asked;
  /** How old it was when it was last running, by a poll or as far as a webhook's call tells. */
  #runningAgeMs: number | undefined;
  /** Why the last poll told nothing, where it did not. */
  lastFailure: unknown;
  /** Images in a poll response whose state is unknown. */
  unsettledImages: readonly GeneratedImage[] | undefined;

  constructor(services: TaskServices, task: TaskProgress, asked: Asked) {
    this.#services = services;
    this.#task = task;
    this.#asked = asked;
  }

  get clock(): Clock {
    return this.#services.client.clock;
  }

  get ageMs(): number {
    const now = this.clock.now();
    return now - (this.#task.startedAt ?? now);
  }

  /** A webhook tells of its end: a schedule that learns is not told of the whole wait before it. */
  tellEnd(): void {
    this.#runningAgeMs = Math.max(this.#runningAgeMs ?? 0, this.ageMs - webhookLatencyMs);
  }

  /** Lets the schedule learn from it. */
  #teach(): void {
    const { polls } = this.poller;
    if (polls === 0) return;
    try {
      const told: unknown = this.#services.client.schedule.settled?.(this.#moment(polls));
      // One that is async rejects later, and must not end the process.
      if (told !== undefined) Promise.resolve(told).catch(() => {});
    } catch {
      // A schedule that cannot learn must not cost the caller what was paid for.
    }
  }

  /** Waits until the polls of other jobs that are before it have left. */
  turn(signal: AbortSignalLike): Promise<void> | undefined {
    const wasRefused = this.lastFailure instanceof RateLimitError;
    return this.#services.client.pollLimiter.turn(signal, wasRefused);
  }

  /** The wait before the next poll, by the number of polls so far. Throws as the schedule does. */
  delayMs(polls: number): number {
    return polls === 0 && !this.#task.isNew ? 0 : this.#scheduledMs(polls);
  }

  /** The wait that follows on the polls so far. Throws as the schedule does. */
  get nextPollMs(): number {
    return this.delayMs(this.poller.polls);
  }

  /**
   * The same, as the schedule has it.
   *
   * @throws CallbackError if the caller's schedule throws.
   */
  #scheduledMs(polls: number): number {
    const { schedule, pollsLocally } = this.#services.client;
    const moment = this.#moment(polls);
    let delayMs: unknown;
    try {
      delayMs = schedule.next(moment);
    } catch (cause) {
      const facts = this.#task.facts({ charged: "unknown", cause });
      throw new CallbackError({ ...facts, callback: "poll.next" });
    }
    // A timer of anything else fires at once, and would poll without end.
    if (typeof delayMs === "object") Promise.resolve(delayMs).catch(() => {});
    const isDelay = typeof delayMs === "number" && !Number.isNaN(delayMs);
    const sane = isDelay ? Math.max(0, Number(delayMs)) : unsaidDelayMs;
    // A webhook may never come: polling slows down, and never stops.
    const delayedMs = Math.max(sane, this.#asked.backstopMs ?? 0);
    if (!pollsLocally) return delayedMs;
    const { ageMs, floorMs = 0 } = moment;
    return Math.min(delayedMs, Math.max(floorMs, longestLocalWaitMs(ageMs)));
  }

  /** Asks once, for the poller. */
  async query(signal: AbortSignalLike): Promise<PollStep<Settled>> {
    const task = this.#task;
    const { id } = task;
    const { ageMs } = this;
    if (id === undefined || this.#services.client.provider.adapter.query === undefined) {
      return this.#stopped(task.unknownError());
    }
    return this.#take(await poll(task, id, this.#services, signal), ageMs);
  }

  /** Takes what one poll told, of a job that was that old when it was asked after. */
  #take(step: Step, ageMs: number): PollStep<Settled> | Promise<PollStep<Settled>> {
    const task = this.#task;
    switch (step.is) {
      case "left":
        return {};
      case "running": {
        const { stage } = task;
        if (stage.is !== "accepted") return {};
        const { state, word, known, progress, cost = stage.cost } = step.outcome;
        task.become({ is: "accepted", id: stage.id, state, cost });
        this.#runningAgeMs = ageMs;
        this.lastFailure = undefined;
        this.unsettledImages = step.images ?? this.unsettledImages;
        task.emit(
          progress === undefined
            ? { type: "status", state, word, known }
            : { type: "status", state, word, known, progress },
        );
        return {};
      }
      case "retry": {
        const { failure, retryAfterMs } = step;
        this.lastFailure = failure;
        // A poll that told nothing is one more wait.
        const delayMs = Math.max(retryAfterMs ?? 0, this.#scheduledMs(this.poller.polls));
        task.emit({ type: "retry", phase: "poll", reason: failure.message, delayMs });
        return { failure, retryAfterMs };
      }
      case "stopped":
        return this.#stopped(step.error);
      case "succeeded":
      case "failed":
        return this.#takeEnd(step);
    }
  }

  async #takeEnd(step: Extract<Step, { is: "succeeded" | "failed" }>): Promise<PollStep<Settled>> {
    const task = this.#task;
    const isFirst = task.settled === undefined;
    if (step.is === "failed") {
      const { error, refused } = step;
      await task.entry?.failed(refused).catch((failure: unknown) => {
        // Its key stays taken.
        Object.assign(error, { retryable: false });
        this.#services.warnings.push(reasonOf(failure));
      });
      task.settle("failed", { error });
    } else {
      try {
        await task.succeed(step.outcome, step.raw);
      } catch (error) {
        task.tellUnkept(error);
        return this.#stopped(error);
      }
    }
    const { settled } = task;
    if (settled === undefined) return {};
    this.unsettledImages = undefined;
    if (isFirst) this.#teach();
    return { settled };
  }

  /** Ends the wait but not the job, so listeners are told why. */
  #stopped(error: unknown): PollStep<Settled> {
    if (isImageError(error)) this.#task.emit({ type: "failed", error });
    return { stopped: error };
  }

  #moment(attempt: number): PollMoment {
    const { operation, quality, sizeClass } = this.#asked;
    const { name: provider, adapter } = this.#services.client.provider;
    const { ageMs } = this;
    const previousAgeMs = this.#runningAgeMs;
    const asked = { provider, operation, quality, sizeClass, floorMs: adapter.pollFloorMs };
    return { attempt, ageMs, previousAgeMs, ...asked };
  }
}
