import { type Clock, sharedController, type WaitLimits } from "./clock";
import { type Charged, totalCost } from "./cost";
import {
  CallbackError,
  ClientClosedError,
  DownloadError,
  type ErrorFacts,
  ImageError,
  isImageError,
  MalformedResponseError,
  withFailures,
} from "./errors";
import type { Gateway } from "./gateway";
import {
  type CallOptions,
  type ImageEvent,
  type ImageJob,
  isSettled,
  type JobReference,
  type JobStatus,
  jobState,
  type WaitCallOptions,
} from "./job";
import { parseWaitOptions } from "./options";
import type { Pace } from "./pace";
import type { Provider, Succeeded, Usage } from "./provider";
import type { Operation } from "./request";
import { GeneratedImage, ImageResult, keepIn, saveInto } from "./result";
import type { PollSchedule, SizeClass } from "./schedule";
import { JobTask, type Settled, type TaskEvent, type TaskSeed } from "./task";
import type { Transport } from "./transport";

/** What a client's jobs share. */
export interface JobContext {
  readonly provider: Provider;
  readonly gateway: Gateway;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly schedule: PollSchedule;
  readonly pace: Pace;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
  readonly onEvent: CallOptions["onEvent"];
  /** Milliseconds between polls while webhooks are expected; absent where none are. */
  readonly backstopMs: number | undefined;
  /** A task was accepted, under the provider's id. */
  accepted(job: RunningJob, taskId: string): void;
  /** Every task of a job has ended. */
  settled(job: RunningJob): void;
  /** Somebody begins to wait for a job, or the last one who did has left. */
  awaited?(job: RunningJob, isAwaited: boolean): void;
}

/** What a job is made of. */
export interface JobSeed {
  readonly id: string;
  readonly operation: Operation;
  /** What was asked for, as far as it decides how long it takes; not known of a resumed job. */
  readonly quality?: string | undefined;
  readonly sizeClass?: SizeClass | undefined;
  readonly submittedAt: Date;
  readonly tasks: readonly TaskSeed[];
  readonly warnings?: readonly string[];
  readonly onSubmitted?: CallOptions["onSubmitted"];
  readonly onEvent?: CallOptions["onEvent"];
  readonly metadata?: unknown;
}

/** How a task ended for a call: an error, or images, of which some may not have been saved. */
export type TaskOutcome =
  | { readonly error: ImageError }
  | {
      readonly task: JobTask;
      readonly succeeded: Succeeded;
      readonly raw: unknown;
      readonly images: readonly GeneratedImage[];
      readonly failures: readonly ImageError[];
    };

type SucceededTask = Extract<TaskOutcome, { succeeded: unknown }>;

/** A job of a client: its tasks, its listeners and, in the end, its result. */
export class RunningJob implements ImageJob {
  readonly id: string;
  readonly provider: string;
  readonly #tasks: JobTask[] = [];
  readonly #context: JobContext;
  readonly #seed: JobSeed;
  readonly #listeners = new Set<(event: ImageEvent) => void>();
  readonly #newest = new Map<number, ImageEvent>();
  readonly #images = new Map<JobTask, readonly GeneratedImage[]>();
  readonly #warnings: string[];
  #isGivenUp = false;
  #openScopes = 0;
  #endedUnattended = false;

  constructor(seed: JobSeed, context: JobContext) {
    this.id = seed.id;
    this.provider = context.provider.name;
    this.#seed = seed;
    this.#context = context;
    this.#warnings = [...(seed.warnings ?? [])];
    const { adapter } = context.provider;
    const { operation, quality, sizeClass } = seed;
    const emit = (task: number, event: TaskEvent) => this.#emit(task, event);
    const keep = (task: JobTask, outcome: Succeeded) => this.#keep(task, outcome);
    const warn = (warning: string) => this.#warnings.push(warning);
    const shared = {
      ...context,
      ...{ adapter, job: this, operation, quality, sizeClass, emit, keep, warn },
    };
    for (const task of seed.tasks) this.#tasks.push(new JobTask(task, shared));
  }

  /** Nothing of it runs any more. */
  get isSettled(): boolean {
    return this.#tasks.every((task) => task.hasEnded);
  }

