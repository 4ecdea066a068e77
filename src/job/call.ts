import { type AbortSignalLike, LightAbortSignal, within } from "../async/clock";
import { CallbackError, isImageError } from "../errors";
import type { RunningJob, TaskWait } from "./running-job";
import type { Scope } from "./scope";
import type { ClientServices } from "./services";
import type { JobTask } from "./task";

/** How long a call waits, and what becomes of its tasks. */
export interface CallEnds {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  /** It ends before its jobs do, which keep their slots. */
  readonly isSubmit: boolean;
}

/** How long a task of a call is waited for, once it has its slot. */
type Limits = TaskWait & { readonly deadlineAt: number; readonly signal: AbortSignalLike };

/**
 * A create that answers with the images ends by itself, and knows which of them have come; and so does one that
 * waits for another process's, and knows what became of that.
 */
const ownEndMs = 1_000;

/** One `generate`, `edit` or `submit` that is under way: its tasks are sent in order, as there are slots. */
export class RunningCall {
  readonly job: RunningJob;
  /** Nothing is sent after its end. */
  readonly stop: Scope;
  /** Ends the wait; the same signal as `stop` where abandoning the response loses nothing that was paid for. */
  readonly scope: Scope;
  readonly #services: ClientServices;
  readonly #timeoutMs: number;
  readonly #isSubmit: boolean;
  /** How many tasks wait for slots. */
  #queued = 0;
  /** Aborts when none of them waits any more. */
  #queueEnd: LightAbortSignal | undefined;

  constructor(job: RunningJob, services: ClientServices, options: CallEnds) {
    const { signal, timeoutMs, isSubmit } = options;
    this.job = job;
    this.#services = services;
    this.#timeoutMs = timeoutMs;
    this.#isSubmit = isSubmit;
    this.stop = job.scope(signal);
    // An image that is on its way when the client is closed is the caller's: it was paid for.
    this.scope = this.#bringsImages ? job.scope(signal, services.tearing) : this.stop;
  }

