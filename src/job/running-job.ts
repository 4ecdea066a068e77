import type { Succeeded } from "../adapter/contract";
import { type AbortSignalLike, callerSignal, type WaitLimits } from "../async/clock";
import type { Charged } from "../cost";
import { CallbackError, ClientClosedError, isImageError, reasonOf } from "../errors";
import { newId } from "../request/fingerprint";
import { parseWaitOptions } from "../request/options";
import type { ErrorFacts, ImageEvent, ImageJob, ImageResult } from "../types";
import type { CallOptions } from "../types/call-options";
import type { JobReference } from "../types/reference";
import type { JobStatus, StatusOptions, WaitCallOptions } from "../types/waiting";
import { assemble, type DeliveredTask, type TaskOutcome, timingOf } from "./assemble";
import { JobEvents, type Subscriber } from "./events";
import { isSettled, jobState } from "./job";
import type { Delivered } from "./pictures";
import type { Asked } from "./polling";
import { type Scope, Waiters } from "./scope";
import type { ClientServices, TaskServices } from "./services";
import { JobTask } from "./task";
import type { TaskProgress, TaskSeed } from "./task-progress";
import type { Settled } from "./task-state";

/** What a job is made of: beside what was asked for, of which nothing more is known of a resumed job. */
export interface JobSeed extends Asked {
  /** Minted where it is left out. */
  readonly id?: string | undefined;
  /** Milliseconds since 1970. */
  readonly submittedAt: number;
  readonly warnings?: readonly string[];
  /** Where `result` saves unless it is told otherwise: as a `submit` was. */
  readonly resultSaveTo?: string | undefined;
  readonly onSubmitted?: CallOptions["onSubmitted"];
  readonly onEvent?: CallOptions["onEvent"];
  readonly metadata?: unknown;
}

/** How long a call waits for a task. */
export interface TaskWait extends WaitLimits {
  readonly timeoutMs: number;
}

/** A job of a client: its tasks, those who wait for them and, in the end, its result. */
export class RunningJob implements ImageJob {
  readonly provider: string;
  readonly #tasks: readonly JobTask[];
  readonly #waiters = new Waiters(this);
  readonly #seed: JobSeed;
  readonly #services: TaskServices;
  #id: string | undefined;
  #isGivenUp = false;
  #endedUnattended = false;