  /** It ended while nobody waited for it. */
  get endedUnattended(): boolean {
    return this.#endedUnattended;
  }

  /** Whoever waited has left before the end, by a time-out or an abort. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  get tasks(): readonly JobTask[] {
    return this.#tasks;
  }

  get reference(): JobReference {
    const { id, operation, submittedAt } = this.#seed;
    const { name, baseURL } = this.#context.provider;
    return {
      ...{ v: 1, id, provider: name, baseURL, operation },
      submittedAt: submittedAt.toISOString(),
      tasks: this.tasks.map((task) => task.reference),
    };
  }

  toJSON(): JobReference {
    return this.reference;
  }

  async status({ signal }: Pick<WaitCallOptions, "signal"> = {}): Promise<JobStatus> {
    const scope = this.scope(signal);
    try {
      scope.signal.throwIfAborted();
      await Promise.all(this.tasks.map((task) => task.poll(scope.signal)));
    } finally {
      scope.end();
    }
    const states = this.tasks.map((task) => task.state);
    const state = jobState(states);
    const progress = this.#progress();
    return {
      state,
      settled: states.every(isSettled),
      ...(progress !== undefined && { progress }),
      tasks: this.tasks.map((task) => task.reference),
    };
  }

  #progress(): number | undefined {
    const newest = [...this.#newest.values()];
    const known = newest.flatMap((event) =>
      event.type === "status" && event.progress !== undefined ? [event.progress] : [],
    );
    if (known.length === 0) return undefined;
    return known.reduce((sum, each) => sum + each, 0) / known.length;
  }

  async result(options: WaitCallOptions = {}): Promise<ImageResult> {
    const { signal, saveTo, timeoutMs = this.#context.timeoutMs } = parseWaitOptions(options);
    const deadlineAt = this.#context.clock.now() + timeoutMs;
    const scope = this.scope(signal);
    try {
      const limits = { signal: scope.signal, deadlineAt, timeoutMs };
      return this.assemble(
        await Promise.all(this.tasks.map((task) => this.outcome(task, limits, saveTo))),
      );
    } finally {
      scope.end();
    }
  }

  async *events({
    signal,
  }: Pick<WaitCallOptions, "signal"> = {}): AsyncIterableIterator<ImageEvent> {
    const queue = [...this.#newest.values()];
    let wake: () => void = () => {};
    let ended = false;
    const listener = (event: ImageEvent) => {
      queue.push(event);
      wake();
    };
    this.#listeners.add(listener);
    const scope = this.scope(signal);
    const waits = this.tasks.map((task) => task.wait({ signal: scope.signal }));
    // However the waiting ends, the events end: what went wrong is an event itself, or the caller's.
    void Promise.allSettled(waits).then(() => {
      ended = true;
      wake();
    });
    try {
      for (;;) {
        const event = queue.shift();
        if (event !== undefined) yield event;
        else if (ended) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
      scope.end(new Error("nobody listens any more"));
    }
  }

  /** The caller's signal and the client's end in one; `end` lets go of both. */
  scope(signal: AbortSignal | undefined): Scope {
    const { closing } = this.#context;
    const controller = sharedController();
    const onAbort = () => controller.abort(signal?.reason);
    const onClose = () => controller.abort(this.#closedError());
    if (closing.aborted) onClose();
    else if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    closing.addEventListener("abort", onClose, { once: true });
    this.#openScopes += 1;
    if (this.#openScopes === 1) this.#context.awaited?.(this, true);
    return {
      signal: controller.signal,
      end: (reason) => {
        signal?.removeEventListener("abort", onAbort);
        closing.removeEventListener("abort", onClose);
        this.#openScopes -= 1;
        if (this.#openScopes === 0) this.#context.awaited?.(this, false);
        if (reason !== undefined) controller.abort(reason);
      },
    };
  }

  #charged(): Charged {
    const charges = this.tasks.map((task) => task.charged);
    if (charges.includes("yes")) return "yes";
    return charges.includes("unknown") ? "unknown" : "no";
  }

  #closedError(): ClientClosedError {
    return new ClientClosedError({ provider: this.provider, charged: this.#charged(), job: this });
  }

  /** How a task ends for one who waits, its images saved as they arrive; what ends the call is thrown. */
  async outcome(
    task: JobTask,
    { timeoutMs, ...limits }: TaskWait,
    saveTo: string | undefined,
  ): Promise<TaskOutcome> {
    const settled = await this.#settledOf(task, timeoutMs, limits);
    if ("error" in settled) return settled;
    const made = this.#imagesOf(task, settled.succeeded);
    task.dropBase64();
    if (saveTo === undefined) return { task, ...settled, images: made, failures: [] };
    const saved = await Promise.all(made.map((each) => this.#saved(task, each, saveTo, limits)));
    const images = saved.filter((each) => each instanceof GeneratedImage);
    const failures = saved.filter((each) => each instanceof ImageError);
    return { task, ...settled, images, failures };
  }

  async #settledOf(task: JobTask, timeoutMs: number, limits: WaitLimits): Promise<Settled> {
    this.#isGivenUp = false;
    try {
      return await task.wait({ ...limits, onDeadline: () => task.timeoutError(timeoutMs) });
    } catch (error) {
      this.#isGivenUp = true;
      if (limits.signal?.aborted || !isImageError(error)) throw error;
      return { error };
    }
  }

  /** Tells the caller that a task was accepted; what it throws ends the call, and the job is on it. */
  async announce(task: JobTask): Promise<void> {
    if (!task.accepted) return;
    try {
      await this.#seed.onSubmitted?.(this);
    } catch (cause) {
      const charged = this.#charged();
      const facts: ErrorFacts = { provider: this.provider, charged, job: this, cause };
      const error = new CallbackError({ ...facts, callback: "onSubmitted" });
      this.#emit(task.index, { type: "failed", error });
      throw error;
    }
  }

  /**
   * What all the tasks came to.
   *
   * @throws the first task's error, with the others in its `failures`, if none gave an image.
   */
  assemble(outcomes: readonly TaskOutcome[]): ImageResult {
    const succeeded = outcomes.filter((each) => "succeeded" in each);
    const images = succeeded.flatMap((each) => each.images);
    const failures = outcomes.flatMap((each) => ("error" in each ? each.error : each.failures));
    const [image, ...others] = images;
    const [failure, ...moreFailures] = failures;
    if (image === undefined) {
      // Only an adapter, or a record, that breaks the contract has neither.
      if (failure === undefined) {
        const detail = "It ended well, and without an image";
        const facts: ErrorFacts = { provider: this.provider, charged: "yes", job: this, detail };
        throw new MalformedResponseError(facts);
      }
      throw withFailures([failure, ...moreFailures]);
    }
    return new ImageResult({
      ...{ images: [image, ...others], failures, provider: this.provider, job: this },
      model: succeeded.find((each) => each.succeeded.model !== undefined)?.succeeded.model,
      cost: totalCost(succeeded.map((each) => each.task.cost)),
      usage: totalUsage(succeeded.map((each) => each.succeeded.usage)),
      warnings: [...this.#warnings, ...this.#shortfall(succeeded)],
      timing: this.#timing(),
      raw: succeeded.flatMap((each) => (each.raw === undefined ? [] : [each.raw])),
    });
  }

  #shortfall(succeeded: readonly SucceededTask[]): string[] {
    const asked = succeeded.reduce((sum, each) => sum + each.task.n, 0);
    const came = succeeded.reduce((sum, each) => sum + each.succeeded.outputs.length, 0);
    return came < asked ? [`${asked} images were asked for and paid tasks gave ${came}`] : [];
  }

  #timing() {
    const sent = this.tasks.flatMap((task) => task.sentAt ?? []);
    const ended = this.tasks.flatMap((task) => task.settledAt ?? []);
    const submittedAt = Math.min(...sent);
    const completedAt = Math.max(submittedAt, ...ended);
    return {
      submittedAt: new Date(submittedAt),
      completedAt: new Date(completedAt),
      durationMs: completedAt - submittedAt,
      polls: this.tasks.reduce((sum, task) => sum + task.polls, 0),
    };
  }

  /** The same objects for all who ask for the result: an image is fetched once. */
  #imagesOf(task: JobTask, succeeded: Succeeded): readonly GeneratedImage[] {
    const known = this.#images.get(task);
    if (known !== undefined) return known;
    const { transport, gateway } = this.#context;
    const { provider, id } = this;
    const { ledger } = task;
    const facts: ErrorFacts = { provider, charged: "yes", job: this, cost: task.cost };
    const images = succeeded.outputs.map((output, position) => {
      const name = `${id}-${task.index}-${position}`;
      return new GeneratedImage({
        ...{ output, facts, name },
        clean: (error) => gateway.safe(error),
        ...(ledger !== undefined && { stored: () => ledger.readImage(position) }),
        download: (url, receive, signal) =>
          transport.download(url, receive, {
            signal,
            onRetry: (delayMs, error) => {
              const reason = gateway.clean(error instanceof Error ? error.message : String(error));
              this.#emit(task.index, { type: "retry", phase: "download", reason, delayMs });
            },
          }),
        refresh: async (signal) => (await task.freshOutputs(signal))?.[position]?.url,
      });
    });
    this.#images.set(task, images);
    return images;
  }

  /** With a journal, the bytes are on disk before anybody hears of success, and the record after them. */
  async #keep(task: JobTask, outcome: Succeeded): Promise<void> {
    const { ledger } = task;
    if (ledger?.record === undefined || ledger.released) return;
    // Another poll's answer may hold fresher URLs than the images of an earlier try.
    this.#images.delete(task);
    const images = this.#imagesOf(task, outcome);
    await Promise.all(
      images.map((image, position) => keepIn(image, (bytes) => ledger.writeImage(position, bytes))),
    );
    await ledger.succeeded(outcome, task.cost);
  }

  async release(): Promise<void> {
    await Promise.all(this.tasks.map((task) => task.ledger?.forget()));
  }

  async #saved(
    task: JobTask,
    image: GeneratedImage,
    directory: string,
    { signal }: WaitLimits,
  ): Promise<GeneratedImage | ImageError> {
    try {
      const file = await saveInto(image, directory, signal);
      this.#emit(task.index, { type: "saved", file });
      return image;
    } catch (error) {
      signal?.throwIfAborted();
      if (isImageError(error)) return error;
      const facts: ErrorFacts = { provider: this.provider, charged: "yes", job: this };
      return new DownloadError({ ...facts, detail: String(error), cause: error });
    }
  }

