import type { Call } from "../adapter/contract";
import { type Clock, type EndSignal, sleep, type WaitLimits, within } from "../async/clock";
import { Latch } from "../async/latch";
import {
  ClientClosedError,
  GenerationFailedError,
  isImageError,
  reasonOf,
  TimeoutError,
} from "../errors";
import type { PollStep } from "../schedule/poller";
import { Create, type Created, type CreateLimits, type Sending } from "./create";
import { followMs } from "./intent";
import { poll, type Step } from "./poll";
import { type Asked, Polling } from "./polling";
import type { TaskServices } from "./services";
import { TaskProgress, type TaskSeed } from "./task-progress";
import type { Settled } from "./task-state";

/** How long the create of a task may take, and who ends it. */
export type SendLimits = Omit<CreateLimits, "limitMs">;

/** One native request, from its create until it has settled. Creates and polls are sent only here. */
export class JobTask {
  readonly progress: TaskProgress;
  readonly #services: TaskServices;
  readonly #asked: Asked;
  /** Opens when its create has ended, and what it brought is where it must be. */
  #created = new Latch();
  /** Made at the first poll. */
  #polling: Polling<Settled> | undefined;
  /** Why the pictures of its create could not be kept. */
  #keepFailure: unknown;

  constructor(seed: TaskSeed, asked: Asked, services: TaskServices) {
    this.progress = new TaskProgress(seed, services);
    this.#services = services;
    this.#asked = asked;
    if (!this.progress.isNew) this.#created.open();
  }

  get clock(): Clock {
    return this.#services.clock;
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
    const { isNew, ledger } = this.progress;
    if (!isNew && ledger?.record !== undefined) this.progress.adopt(ledger.record);
  }

  // ---- its create ----

  /** Gives it what its create sends; held until then, and no longer. */
  prepare(call: Call, createSink: Sending["createSink"]): void {
    this.progress.become({ is: "draft", state: "waiting", sending: { call, createSink } });
  }

  /** It will never be sent: the call ended first. */
  abandon(): void {
    if (this.progress.stage.is !== "draft") return;
    const facts = this.progress.facts({ charged: "no", detail: "The call ended before" });
    const error = this.#services.closing.aborted
      ? new ClientClosedError(facts)
      : new GenerationFailedError({ ...facts, what: "unsent" });
    this.progress.settle("refused", { error });
    this.#created.open();
  }

  /** Sends what it was given. Never rejects: how it went is its progress, and in the events. */
  async create(limits: SendLimits): Promise<void> {
    const { stage } = this.progress;
    if (stage.is === "draft" && stage.sending !== undefined) {
      await this.#send(stage.sending, limits);
    }
  }

  async #send(sending: Sending, limits: SendLimits): Promise<void> {
    const { progress } = this;
    const startedAt = progress.begin();
    const limitMs = limits.deadlineAt - startedAt;
    const create = new Create(this.#services, progress, { ...limits, limitMs });
    progress.become(create);
    try {
      const keeping = this.#learn(await create.run(sending));
      if (keeping !== undefined) await keeping;
    } catch (error) {
      // The pictures are in memory, and whoever waits tries once more to keep them.
      this.#keepFailure = error;
    } finally {
      progress.ledger?.sent();
      this.#created.open();
    }
  }

  /** Takes what came of its create, which may take a while where pictures are to be kept. */
  #learn(created: Created): Promise<Settled> | undefined {
    const { progress } = this;
    // Its call gave up on it before it was sent.
    if (progress.settled !== undefined) return undefined;
    progress.sentByOther();
    if ("succeeded" in created) {
      const keeping = progress.succeed(created.succeeded, created.raw);
      return keeping instanceof Promise ? keeping : undefined;
    }
    if ("id" in created) {
      const { id, outcome } = created;
      progress.become({
        ...{ is: "accepted", id, state: outcome.state },
        cost: outcome.cost ?? progress.cost,
      });
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
    this.#created.open();
    create.giveUp(error);
    return error;
  }

  /** What a time-out becomes. */
  timeoutError(timeoutMs: number): TimeoutError {
    const { charged } = this.progress;
    const cause = this.#polling?.lastFailure ?? this.#keepFailure;
    const images = this.#polling?.unsettledImages ?? [];
    return new TimeoutError({ ...this.progress.facts({ charged, cause, images }), timeoutMs });
  }

  // ---- what another process began ----

