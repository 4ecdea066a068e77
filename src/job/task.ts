import {
  type Call,
  type RefusalKind,
  type Refused,
  refusalKinds,
  type Succeeded,
} from "../adapter/contract";
import { contextOf, errorOf } from "../api/outcome-error";
import type { Reading } from "../api/read-response";
import { type Clock, Ending, type EndSignal, sleep, type WaitLimits, within } from "../async/clock";
import type { Charged, Cost } from "../cost";
import {
  CallbackError,
  ClientClosedError,
  GenerationFailedError,
  isImageError,
  ProviderUnavailableError,
  RateLimitError,
  reasonOf,
  SubmissionUnknownError,
  TimeoutError,
  withJob,
} from "../errors";
import { TransportFault } from "../http/faults";
import type { TaskLedger } from "../journal/entry";
import type { JournalRecord } from "../journal/record";
import type { DecodedImage, ImageSink } from "../media/decoded-image";
import { Poller, type PollLoop, type PollStep } from "../schedule/poller";
import { longestLocalWaitMs, type PollMoment, type SizeClass } from "../schedule/schedule";
import type {
  ErrorFacts,
  GeneratedImage,
  ImageError,
  ImageJob,
  Operation,
  TaskReference,
  TaskState,
} from "../types";
import { type Acceptance, Create, type CreateHost } from "./create";
import { isSettled } from "./job";
import type { TaskContext, TaskEvent } from "./task-context";

/** How a task ended. */
export type Settled =
  | { readonly succeeded: Succeeded; readonly raw: unknown }
  | { readonly error: ImageError };

/** What a task needs of its job. */
export interface TaskJob extends ImageJob {
  readonly operation: Operation;
  readonly quality: string | undefined;
  readonly sizeClass: SizeClass | undefined;
  /** Milliseconds between polls while a webhook is expected. */
  readonly backstopMs: number | undefined;
  emit(task: number, event: TaskEvent): void;
  /** Puts the pictures where they outlive the process, before anybody hears of them, if it must. */
  keep(task: JobTask, outcome: Succeeded): Promise<void> | undefined;
  /** The pictures that could not be put there. */
  inMemory(task: JobTask, outcome: Succeeded): readonly GeneratedImage[];
  /** Images that came whole in an answer that is no success otherwise. */
  salvage(task: JobTask, images: readonly DecodedImage[]): Promise<readonly GeneratedImage[]>;
  warn(warning: string): void;
}

/** What is known of a task when it is made: new ones have no id, resumed ones may. */
export interface TaskSeed {
  readonly index: number;
  readonly n: number;
  readonly state: TaskState;
  readonly id?: string | undefined;
  readonly key?: string | undefined;
  readonly cost?: Cost | undefined;
  /** When its create was sent, in milliseconds since 1970; a new task has not been sent. */
  readonly sentAt?: number;
  /** Its page in the journal, where there is one. */
  readonly ledger?: TaskLedger | undefined;
}

/** One native request, from its create to its end: the only place that sends either. */
export class JobTask implements PollLoop<Settled>, CreateHost {
  readonly index: number;
  readonly n: number;
  readonly key: string | undefined;
  #state: TaskState;
  #id: string | undefined;
  #cost: Cost | undefined;
  #sentAt: number | undefined;
  /** The same by the monotonic clock: an age does not change with the system's. */
  #startedAt: number | undefined;
  #endedAt: number | undefined;
  #settled: Settled | undefined;
  #lastFailure: unknown;
  /** How old it was when it was last running, by a poll or as far as a webhook's call tells. */
  #runningAgeMs: number | undefined;
  /** An attempt has left, here or in another process. */
  #hasLeft: boolean;
  /** Made for those who ask for it alone. */
  #end: Ending | undefined;
  /** The provider's answer with the pictures, until they are in the journal. */
  #unkept: { readonly outcome: Succeeded; readonly raw: unknown } | undefined;
  /** Whoever waited was told that they cannot be kept, and given them with that. */
  #isUnkeptTold = false;
  /** A create of unknown fate that another process began, and that this one may finish. */
  #unfinished: Call | undefined;
  #call: Call | undefined;
  #createSink: (() => ImageSink) | undefined;
  #retryRefused = true;
  /** Its create, as long as it goes on. */
  #create: Create | undefined;
  readonly ledger: TaskLedger | undefined;
  readonly job: TaskJob;
  readonly #context: TaskContext;
  readonly #poller: Poller<Settled>;
  /** Whether this process made it: what another one has sent may be done by now. */
  readonly #isNew: boolean;
  /** Its create has not ended. */
  #isCreating: boolean;
  /** Resolves once it has; made for those who wait for that. */
  #created: Promise<void> | undefined;
  #markCreated: (() => void) | undefined;