  constructor(seed: JobSeed, tasks: readonly TaskSeed[], client: ClientServices) {
    const { provider, backstopMs } = client;
    this.#id = seed.id;
    this.provider = provider.name;
    this.#seed = seed;
    const events = new JobEvents(this, tasks.length, seed, client);
    const warnings = [...(seed.warnings ?? [])];
    const services = { client, job: this, events, warnings };
    this.#services = services;
    const asked =
      backstopMs === undefined ? seed : { ...seed, backstopMs: seed.backstopMs ?? backstopMs };
    this.#tasks = tasks.map((task) => new JobTask(task, asked, services));
    events.subscribe(this.#onEvent);
    for (const task of this.#tasks) task.adoptRecord();
  }

  get tasks(): readonly JobTask[] {
    return this.#tasks;
  }

  /** Those who wait for it. */
  get waiters(): Waiters {
    return this.#waiters;
  }

  /** Created on first access: until then nothing can have observed it. */
  get id(): string {
    this.#id ??= newId();
    return this.#id;
  }

  /** Nothing of it runs any more. */
  get isSettled(): boolean {
    return this.#tasks.every(({ progress }) => progress.hasEnded);
  }

  /** It settled while nothing waited for it. */
  get endedUnattended(): boolean {
    return this.#endedUnattended;
  }

  /** Every waiter left before the end, by time-out or abort. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  get reference(): JobReference {
    const { operation, submittedAt } = this.#seed;
    const { name, baseURL } = this.#services.client.provider;
    return {
      v: 1,
      id: this.id,
      provider: name,
      baseURL,
      operation,
      submittedAt: new Date(submittedAt).toISOString(),
      tasks: this.#tasks.map(({ progress }) => progress.reference),
    };
  }

  toJSON(): JobReference {
    return this.reference;
  }

  async status({ signal, poll = true }: StatusOptions = {}): Promise<JobStatus> {
    const scope = this.scope(signal);
    try {
      scope.throwIfAborted();
      if (poll) await Promise.all(this.#tasks.map((task) => task.poll(scope)));
    } finally {
      scope.end();
    }
    const states = this.#tasks.map((task) => task.progress.state);
    const state = jobState(states);
    const { progress } = this.#services.events;
    const delays = this.#tasks.flatMap((task) => task.nextPollMs ?? []);
    return {
      state,
      settled: states.every(isSettled),
      ...(progress !== undefined && { progress }),
      ...(delays.length > 0 && { nextPollMs: Math.min(...delays) }),
      tasks: this.#tasks.map((task) => task.progress.reference),
    };
  }

  async result(options: WaitCallOptions = {}): Promise<ImageResult> {
    const { resultSaveTo } = this.#seed;
    const {
      signal,
      saveTo = resultSaveTo,
      timeoutMs = this.#services.client.timeoutMs,
    } = parseWaitOptions(options);
    const deadlineAt = this.#services.client.clock.now() + timeoutMs;
    const scope = this.scope(signal);
    try {
      const limits = { signal: scope, deadlineAt, timeoutMs };
      return this.assemble(
        await Promise.all(this.#tasks.map((task) => this.outcome(task, limits, saveTo))),
      );
    } finally {
      scope.end();
    }
  }

  async *events({
    signal,
  }: Pick<WaitCallOptions, "signal"> = {}): AsyncIterableIterator<ImageEvent> {
    const { events } = this.#services;
    const scope = this.scope(signal);
    try {
      // However the waiting ends, the events end: what went wrong is an event itself, or the caller's.
      yield* events.iterate(() =>
        Promise.allSettled(this.#tasks.map((task) => task.wait({ signal: scope }))),
      );
    } finally {
      scope.abort(new Error("nobody listens any more"));
      scope.end();
    }
  }

  async release(): Promise<void> {
    this.vacate();
    await Promise.all(this.#tasks.map(({ progress }) => progress.entry?.release()));
  }

  /** It no longer counts for the client's `concurrency`. */
  vacate(): void {
    for (const { id } of this.#tasks) if (id !== undefined) this.#services.client.slots.vacate(id);
  }

  /** Hears of what happens, after the caller's own listeners. */
  follow(subscriber: Subscriber): void {
    this.#services.events.subscribe(subscriber);
  }

  /** The caller's signal and the client's end in one; `end` lets go of both. */
  scope(
    signal: AbortSignal | undefined,
    closing: AbortSignalLike = this.#services.client.closing,
  ): Scope {
    return this.#waiters.enter(signal && callerSignal(signal), closing);
  }

  /** How a task ends for one who waits, its images saved as they arrive; what ends the call is thrown. */
  async outcome(task: JobTask, limits: TaskWait, saveTo: string | undefined): Promise<TaskOutcome> {
    const { signal } = limits;
    const { progress } = task;
    this.#isGivenUp = false;
    let settled: Settled;
    try {
      settled = progress.settled ?? (await waitFor(task, limits));
    } catch (error) {
      this.#isGivenUp = true;
      if (signal?.aborted || !isImageError(error)) throw error;
      return { error };
    }
    if ("error" in settled) return settled;
    const delivering = progress.pictures.deliver(settled.succeeded, saveTo, signal);
    progress.dropBase64();
    const delivered = delivering instanceof Promise ? await delivering : delivering;
    return deliveredTask(progress, settled, delivered);
  }

  /** Tells the caller that a task was accepted; what it throws ends the call, and the job is on it. */
  announce(task: JobTask): Promise<void> | undefined {
    const { onSubmitted } = this.#seed;
    return task.progress.isAccepted && onSubmitted !== undefined
      ? this.#callOnSubmitted(onSubmitted, task)
      : undefined;
  }

  async #callOnSubmitted(
    onSubmitted: NonNullable<JobSeed["onSubmitted"]>,
    { progress }: JobTask,
  ): Promise<void> {
    try {
      await onSubmitted(this);
    } catch (cause) {
      const facts: ErrorFacts = {
        provider: this.provider,
        charged: this.#charged,
        job: this,
        cause,
      };
      const error = new CallbackError({ ...facts, callback: "onSubmitted" });
      progress.emit({ type: "failed", error });
      throw error;
    }
  }

  /** What all the tasks came to, or the error of those that gave nothing. */
  assemble(outcomes: readonly TaskOutcome[]): ImageResult {
    let polls = 0;
    for (const task of this.#tasks) polls += task.polls;
    const timing = timingOf(
      this.#tasks.map(({ progress }) => progress),
      polls,
    );
    return assemble(outcomes, this, this.#services.warnings, timing);
  }

  /** Of all its tasks, some of which may go on: what is certain comes first. */
  get #charged(): Charged {
    const charges = this.#tasks.map(({ progress }) => progress.charged);
    if (charges.includes("yes")) return "yes";
    return charges.includes("unknown") ? "unknown" : "no";
  }

  /** What becomes of those who wait when the client is closed. */
  closedError(): ClientClosedError {
    const { tearing } = this.#services.client;
    const detail = tearing.aborted ? reasonOf(tearing.reason) : undefined;
    const facts: ErrorFacts = { provider: this.provider, charged: this.#charged, job: this };
    return new ClientClosedError({ ...facts, detail });
  }

  readonly #onEvent: Subscriber = (index, _, isEnd) => {
    if (!isEnd) return;
    const id = this.#tasks[index]?.id;
    // It no longer occupies the provider, so its slot is free.
    if (id !== undefined) this.#services.client.slots.vacate(id);
    if (this.isSettled) this.#endedUnattended = !this.#waiters.isAwaited;
  };
}

// What comes before and after the wait stands in functions of its own: what they hold, a job that waits does not.

function waitFor(task: JobTask, { signal, deadlineAt, timeoutMs }: TaskWait): Promise<Settled> {
  return task.wait({ signal, deadlineAt, onDeadline: () => task.timeoutError(timeoutMs) });
}

function deliveredTask(
  { n, cost }: TaskProgress,
  { succeeded, raw }: Extract<Settled, { succeeded: Succeeded }>,
  { images, failures }: Delivered,
): DeliveredTask {
  return { n, cost, succeeded, raw, images, failures };
}