  /** Sends a create again that another process began, and whose response it lost: under its key. */
  #finishCreate(): void {
    const { stage, ledger } = this.progress;
    // The key may have grown old since the record was read.
    const call = stage.is === "elsewhere" ? ledger?.repeatable : undefined;
    if (call === undefined) return;
    const { clock, closing: stop, tearing: signal, timeoutMs, underWay } = this.#services;
    const deadlineAt = clock.now() + timeoutMs;
    this.#created = new Latch();
    underWay.begin();
    const sending = this.#send({ call, createSink: undefined }, { stop, signal, deadlineAt });
    void sending.finally(() => underWay.end());
  }

  /** Waits while another process is at a create that this one may not repeat: the journal tells. */
  async #follow({ signal, deadlineAt = Number.POSITIVE_INFINITY }: WaitLimits): Promise<void> {
    const { clock, closing } = this.#services;
    const { ledger } = this.progress;
    while (ledger?.record?.state === "submitting" && !ledger.begun) {
      const { isElsewhere } = ledger;
      if (isElsewhere) await sleep(clock, followMs, signal ?? closing);
      // Read once more after its end was seen: what it wrote last counts.
      const record = await ledger.refresh();
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
    const { clock } = this.#services;
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
  async poll(signal: EndSignal): Promise<void> {
    const { stage, id } = this.progress;
    const isRunning = stage.is === "accepted" || stage.is === "unkept";
    if (!isRunning || id === undefined) return;
    const step = await this.#polled.poller.once(signal);
    signal.throwIfAborted();
    if ("stopped" in step) throw step.stopped;
    if ("failure" in step && step.failure !== undefined) throw step.failure;
  }

  /** A webhook tells of its end: a schedule that learns is not told of the whole wait before it. */
  tellEnd(): void {
    if (this.progress.startedAt !== undefined) this.#polled.tellEnd();
  }

  /** There may be news: whoever waits has the next poll now. False where nobody waits. */
  nudge(): boolean {
    const poller = this.#polling?.poller;
    if (!poller?.isWatched) return false;
    poller.nudge();
    return poller.isWatched;
  }

  get #polled(): Polling<Settled> {
    this.#polling ??= new Polling(this.#services, this.progress, this.#asked, (signal) =>
      this.#pollOnce(signal),
    );
    return this.#polling;
  }

  async #pollOnce(signal: EndSignal): Promise<PollStep<Settled>> {
    const { progress } = this;
    const { id } = progress;
    const polling = this.#polled;
    const { ageMs } = polling;
    if (id === undefined || this.#services.provider.adapter.query === undefined) {
      return this.#stopped(progress.unknownError());
    }
    const step = await poll(progress, id, this.#services, signal);
    return this.#take(step, ageMs, polling);
  }

  /** Takes what one poll told, of a job that was that old when it was asked after. */
  #take(
    step: Step,
    ageMs: number,
    polling: Polling<Settled>,
  ): PollStep<Settled> | Promise<PollStep<Settled>> {
    const { progress } = this;
    switch (step.is) {
      case "left":
        return {};
      case "running": {
        if (progress.stage.is !== "accepted") return {};
        const { state, word, known, progress: done } = step.outcome;
        const cost = step.outcome.cost ?? progress.cost;
        progress.become({ ...progress.stage, state, cost });
        polling.wasRunning(ageMs, step.images);
        const told = { type: "status", state, word, known } as const;
        progress.emit(done === undefined ? told : { ...told, progress: done });
        return {};
      }
      case "retry": {
        const { failure, retryAfterMs } = step;
        polling.lastFailure = failure;
        // A poll that told nothing is one more wait.
        const delayMs = Math.max(retryAfterMs ?? 0, polling.scheduledMs(this.polls));
        progress.emit({ type: "retry", phase: "poll", reason: failure.message, delayMs });
        return { failure, retryAfterMs };
      }
      case "stopped":
        return this.#stopped(step.error);
      case "succeeded":
      case "failed":
        return this.#takeEnd(step, polling);
    }
  }

  async #takeEnd(
    step: Extract<Step, { is: "succeeded" | "failed" }>,
    polling: Polling<Settled>,
  ): Promise<PollStep<Settled>> {
    const { progress } = this;
    const isFirst = progress.settled === undefined;
    if (step.is === "failed") {
      const { error, refused } = step;
      await progress.ledger?.failed(refused).catch((failure: unknown) => {
        // Its key stays taken.
        Object.assign(error, { retryable: false });
        this.#services.warnings.push(reasonOf(failure));
      });
      progress.settle("failed", { error });
    } else {
      try {
        await progress.succeed(step.outcome, step.raw);
      } catch (error) {
        progress.tellUnkept(error);
        return this.#stopped(error);
      }
    }
    const { settled } = progress;
    if (settled === undefined) return {};
    if (isFirst) polling.settled();
    return { settled };
  }

  /** It ends the waiting, though not the job: whoever listens hears why. */
  #stopped(error: unknown): PollStep<Settled> {
    if (isImageError(error)) this.progress.emit({ type: "failed", error });
    return { stopped: error };
  }
}