  constructor(seed: TaskSeed, job: TaskJob, context: TaskContext) {
    this.index = seed.index;
    this.n = seed.n;
    this.key = seed.key;
    this.#state = seed.state;
    this.#id = seed.id;
    this.#cost = seed.cost;
    this.#hasLeft = seed.sentAt !== undefined;
    this.job = job;
    this.#context = context;
    if (seed.sentAt !== undefined) this.#sentBefore(seed.sentAt);
    this.ledger = seed.ledger;
    this.#isNew = seed.sentAt === undefined;
    this.#isCreating = this.#isNew;
    this.#poller = new Poller(this);
  }

  /** Takes over what the journal knows of a job that another process has sent. */
  adoptRecord(): void {
    const record = this.#isNew ? undefined : this.ledger?.record;
    if (record === undefined) return;
    this.#unfinished = this.ledger?.repeatable;
    this.#adopt(record);
  }

  get clock(): Clock {
    return this.#context.clock;
  }

  get state(): TaskState {
    return this.#state;
  }

  get settled(): Settled | undefined {
    return this.#settled;
  }

  /** Nothing of it runs any more; also where all that is known of it is that it was not accepted. */
  get hasEnded(): boolean {
    return this.#settled !== undefined || (this.#id === undefined && isSettled(this.#state));
  }

  get sentAt(): number | undefined {
    return this.#sentAt;
  }

  /** When its create was sent, by the monotonic clock. */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /** When it was known to have settled, by the monotonic clock. */
  get endedAt(): number | undefined {
    return this.#endedAt;
  }