  /** The response to its creates is what the caller waits for. */
  get #bringsImages(): boolean {
    return this.#services.provider.adapter.answersWith === "images";
  }

  /** What `then` makes of each task, once it was created; and the end of the call, however it ends. */
  async sendAll<Value, Result>(
    then: (task: JobTask, limits: TaskWait) => Promise<Value>,
    sumOf: (values: readonly Value[]) => Result,
  ): Promise<Result> {
    const { tasks } = this.job;
    const only = tasks.length === 1 ? tasks[0] : undefined;
    try {
      const values =
        only !== undefined
          ? [await this.#send(only, then)]
          : await Promise.all(tasks.map((task) => this.#send(task, then)));
      const result = sumOf(values);
      this.#end();
      return result;
    } catch (error) {
      this.abandon(error);
      throw error;
    }
  }

  /** Ends the creates that still wait when the whole call ends, as when `onSubmitted` throws. */
  abandon(reason: unknown): void {
    const { tasks } = this.job;
    this.stop.abort(reason);
    for (const task of tasks) task.abandon();
    if (!this.#bringsImages) {
      this.#end();
      return;
    }
    // Images in flight were paid for: holders of the job still receive them.
    void Promise.all(tasks.map((task) => task.created({}))).then(() => {
      this.scope.abort(reason);
      this.#end();
    });
  }

  #end(): void {
    this.stop.end();
    if (this.scope !== this.stop) this.scope.end();
  }

  /** One task: waits for a slot, creates, tells the caller, and goes on with `then` inside the slot. */
  #send<Value>(
    task: JobTask,
    then: (task: JobTask, limits: TaskWait) => Promise<Value>,
  ): Promise<Value> {
    return this.#bringsImages ? this.#sendUnderWay(task, then) : this.#sendInTurn(task, then);
  }

  /** `close` waits for pictures that were paid for, until they are where the caller wants them. */
  async #sendUnderWay<Value>(
    task: JobTask,
    then: (task: JobTask, limits: TaskWait) => Promise<Value>,
  ): Promise<Value> {
    const { underWay } = this.#services;
    underWay.begin();
    try {
      return await this.#sendInTurn(task, then);
    } finally {
      underWay.end();
    }
  }

  /** Not async: a suspended async function is about 400 bytes in each of thousands of jobs that wait. */
  #sendInTurn<Value>(
    task: JobTask,
    then: (task: JobTask, limits: TaskWait) => Promise<Value>,
  ): Promise<Value> {
    const slot = this.#services.slots.acquire(this.stop);
    if (!(slot instanceof Promise)) return this.#sendInSlot(task, then, slot);
    return this.#inQueue(slot).then(
      (release) => this.#sendInSlot(task, then, release),
      (error: unknown) => {
        if (this.scope.aborted) throw error;
        // The client is being closed: the tasks that were sent go on, and this one never leaves.
        task.abandon();
        return then(task, this.#limitsFromNow());
      },
    );
  }

  async #sendInSlot<Value>(
    task: JobTask,
    then: (task: JobTask, limits: TaskWait) => Promise<Value>,
    release: () => void,
  ): Promise<Value> {
    const limits = this.#limitsFromNow();
    const isAnswered = await this.#createInSlot(task, limits, release);
    try {
      return await then(task, limits);
    } finally {
      if (isAnswered) this.#holdOrRelease(task, limits.deadlineAt, release);
    }
  }

  /**
   * Whether it is known what came of the create. One that outlives its caller keeps its slot until there
   * is a response: where this is false, or throws, it gives the slot back itself.
   */
  async #createInSlot(task: JobTask, limits: Limits, release: () => void): Promise<boolean> {
    const { clock } = this.#services;
    const { signal, deadlineAt, timeoutMs } = limits;
    const creating = this.#create(task, limits);
    try {
      const onDeadline = () => task.giveUp(timeoutMs);
      const endsItself = this.#bringsImages || task.progress.entry?.isTaken;
      const graceMs = endsItself ? ownEndMs : 0;
      await within(clock, creating, { signal, deadlineAt: deadlineAt + graceMs, onDeadline });
      return true;
    } catch (error) {
      // Remaining waiters get the error below; those who left received it as an event.
      // The slot is held while the create is, though no longer than its call could have been.
      void within(clock, creating, { deadlineAt })
        .catch(() => {})
        .finally(() => this.#holdOrRelease(task, deadlineAt, release));
      // A time-out is this task's own; anything else ends the call.
      if (signal.aborted || !isImageError(error) || error instanceof CallbackError) throw error;
      return false;
    }
  }

  /** Creates and notifies the caller. `close` waits for it even if the caller has left. */
  async #create(task: JobTask, { signal, deadlineAt }: Limits): Promise<void> {
    const { tearing, underWay } = this.#services;
    underWay.begin();
    try {
      const tear = this.#bringsImages ? signal : tearing;
      await task.create({ stop: this.stop, signal: tear, deadlineAt });
      const telling = this.job.announce(task);
      if (telling !== undefined) await telling;
    } finally {
      underWay.end();
    }
  }

  #limitsFromNow(): Limits {
    const timeoutMs = this.#timeoutMs;
    return { signal: this.scope, deadlineAt: this.#services.clock.now() + timeoutMs, timeoutMs };
  }

  /** A submitted job still occupies the provider, even if nothing waits for it. */
  #holdOrRelease(task: JobTask, until: number, release: () => void): void {
    const { id, progress } = task;
    if (!this.#isSubmit || id === undefined || progress.hasEnded) {
      release();
      return;
    }
    this.#services.slots.hold(id, release, until);
    this.#watch(task, id);
  }

  /**
   * Learns of the end of a task that holds its slot, as long as others of the call wait for one: nobody has
   * the job yet who could. Where the end cannot be learned, they wait no longer.
   */
  #watch(task: JobTask, id: string): void {
    if (this.#queued === 0) return;
    this.#queueEnd ??= new LightAbortSignal();
    const signal = this.#queueEnd;
    task.wait({ signal }).catch(() => {
      if (!signal.aborted) this.#services.slots.vacate(id);
    });
  }

  async #inQueue<Value>(slot: Promise<Value>): Promise<Value> {
    this.#queued += 1;
    try {
      return await slot;
    } finally {
      this.#queued -= 1;
      if (this.#queued === 0) this.#queueEnd?.abort(new Error("no task waits for a slot"));
    }
  }
}