  #emit(task: number, event: TaskEvent): void {
    const { clock, provider, onEvent } = this.#context;
    const { metadata } = this.#seed;
    const common = { provider: provider.name, jobId: this.id, task, at: clock.now() };
    const whole: ImageEvent = {
      ...common,
      ...(metadata !== undefined && { metadata }),
      ...event,
    };
    this.#newest.set(task, whole);
    for (const listener of this.#listeners) listener(whole);
    notify(onEvent, whole);
    notify(this.#seed.onEvent, whole);
    if (event.type === "submitted" && event.id !== undefined) {
      this.#context.accepted(this, event.id);
    }
    const ended = event.type === "succeeded" || event.type === "failed";
    if (ended && this.isSettled) {
      this.#endedUnattended = this.#openScopes === 0;
      this.#context.settled(this);
    }
  }
}

/** What a caller's signal and the client's end come to. */
interface Scope {
  readonly signal: AbortSignal;
  end(reason?: unknown): void;
}

interface TaskWait extends WaitLimits {
  readonly timeoutMs: number;
}

/** A listener's own errors are its own: they must not touch what was paid for. */
function notify(listener: CallOptions["onEvent"], event: ImageEvent): void {
  try {
    Promise.resolve(listener?.(event)).catch(() => {});
  } catch {
    // As promised in the documentation of `onEvent`.
  }
}

function totalUsage(usages: readonly (Usage | undefined)[]): Usage | undefined {
  const total: Record<string, number> = {};
  for (const usage of usages) {
    for (const [name, count] of Object.entries(usage ?? {})) {
      total[name] = (total[name] ?? 0) + count;
    }
  }
  return Object.keys(total).length === 0 ? undefined : total;
}