  /** It was sent by another process, or in another life of this one: the date is all that tells its age. */
  #sentBefore(sentAt: number): void {
    const { clock } = this.#context;
    this.#sentAt = sentAt;
    // A clock that was ahead says nothing of how old it is.
    this.#startedAt = clock.now() - Math.max(0, clock.wallTime() - sentAt);
  }

  /** The images hold their base64 themselves from now on, and let go of it once it is on a disk. */
  dropBase64(): void {
    const settled = this.#settled;
    if (settled === undefined || "error" in settled) return;
    const { state, cost, usage, model } = settled.succeeded;
    const outputs = settled.succeeded.outputs.map(({ url, revisedPrompt }) => ({
      url,
      revisedPrompt,
    }));
    this.#settled = { succeeded: { state, outputs, cost, usage, model }, raw: settled.raw };
  }

  get polls(): number {
    return this.#poller.polls;
  }

  get accepted(): boolean {
    return this.#id !== undefined || this.#state === "succeeded" || this.#state === "failed";
  }

  get cost(): Cost | undefined {
    return this.#cost;
  }

  /** As far as it is known by now. */
  get charged(): Charged {
    if (this.#settled !== undefined) {
      return "error" in this.#settled ? this.#settled.error.charged : "yes";
    }
    if (this.#unkept !== undefined) return "yes";
    return this.#hasLeft ? "unknown" : "no";
  }

  get reference(): TaskReference {
    return {
      index: this.index,
      n: this.n,
      state: this.#state,
      ...(this.#id !== undefined && { id: this.#id }),
      ...(this.key !== undefined && { key: this.key }),
      ...(this.#cost !== undefined && { cost: this.#cost }),
    };
  }

  /** Gives it what `create` sends, and where its images go; held until then, and no longer. */
  prepare(call: Call, createSink: (() => ImageSink) | undefined, retryRefused: boolean): void {
    this.#call = call;
    this.#createSink = createSink;
    this.#retryRefused = retryRefused;
  }

  /** It will never be sent: the call ended first. */
  abandon(): void {
    if (this.#sentAt !== undefined || this.#settled !== undefined) return;
    this.#call = undefined;
    this.#createSink = undefined;
    const facts = this.facts({
      charged: "no",
      detail: "The call ended before",
    });
    const { closing } = this.#context;
    const error = closing.aborted
      ? new ClientClosedError(facts)
      : new GenerationFailedError({ ...facts, what: "unsent" });
    this.#settle("refused", { error });
  }

  /**
   * Sends the create, again only where that cannot pay twice, and reads the answer. Never rejects:
   * how it went is in `state`, `settled` and the events.
   *
   * @param stop ends the repetitions. A create in flight to a provider that answers with a job is
   * not torn: the job may exist, and its id is in the answer.
   * @param signal tears even that one.
   */
  async create(
    stop: EndSignal,
    deadlineAt: number,
    signal: EndSignal = this.#context.tearing,
  ): Promise<void> {
    const { clock, gateway } = this.#context;
    const call = this.#call;
    if (call === undefined) return;
    const createSink = this.#createSink;
    this.#call = undefined;
    this.#createSink = undefined;
    this.#sentAt = clock.wallTime();
    this.#startedAt = clock.now();
    const { ledger } = this;
    const limitMs = deadlineAt - this.#startedAt;
    const retryRefused = this.#retryRefused;
    const limits = { stop, signal, deadlineAt, limitMs, createSink, retryRefused };
    const create = new Create(this.#context, this, limits);
    this.#create = create;
    create.perhapsAccepted = ledger?.record !== undefined;
    try {
      const prepared = await gateway.prepare(call);
      if (ledger !== undefined) {
        if (!(await this.#mayBegin(ledger, call, stop, deadlineAt))) return;
        create.perhapsAccepted = !ledger.begun;
      }
      await this.#accept(await create.send(prepared));
    } catch (error) {
      const { state, refused, ...settled } = create.endBy(error);
      // First, so that the key is free by the time that somebody hears that the call can be repeated.
      await this.#writeFailure(state, settled.error, reasonOf(error), refused);
      this.#settle(state, settled);
    } finally {
      create.close();
      this.#create = undefined;
      ledger?.sent();
      this.#endCreate();
    }
  }

  /** An attempt at its create begins. */
  leaving(): void {
    this.#state = "submitting";
    this.emit({ type: "submitting" });
  }

  /** An attempt at its create leaves the machine, or may have. */
  sending(): void {
    this.#hasLeft = true;
  }

  /** Images that came whole in an answer that is no success otherwise. */
  salvage(images: readonly DecodedImage[]): Promise<readonly GeneratedImage[]> {
    return this.job.salvage(this, images);
  }

  async #accept(accepted: Acceptance): Promise<void> {
    if ("succeeded" in accepted) {
      try {
        await this.#succeed(accepted.succeeded, accepted.raw);
      } catch (error) {
        // The pictures are in memory, and whoever waits tries once more to keep them.
        this.#lastFailure = error;
      }
      return;
    }
    const { id, outcome } = accepted;
    this.#id = id;
    this.#state = outcome.state;
    this.#cost = outcome.cost ?? this.#cost;
    await this.ledger?.accepted(id, this.#cost).catch((error: unknown) => {
      // It is paid for, and this process knows the id: the job goes on, and the result says so.
      this.job.warn(`The journal does not know that it was accepted: ${reasonOf(error)}`);
    });
    this.emit({ type: "submitted", id });
  }

  /** Tells the journal how a create ended that is no job. */
  async #writeFailure(
    state: TaskState,
    error: ImageError,
    reason: string,
    refused: Refused | undefined,
  ): Promise<void> {
    const { ledger } = this;
    // A marker of somebody else's is left as it stands, unless the create was sent again under its key.
    if (ledger === undefined || (!ledger.begun && ledger.repeatable === undefined)) return;
    try {
      if (state === "refused") await ledger.refused();
      else if (state === "unknown") await ledger.unknown(reason);
      else if (refused !== undefined) await ledger.failed(refused);
    } catch (failure) {
      // The marker stands as it was, and says "unknown": no more than what is true. Under its key
      // nothing can be sent again.
      Object.assign(error, { retryable: false });
      this.job.warn(reasonOf(failure));
    }
  }

  #endCreate(): void {
    this.#isCreating = false;
    this.#markCreated?.();
    this.#markCreated = undefined;
    this.#created = undefined;
  }

  /**
   * Writes the marker that must be there before anything is sent. Where one stands already, the
   * create was somebody's: what came of it is taken over, and it is sent again under its key alone.
   */
  async #mayBegin(
    ledger: TaskLedger,
    call: Call,
    stop: EndSignal,
    deadlineAt: number,
  ): Promise<boolean> {
    if (ledger.record !== undefined) return true;
    const { clock } = this.#context;
    let existing = await ledger.begin(call, this.key);
    while (existing !== undefined) {
      if (this.#adopt(existing)) return false;
      if (ledger.repeatable !== undefined) return true;
      // Without a key nobody may take it over. Whoever began it may still be at it.
      const gone = ledger.abandoned || existing.state === "unknown" || clock.now() >= deadlineAt;
      if (!gone) await sleep(clock, followMs, stop);
      // Read once more after its end was seen: what it wrote last counts.
      existing = (await ledger.refresh()) ?? (await ledger.begin(call, this.key));
      if (gone && existing !== undefined && !this.#adopt(existing)) {
        this.#settle("unknown", { error: this.#unknownError() });
        return false;
      }
    }
    return true;
  }

  /** Takes over what the journal knows; false where that is a create without an answer. */
  #adopt(record: JournalRecord): boolean {
    this.#hasLeft = true;
    this.#cost = record.cost;
    this.#id = record.taskId;
    this.#sentBefore(Date.parse(record.submittedAt));
    switch (record.state) {
      case "submitting":
      case "unknown":
        this.#state =
          this.ledger?.repeatable !== undefined || this.ledger?.isElsewhere
            ? "submitting"
            : "unknown";
        return false;
      case "submitted":
        this.#state = "queued";
        return true;
      case "succeeded": {
        const { images = [], usage, model, cost } = record;
        const outcome: Succeeded = { state: "succeeded", outputs: images, usage, model, cost };
        this.#settleSucceeded(outcome, undefined);
        return true;
      }
      case "failed": {
        const { kind, message, charged, code } = record.failure ?? unsaidFailure;
        const refused: Refused = {
          ...{ state: "failed", kind: kindOf(kind), resend: "never", message, charged, code },
        };
        const error = errorOf(refused, this.facts({ charged }));
        this.#settle("failed", { error });
        return true;
      }
    }
  }

  /**
   * Waits for the end of the task, sharing one polling loop with all others who do.
   *
   * @throws the signal's reason; what `onDeadline` gives; an ImageError that ends the waiting though
   * not the job.
   */
  wait(limits: WaitLimits): Promise<Settled> {
    this.#finishCreate();
    const isRunning = !this.#isCreating && this.#unkept === undefined;
    const isPolled = isRunning && this.#settled === undefined && this.#id !== undefined;
    return isPolled ? this.#poller.wait(limits) : this.#waitForCreate(limits);
  }

  async #waitForCreate(limits: WaitLimits): Promise<Settled> {
    const { clock } = this.#context;
    await this.created(limits);
    if (this.#settled !== undefined) return this.#settled;
    if (this.#unkept !== undefined) return within(clock, this.#keepAgain(this.#unkept), limits);
    if (this.#id === undefined) await within(clock, this.#follow(limits), limits);
    if (this.#settled !== undefined) return this.#settled;
    if (this.#id === undefined) return { error: this.#unknownError() };
    return this.#poller.wait(limits);
  }

  /** Waits while another process is at a create that this one may not repeat: the journal tells. */
  async #follow({ signal, deadlineAt = Number.POSITIVE_INFINITY }: WaitLimits): Promise<void> {
    const { clock, closing } = this.#context;
    const { ledger } = this;
    while (ledger?.record?.state === "submitting" && !ledger.begun) {
      const { isElsewhere } = ledger;
      if (isElsewhere) await sleep(clock, followMs, signal ?? closing);
      // Read once more after its end was seen: what it wrote last counts.
      const record = await ledger.refresh();
      if (record === undefined || this.#adopt(record)) return;
      if (!isElsewhere || clock.now() >= deadlineAt) return;
    }
  }

  /** Sends a create again that another process began, and whose answer it lost: under its key. */
  #finishCreate(): void {
    if (this.#unfinished === undefined) return;
    this.#unfinished = undefined;
    // The key may have grown old since the record was read.
    const call = this.ledger?.repeatable;
    if (call === undefined) return;
    const { clock, closing, timeoutMs } = this.#context;
    this.#call = call;
    this.#isCreating = true;
    this.#context.underWay(this.create(closing, clock.now() + timeoutMs));
  }

  /** One poll now. */
  async poll(signal: EndSignal): Promise<void> {
    if (this.#settled !== undefined || this.#id === undefined) return;
    const step = await this.#poller.once(signal);
    signal.throwIfAborted();
    if ("stopped" in step) throw step.stopped;
    if ("failure" in step && step.failure !== undefined) throw step.failure;
  }

  /** The provider's id of the job. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Waits until it is known what came of its create. */
  async created(limits: WaitLimits): Promise<void> {
    if (!this.#isCreating) return;
    this.#created ??= new Promise((resolve) => {
      this.#markCreated = resolve;
    });
    await within(this.clock, this.#created, limits);
  }

  /** A webhook tells of its end: a schedule that learns is not told of the whole wait before it. */
  tellEnd(): void {
    this.#runningAgeMs = Math.max(this.#runningAgeMs ?? 0, this.#ageMs() - webhookLatencyMs);
  }

  /** Aborts when the task settles. */
  get end(): EndSignal {
    this.#end ??= new Ending();
    if (this.#settled !== undefined) this.#end.abort("it has settled");
    return this.#end;
  }

  /** There may be news: whoever waits has the next poll now. False where nobody waits. */
  nudge(): boolean {
    if (this.#poller.isWatched) this.#poller.nudge();
    return this.#poller.isWatched;
  }

  /** Asks the provider for its pictures once more, whose URLs may be fresh ones. */
  async freshOutputs(signal: EndSignal | undefined): Promise<Succeeded["outputs"] | undefined> {
    const { gateway, provider, attemptTimeoutMs } = this.#context;
    const { adapter } = provider;
    if (this.#id === undefined || adapter.query === undefined) return undefined;
    const request = await gateway.prepare(adapter.query(this.#id));
    const limits = { timeoutMs: attemptTimeoutMs, signal, n: this.n };
    const { outcome } = await gateway.exchange("query", request, limits);
    return outcome.state === "succeeded" ? outcome.outputs : undefined;
  }

  /** Its call's time is up. A create that has left goes on; one that has not never will leave. */
  giveUp(timeoutMs: number): TimeoutError {
    const create = this.#create;
    const isOthers = this.ledger?.record !== undefined && !this.ledger.begun;
    if (create === undefined || create.perhapsSent || isOthers) return this.timeoutError(timeoutMs);
    const detail = "It had not been sent";
    const facts = this.facts({ charged: "no", detail, transient: true });
    const error = new TimeoutError({ ...facts, timeoutMs });
    this.#settle("refused", { error });
    create.giveUp(error);
    return error;
  }

  /** What a time-out becomes. */
  timeoutError(timeoutMs: number): TimeoutError {
    const cause = this.#lastFailure;
    return new TimeoutError({ ...this.facts({ charged: this.charged, cause }), timeoutMs });
  }

  /** Waits until the polls of other jobs that are before it have left. */
  turn(signal: EndSignal): Promise<void> | undefined {
    return this.#context.pace.turn(signal, this.#lastFailure instanceof RateLimitError);
  }

  /** Asks once, for the poller. */
  async query(signal: EndSignal): Promise<PollStep<Settled>> {
    const step = await this.#query(signal);
    // It ends the waiting, though not the job: whoever listens hears why.
    if ("stopped" in step && isImageError(step.stopped)) {
      this.emit({ type: "failed", error: step.stopped });
    }
    return step;
  }

  async #query(signal: EndSignal): Promise<PollStep<Settled>> {
    const { clock, gateway, pace, provider, attemptTimeoutMs } = this.#context;
    const { adapter } = provider;
    const id = this.#id;
    if (id === undefined || adapter.query === undefined) return { stopped: this.#unknownError() };
    const askedAt = clock.now();
    const askedAtMs = this.#ageMs();
    let reading: Reading;
    try {
      const request = await gateway.prepare(adapter.query(id));
      const limits = { timeoutMs: attemptTimeoutMs, signal, n: this.n };
      reading = await gateway.exchange("query", request, limits);
    } catch (error) {
      if (signal.aborted) return {};
      if (!(error instanceof TransportFault)) return { stopped: this.#stoppedBy(error) };
      const facts = { charged: "unknown", detail: gateway.clean(error.message) } as const;
      const cause = gateway.safe(error.cause ?? error);
      return this.#again(new ProviderUnavailableError(this.facts({ ...facts, cause })));
    }
    const { outcome } = reading;
    const isTooOften = outcome.state === "refused" && outcome.kind === "rate_limited";
    pace.answered(askedAt, isTooOften ? (outcome.retryAfterMs ?? 0) : undefined);
    return this.#stepOf(reading, askedAtMs);
  }

  async #stepOf(reading: Reading, askedAtMs: number): Promise<PollStep<Settled>> {
    const { outcome } = reading;
    switch (outcome.state) {
      case "queued":
      case "running": {
        const { state, word, known, progress } = outcome;
        this.#state = state;
        this.#cost = outcome.cost ?? this.#cost;
        this.#lastFailure = undefined;
        this.#runningAgeMs = askedAtMs;
        this.emit(
          progress === undefined
            ? { type: "status", state, word, known }
            : { type: "status", state, word, known, progress },
        );
        return {};
      }
      case "succeeded":
        try {
          return { settled: await this.#succeed(outcome, reading.raw()) };
        } catch (error) {
          this.#isUnkeptTold ||= isUnkept(error);
          return { stopped: error };
        }
      case "absent": {
        const facts = this.facts({
          ...{ charged: "unknown", status: reading.status, raw: reading.raw() },
          detail: outcome.message,
        });
        const error = new GenerationFailedError({ ...facts, what: "unknownJob" });
        const graceMs = this.#context.provider.adapter.absentGraceMs ?? 15_000;
        return this.#ageMs() < graceMs ? this.#again(error) : { stopped: error };
      }
      case "refused": {
        // Whatever an adapter makes of it: the job was accepted, and this poll says nothing of it.
        const facts = this.facts({ ...contextOf(reading), charged: "unknown" });
        const error = errorOf({ ...outcome, charged: "unknown" }, facts);
        return outcome.resend === "wait"
          ? this.#again(error, outcome.retryAfterMs)
          : { stopped: error };
      }
      case "failed": {
        const { charged } = outcome;
        const images = await this.salvage(reading.images);
        const facts = this.facts({ ...contextOf(reading), charged, images });
        const error = errorOf(outcome, facts);
        try {
          await this.ledger?.failed(outcome);
        } catch (failure) {
          // Its key stays taken.
          Object.assign(error, { retryable: false });
          this.job.warn(reasonOf(failure));
        }
        return { settled: this.#settle("failed", { error }) };
      }
    }
  }

  /** A poll that told nothing is one more wait. */
  #again(failure: ImageError, retryAfterMs?: number): PollStep<Settled> {
    this.#lastFailure = failure;
    const delayMs = Math.max(retryAfterMs ?? 0, this.#scheduledMs(this.polls));
    this.emit({ type: "retry", phase: "poll", reason: failure.message, delayMs });
    return { failure, retryAfterMs };
  }

  /** Something ended the polling that says nothing about the job: a missing key, a function that threw. */
  #stoppedBy(error: unknown): unknown {
    if (isImageError(error)) return withJob(error, "unknown", this.job);
    const facts = {
      charged: "unknown",
      detail: this.#context.gateway.clean(String(error)),
    } as const;
    return new ProviderUnavailableError(
      this.facts({ ...facts, cause: this.#context.gateway.safe(error) }),
    );
  }

  /** Nobody hears of the pictures before they are where they outlive the process. */
  #succeed(outcome: Succeeded, raw: unknown): Settled | Promise<Settled> {
    if (this.#settled !== undefined) return this.#settled;
    this.#cost = outcome.cost ?? this.#cost;
    this.#unkept = { outcome, raw };
    const keeping = this.job.keep(this, outcome);
    if (keeping === undefined) return this.#settleSucceeded(outcome, raw);
    return keeping.then(
      () => this.#settleSucceeded(outcome, raw),
      (error: unknown) => {
        if (!isImageError(error)) throw error;
        if (!isUnkept(error)) throw Object.assign(error, { job: this.job });
        // Whoever hears of it has what was paid for, and goes on with the job once there is room.
        const images = this.job.inMemory(this, outcome);
        const cost = this.#cost === undefined ? {} : { cost: this.#cost };
        throw Object.assign(error, { job: this.job, images, ...cost });
      },
    );
  }

  /**
   * Tries once more to keep the pictures. Whoever hears for the first time that they cannot be kept
   * hears it as an error that has them; whoever comes back for the result is given them as they are.
   */
  async #keepAgain({ outcome, raw }: { outcome: Succeeded; raw: unknown }): Promise<Settled> {
    const wasTold = this.#isUnkeptTold;
    try {
      return await this.#succeed(outcome, raw);
    } catch (error) {
      this.#isUnkeptTold ||= isUnkept(error);
      if (!wasTold || !isUnkept(error)) throw error;
      this.job.warn(`It is in memory alone: ${reasonOf(error)}`);
      return { succeeded: outcome, raw };
    }
  }

  #settleSucceeded(outcome: Succeeded, raw: unknown): Settled {
    this.#unkept = undefined;
    this.#cost = outcome.cost ?? this.#cost;
    return this.#settle("succeeded", { succeeded: outcome, raw });
  }

  #settle(state: TaskState, settled: Settled): Settled {
    // Two polls of one job may both see its end: the first counts.
    if (this.#settled !== undefined) return this.#settled;
    const { clock, schedule } = this.#context;
    this.#state = state;
    this.#settled = settled;
    this.#endedAt = clock.now();
    // What was taken and given back is not what it cost.
    if ("error" in settled && settled.error.charged === "no") this.#cost = settled.error.cost;
    try {
      const told: unknown =
        this.polls > 0 ? schedule.settled?.(this.#moment(this.polls)) : undefined;
      // One that is async rejects later, and must not end the process.
      if (told !== undefined) Promise.resolve(told).catch(() => {});
    } catch {
      // A schedule that cannot learn must not cost the caller what was paid for.
    }
    const cost = this.#cost === undefined ? {} : { cost: this.#cost };
    this.emit(
      "error" in settled
        ? { type: "failed", error: settled.error }
        : { type: "succeeded", images: settled.succeeded.outputs.length, ...cost },
    );
    this.#endCreate();
    this.#end?.abort("it has settled");
    return settled;
  }

  /** A task without an id, or one that was refused elsewhere: what it was is all that is known. */
  #unknownError(): ImageError {
    if (this.#state === "refused") {
      return new GenerationFailedError({ ...this.facts({ charged: "no" }), what: "untaken" });
    }
    const detail = isSettled(this.#state)
      ? "No id of it is known, so that nobody can ask after it"
      : "It had not been accepted when this reference was written";
    return new SubmissionUnknownError(this.facts({ charged: "unknown", detail }));
  }

  /** What an error of it is made of. */
  facts(facts: ErrorFacts): ErrorFacts {
    return { provider: this.job.provider, job: this.job, cost: this.#cost, ...facts };
  }

  /** The wait before a poll, for the poller. */
  delayMs(polls: number): number {
    return polls === 0 && !this.#isNew ? 0 : this.#scheduledMs(polls);
  }

  #scheduledMs(polls: number): number {
    const { schedule } = this.#context;
    const moment = this.#moment(polls);
    let delayMs: unknown;
    try {
      delayMs = schedule.next(moment);
    } catch (cause) {
      const facts = this.facts({ charged: "unknown", cause });
      throw new CallbackError({ ...facts, callback: "poll.next" });
    }
    // A timer of anything else fires at once, and would poll without end.
    if (typeof delayMs === "object") Promise.resolve(delayMs).catch(() => {});
    const isDelay = typeof delayMs === "number" && !Number.isNaN(delayMs);
    const sane = isDelay ? Math.max(0, Number(delayMs)) : unsaidDelayMs;
    // A webhook may never come: polling slows down, and never stops.
    const delayedMs = Math.max(sane, this.job.backstopMs ?? 0);
    if (!this.#context.pollsLocally) return delayedMs;
    const { ageMs, floorMs = 0 } = moment;
    return Math.min(delayedMs, Math.max(floorMs, longestLocalWaitMs(ageMs)));
  }

  #moment(attempt: number): PollMoment {
    const { provider, operation, quality, sizeClass } = this.job;
    const previousAgeMs = this.#runningAgeMs;
    const ageMs = this.#ageMs();
    const { pollFloorMs: floorMs } = this.#context.provider.adapter;
    const asked = { provider, operation, quality, sizeClass, floorMs };
    return { attempt, ageMs, previousAgeMs, ...asked };
  }

  #ageMs(): number {
    const now = this.#context.clock.now();
    return now - (this.#startedAt ?? now);
  }

  /** Tells whoever listens what has happened. */
  emit(event: TaskEvent): void {
    this.job.emit(this.index, event);
  }
}

/** The pictures are here, and the journal did not take them. */
function isUnkept(error: unknown): boolean {
  return isImageError(error) && error.code === "journal_failed" && error.charged === "yes";
}

/** A provider posts its webhook within this time of the end. */
const webhookLatencyMs = 1_000;

/** The wait before a poll where the caller's schedule gives none. */
const unsaidDelayMs = 5_000;

/** How often a task looks whether another process has written what it waits for. */
const followMs = 250;

const unsaidFailure: NonNullable<JournalRecord["failure"]> = {
  ...{ kind: "generation_failed", message: "The job failed", charged: "unknown" },
};

/** A kind from a record, which a later version may have written. */
function kindOf(kind: string): RefusalKind {
  return refusalKinds.find((each) => each === kind) ?? "generation_failed";
}
