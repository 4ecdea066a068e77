import { type AbortSignalLike, type Clock, sleep, type WaitLimits, within } from "../async/clock";
import { Latch } from "../async/latch";
import { ClientClosedError, GenerationFailedError, TimeoutError } from "../errors";
import { pending } from "../journal/owner";
import { Create, type Created, type CreateLimits, type Sending } from "./create";
import { followMs } from "./intent";
import { type Asked, Polling } from "./polling";
import type { TaskServices } from "./services";
import { TaskProgress, type TaskSeed } from "./task-progress";
import type { Settled } from "./task-state";

/** How long the create of a task may take, and who ends it. */
export type SendLimits = Omit<CreateLimits, "limitMs" | "retryRefused">;

/** One native request, from create to terminal state. Creates and polls are sent only here. */
export class JobTask {
  readonly progress: TaskProgress;
  readonly #services: TaskServices;
  readonly #asked: Asked;
  /** Opens when its create has ended, and what it brought is where it must be. */
  #created = new Latch();
  /** Made at the first poll. */
  #polling: Polling | undefined;
  /** Why the pictures of its create could not be kept. */
  #keepFailure: unknown;

  constructor(seed: TaskSeed, asked: Asked, services: TaskServices) {
    this.progress = new TaskProgress(seed, services);
    this.#services = services;
    this.#asked = asked;
    if (!this.progress.isNew) this.#created.open();
  }

  get clock(): Clock {
    return this.#services.client.clock;
  }

  /** The provider's id of the job. */
  get id(): string | undefined {
    return this.progress.id;
  }

  get index(): number {
    return this.progress.index;
  }

  get polls(): number {
    return this.#polling?.poller.polls ?? 0;
  }

  /** Takes over what the journal knows of a job that another process has sent. */
  adoptRecord(): void {
    const { isNew, entry } = this.progress;
    if (!isNew && entry?.record !== undefined) this.progress.adopt(entry.record);
  }

  // ---- its create ----

  /** Gives it what its create sends; held until then, and no longer. */
  prepare(sending: Sending): void {
    this.progress.become({ is: "draft", state: "waiting", sending });
    const { entry } = this.progress;
    if (entry !== undefined) pending.begin(entry.id, this);
  }

  /** Settles a task whose call ended before its create was sent. */
  abandon(): void {
    if (this.progress.stage.is !== "draft") return;
    const facts = this.progress.facts({ charged: "no", detail: "The call ended before" });
    const error = this.#services.client.closing.aborted
      ? new ClientClosedError(facts)
      : new GenerationFailedError({ ...facts, what: "unsent" });
    this.progress.settle("refused", { error });
    this.#end();
  }

  /** Sends what it was given. Never rejects: how it went is its progress, and in the events. */
  create(limits: SendLimits): Promise<void> | undefined {
    const { stage } = this.progress;
    const sending = stage.is === "draft" ? stage.sending : undefined;
    return sending && this.#send(sending, limits);
  }

  async #send(sending: Sending, limits: SendLimits): Promise<void> {
    const { progress } = this;
    const startedAt = progress.begin();
    const limitMs = limits.deadlineAt - startedAt;
    const { retryRefused } = sending;
    const create = new Create(this.#services, progress, { limitMs, retryRefused, ...limits });
    progress.become(create);
    try {
      const keeping = this.#learn(await create.run(sending));
      if (keeping !== undefined) await keeping;
    } catch (error) {
      // The images are in memory: each waiter retries writing them to the journal.
      this.#keepFailure = error;
    } finally {
      progress.entry?.sent();
      this.#end();
    }
  }

