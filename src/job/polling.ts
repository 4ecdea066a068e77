import type { Clock, EndSignal } from "../async/clock";
import { CallbackError, RateLimitError } from "../errors";
import { Poller, type PollLoop } from "../schedule/poller";
import { longestLocalWaitMs, type PollMoment, type SizeClass } from "../schedule/schedule";
import type { ErrorFacts, GeneratedImage, Operation } from "../types";
import type { TaskServices } from "./services";

/** What was asked for, as far as it decides when polls come due. */
export interface Asked {
  readonly operation: Operation;
  readonly quality?: string | undefined;
  readonly sizeClass?: SizeClass | undefined;
  /** Milliseconds between polls while a webhook is expected. */
  readonly backstopMs?: number | undefined;
}

/** Whose polls they are. */
interface PolledTask {
  /** When its create was sent, by the monotonic clock. */
  readonly startedAt: number | undefined;
  /** This process made it: what another one has sent may be done by now, and is asked after at once. */
  readonly isNew: boolean;
  facts(facts: ErrorFacts): ErrorFacts;
}

/** A provider posts its webhook within this time of the end. */
const webhookLatencyMs = 1_000;

/** The wait before a poll where the caller's schedule gives none. */
const unsaidDelayMs = 5_000;

/** The polls of one task: when they are due, and the loop that all who wait for it share. */
export class Polling<Value> implements PollLoop<Value> {
  readonly poller: Poller<Value> = new Poller(this);
  readonly query: PollLoop<Value>["query"];
  readonly #services: TaskServices;
  readonly #task: PolledTask;
  readonly #asked: Asked;
  /** How old it was when it was last running, by a poll or as far as a webhook's call tells. */
  #runningAgeMs: number | undefined;
  /** Why the last poll told nothing, where it did not. */
  lastFailure: unknown;
  /** Images in the response to a poll whose word for the state nobody knows. */
  unsettledImages: readonly GeneratedImage[] = [];

  /** @param query asks once, for the poller. */
  constructor(
    services: TaskServices,
    task: PolledTask,
    asked: Asked,
    query: PollLoop<Value>["query"],
  ) {
    this.#services = services;
    this.#task = task;
    this.#asked = asked;
    this.query = query;
  }

  get clock(): Clock {
    return this.#services.clock;
  }

  get ageMs(): number {
    const now = this.clock.now();
    return now - (this.#task.startedAt ?? now);
  }

  /** A poll said that it was running when it was that old. */
  wasRunning(ageMs: number, images = this.unsettledImages): void {
    this.#runningAgeMs = ageMs;
    this.unsettledImages = images;
    this.lastFailure = undefined;
  }

  /** A webhook tells of its end: a schedule that learns is not told of the whole wait before it. */
  tellEnd(): void {
    this.#runningAgeMs = Math.max(this.#runningAgeMs ?? 0, this.ageMs - webhookLatencyMs);
  }

  /** Lets the schedule learn from it, once it has settled. */
  settled(): void {
    this.unsettledImages = [];
    const { polls } = this.poller;
    if (polls === 0) return;
    try {
      const told: unknown = this.#services.schedule.settled?.(this.#moment(polls));
      // One that is async rejects later, and must not end the process.
      if (told !== undefined) Promise.resolve(told).catch(() => {});
    } catch {
      // A schedule that cannot learn must not cost the caller what was paid for.
    }
  }

  /** Waits until the polls of other jobs that are before it have left. */
  turn(signal: EndSignal): Promise<void> | undefined {
    const wasRefused = this.lastFailure instanceof RateLimitError;
    return this.#services.pollLimiter.turn(signal, wasRefused);
  }

  /** The wait before the next poll, by the number of polls so far. Throws as the schedule does. */
  delayMs(polls: number): number {
    return polls === 0 && !this.#task.isNew ? 0 : this.scheduledMs(polls);
  }

  /**
   * The same, as the schedule has it.
   *
   * @throws CallbackError if the caller's schedule throws.
   */
  scheduledMs(polls: number): number {
    const { schedule, pollsLocally } = this.#services;
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

  #moment(attempt: number): PollMoment {
    const { operation, quality, sizeClass } = this.#asked;
    const { name: provider, adapter } = this.#services.provider;
    const { ageMs } = this;
    const previousAgeMs = this.#runningAgeMs;
    const asked = { provider, operation, quality, sizeClass, floorMs: adapter.pollFloorMs };
    return { attempt, ageMs, previousAgeMs, ...asked };
  }
}