  /** Nothing of it will be sent any more. */
  #end(): void {
    const { entry } = this.progress;
    if (entry !== undefined) pending.end(entry.id, this);
    this.#created.open();
  }

  /** Takes what came of its create, which may take a while where pictures are to be kept. */
  #learn(created: Created): Promise<Settled> | undefined {
    const { progress } = this;
    // Its call gave up on it before it was sent.
    if (progress.settled !== undefined) return undefined;
    if ("succeeded" in created) {
      const keeping = progress.succeed(created.succeeded, created.raw);
      return keeping instanceof Promise ? keeping : undefined;
    }
    if ("id" in created) {
      const { id, outcome } = created;
      const { state, cost = progress.cost } = outcome;
      progress.become({ is: "accepted", id, state, cost });
      progress.emit({ type: "submitted", id });
    } else if ("end" in created) {
      progress.settle(created.end.state, { error: created.end.error });
    } else if ("taken" in created) progress.adopt(created.taken);
    else {
      progress.adopt(created.lost);
      progress.settle("unknown", { error: progress.unknownError() });
    }
    return undefined;
  }

  /** Its call's time is up. A create that has left goes on; one that has not never will leave. */
  giveUp(timeoutMs: number): TimeoutError {
    const { progress } = this;
    const create = progress.stage;
    if (create.is !== "creating" || create.perhapsSent || create.isOthers) {
      return this.timeoutError(timeoutMs);
    }
    const detail = "It had not been sent";
    const facts = progress.facts({ charged: "no", detail, transient: true });
    const error = new TimeoutError({ ...facts, timeoutMs });
    progress.settle("refused", { error });
    this.#end();
    create.giveUp(error);
    return error;
  }

  /** What a time-out becomes. */
  timeoutError(timeoutMs: number): TimeoutError {
    const { charged } = this.progress;
    const cause = this.#polling?.lastFailure ?? this.#keepFailure;
    const images = this.#polling?.unsettledImages;
    return new TimeoutError({ ...this.progress.facts({ charged, cause, images }), timeoutMs });
  }

  // ---- what another process began ----

  /** Sends a create again that another process began, and whose response it lost: under its key. */
  #finishCreate(): void {
    const { stage, entry } = this.progress;
    // The key may have grown old since the record was read.
    const call = stage.is === "elsewhere" ? entry?.repeatable : undefined;
    if (call === undefined) return;
    const { clock, closing: stop, tearing: signal, timeoutMs, underWay } = this.#services.client;
    const deadlineAt = clock.now() + timeoutMs;
    this.#created = new Latch();
    underWay.begin();
    const sending = this.#send(
      { call, createSink: undefined, retryRefused: true },
      { stop, signal, deadlineAt },
    );
    const end = () => underWay.end();
    sending.then(end, end);
  }

  /** Waits while another process is at a create that this one may not repeat: the journal tells. */
  async #follow({ signal, deadlineAt = Number.POSITIVE_INFINITY }: WaitLimits): Promise<void> {
    const { clock, closing } = this.#services.client;
    const { entry } = this.progress;
    while (entry?.record?.state === "submitting" && !entry.begun) {
      const { isElsewhere } = entry;
      if (isElsewhere) await sleep(clock, followMs, signal ?? closing);
      // Read once more after its end was seen: what it wrote last counts.
      const record = await entry.refresh();
      if (record === undefined || this.progress.adopt(record)) return;
      if (!isElsewhere || clock.now() >= deadlineAt) return;
    }
  }

  // ---- waiting and polling ----

  /**
   * Waits for the end of the task, sharing one polling loop with all others who do.
   *
   * @throws the signal's reason; what `onDeadline` gives; an ImageError that ends the waiting though
   * not the job.
   */
  wait(limits: WaitLimits): Promise<Settled> {
    this.#finishCreate();
    const isPolled = this.#created.isOpen && this.progress.stage.is === "accepted";
    return isPolled ? this.#polled.poller.wait(limits) : this.#waitForCreate(limits);
  }

  async #waitForCreate(limits: WaitLimits): Promise<Settled> {
    const { clock } = this.#services.client;
    const { progress } = this;
    await this.created(limits);
    if (progress.stage.is === "elsewhere") await within(clock, this.#follow(limits), limits);
    const { stage } = progress;
    if (stage.is === "settled") return stage.settled;
    if (stage.is === "unkept") return within(clock, progress.keepAgain(stage), limits);
    if (stage.is === "accepted") return this.#polled.poller.wait(limits);
    return { error: progress.unknownError() };
  }

  /** Waits until it is known what came of its create. */
  async created(limits: WaitLimits): Promise<void> {
    if (!this.#created.isOpen) await within(this.clock, this.#created.opened, limits);
  }

  /** One poll now. */
  async poll(signal: AbortSignalLike): Promise<void> {
    const { stage, id } = this.progress;
    const isRunning = stage.is === "accepted" || stage.is === "unkept";
    if (!isRunning || id === undefined) return;
    const step = await this.#polled.poller.once(signal);
    signal.throwIfAborted();
    if ("stopped" in step) throw step.stopped;
    if ("failure" in step && step.failure !== undefined) throw step.failure;
  }

  /**
   * The wait before its next poll by the schedule, while the provider is at it.
   *
   * @throws CallbackError if the caller's schedule throws.
   */
  get nextPollMs(): number | undefined {
    return this.progress.stage.is === "accepted" ? this.#polled.nextPollMs : undefined;
  }

  /** A webhook tells of its end: a schedule that learns is not told of the whole wait before it. */
  tellEnd(): void {
    if (this.progress.startedAt !== undefined) this.#polled.tellEnd();
  }

  /** Polls now instead of at the scheduled time. False if nothing waits. */
  nudge(): boolean {
    const poller = this.#polling?.poller;
    if (!poller?.isWatched) return false;
    poller.nudge();
    return poller.isWatched;
  }

  get #polled(): Polling {
    this.#polling ??= new Polling(this.#services, this.progress, this.#asked);
    return this.#polling;
  }
}
