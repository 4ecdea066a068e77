import type { Call, Pending, Succeeded } from "../adapter/contract";
import type { ExchangeLimits } from "../api/api";
import { contextOf } from "../api/outcome-error";
import type { Reading } from "../api/read-response";
import { type AbortSignalLike, LightAbortSignal, sleep } from "../async/clock";
import { backoffMs, repeatAfter, waitMs } from "../async/retry";
import type { Cost } from "../cost";
import { isImageError, reasonOf } from "../errors";
import { TransportFault } from "../http/faults";
import type { HttpRequest } from "../http/messages";
import type { TaskEntry } from "../journal/entry";
import type { JournalRecord } from "../journal/record";
import type { ImageSink } from "../media/decoded-image";
import type { ErrorFacts } from "../types";
import type { PartialImage } from "../types/image";
import type { TaskState } from "../types/reference";
import {
  type CreateEnd,
  CreateFailure,
  createEndOf,
  nameless,
  refusalOf,
  withImages,
} from "./create-end";
import { type Claimed, claim, recordEnd } from "./intent";
import type { TaskPictures } from "./pictures";
import type { TaskServices } from "./services";

/** What a create sends, and where the images of its response go while they come. */
export interface Sending {
  readonly call: Call;
  readonly createSink: (() => ImageSink) | undefined;
  /** As {@link CreateLimits.retryRefused}. */
  readonly retryRefused: boolean;
}

/** How long a create may take, and whether it may be sent again. */
export interface CreateLimits {
  /**
   * Ends the repetitions. A create in flight to a provider that answers with a job is not torn: the
   * job may exist, and its id is in the response.
   */
  readonly stop: AbortSignalLike;
  /** Tears even what is in flight. */
  readonly signal: AbortSignalLike;
  readonly deadlineAt: number;
  /** How long it may take in all. */
  readonly limitMs: number;
  /** Whether it is sent again after a refusal that passes; otherwise the refusal ends it. */
  readonly retryRefused: boolean;
}

/** Whose create it is. */
export interface CreateTask {
  readonly index: number;
  /** How many images it asks for. */
  readonly n: number;
  readonly key: string | undefined;
  /** Its entry in the journal, where there is one. */
  readonly entry: TaskEntry | undefined;
  readonly cost: Cost | undefined;
  readonly pictures: TaskPictures;
  /** Reports a partial image. */
  showPartial(image: PartialImage): void;
  facts(facts: ErrorFacts): ErrorFacts;
}

/** The provider has a job, by an id that the journal knows. */
interface CreatedJob {
  readonly id: string;
  readonly outcome: Pending;
}

/** The response has the pictures. */
interface CreatedPictures {
  readonly succeeded: Succeeded;
  readonly raw: unknown;
}

/** What came of a create. */
export type Created =
  | CreatedJob
  | CreatedPictures
  | { readonly end: CreateEnd }
  /** The journal says that another process owns it. */
  | { readonly taken: JournalRecord }
  | { readonly lost: JournalRecord };

/** One create, sent again only where that cannot pay twice. */
export class Create {
  readonly is = "creating";
  /** What it is known to cost while it goes on: where another process began it, by its record. */
  readonly cost: Cost | undefined;
  readonly #services: TaskServices;
  readonly #task: CreateTask;
  readonly #limits: CreateLimits;
  /** Once an attempt may have been accepted, no later refusal can say that nothing was charged. */
  #perhapsAccepted: boolean;
  /** The latest attempt has left, and nothing has come that says it was not accepted. */
  #mayBeTaken = false;
  #isSubmitting = false;
  #hasLeft = false;
  #id: string | undefined;
  /** The end of the call, or of this create alone. */
  readonly #end = new LightAbortSignal();

  constructor(services: TaskServices, task: CreateTask, limits: CreateLimits) {
    this.#services = services;
    this.#task = task;
    this.#limits = limits;
    this.cost = task.cost;
    this.#perhapsAccepted = task.entry?.isTaken ?? false;
  }

  /** The task's state while it goes on. */
  get state(): TaskState {
    if (this.#isSubmitting) return "submitting";
    const { entry } = this.#task;
    if (!this.isOthers || entry?.record === undefined) return "waiting";
    return entry.repeatable !== undefined || entry.isElsewhere ? "submitting" : "unknown";
  }

  /** By the journal it was begun elsewhere. */
  get isOthers(): boolean {
    return this.#task.entry?.isTaken ?? false;
  }

  /** An attempt has left, here or in another process. */
  get hasLeft(): boolean {
    return this.#hasLeft || this.isOthers;
  }

  /** Whether the provider may have it. */
  get perhapsSent(): boolean {
    return this.#mayBeTaken || this.#perhapsAccepted;
  }

  /** The provider's id of the job, from the moment that it is known. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Abandons it: a create that has not been sent by now never will be. */
  giveUp(reason: unknown): void {
    this.#end.abort(reason);
  }

  /** Sends it, once the intent record stands. Never rejects. */
  async run({ call, createSink }: Sending): Promise<Created> {
    const { api } = this.#services.client;
    const { entry } = this.#task;
    const { stop } = this.#limits;
    const onStop = () => this.#end.abort(stop.reason);
    if (stop.aborted) onStop();
    else stop.addEventListener("abort", onStop);
    try {
      const preparing = api.prepare(call);
      const request = preparing instanceof Promise ? await preparing : preparing;
      const claimed = entry && (await this.#claim(entry, call));
      if (claimed !== undefined) return claimed;
      let created: CreatedJob | CreatedPictures;
      try {
        created = await this.#sendOnce(request, createSink);
      } catch (error) {
        created = await this.#sendAgain(error, request, createSink);
      }
      if ("id" in created) await this.#record(created);
      return created;
    } catch (error) {
      const end = createEndOf(error, this.#fateBy(error), this.#task, this.#services);
      // First, so that the key is free before the caller learns that the call can be retried.
      await recordEnd(entry, end, reasonOf(error), this.#services.warnings);
      return { end };
    } finally {
      stop.removeEventListener("abort", onStop);
    }
  }

  async #claim(entry: TaskEntry, call: Call): Promise<Claimed | undefined> {
    const { clock } = this.#services.client;
    const { stop, deadlineAt } = this.#limits;
    try {
      return await claim(entry, call, this.#task.key, { clock, stop, deadlineAt });
    } finally {
      // Also where the journal fails, or the call ends, while another's record stands there.
      this.#perhapsAccepted = entry.isTaken;
    }
  }

  /** Of one attempt: the images of a response may take as long as the create. */
  #exchangeLimits(createSink: Sending["createSink"]): ExchangeLimits {
    const { clock, provider, attemptTimeoutMs } = this.#services.client;
    const { deadlineAt, signal } = this.#limits;
    const isJob = provider.adapter.answersWith === "job";
    return {
      timeoutMs: isJob ? attemptTimeoutMs : deadlineAt - clock.now(),
      createSink: isJob ? undefined : createSink,
      stop: this.#end,
      signal,
      onSending: this.#onSending,
      onPartial: this.#onPartial,
      n: this.#task.n,
    };
  }

  /** After an attempt that failed: what may be sent again is; everything else is thrown. */
  #sendAgain(
    error: unknown,
    request: HttpRequest,
    createSink: Sending["createSink"],
  ): Promise<CreatedJob | CreatedPictures> {
    const { clock } = this.#services.client;
    const { events } = this.#services;
    return repeatAfter(error, {
      attempt: () => this.#sendOnce(request, createSink),
      again: (failure, attempt) => this.#againMs(failure, attempt),
      wait: (delayMs, failure) => {
        const reason = reasonOf(failure);
        events.emit(this.#task.index, { type: "retry", phase: "create", reason, delayMs });
        return sleep(clock, delayMs, this.#end);
      },
    });
  }

  async #sendOnce(
    request: HttpRequest,
    createSink: Sending["createSink"],
  ): Promise<CreatedJob | CreatedPictures> {
    const { api } = this.#services.client;
    const { events } = this.#services;
    this.#end.throwIfAborted();
    this.#isSubmitting = true;
    events.emit(this.#task.index, { type: "submitting" });
    let reading: Reading;
    try {
      reading = await api.exchange("create", request, this.#exchangeLimits(createSink));
    } catch (error) {
      throw await this.#failureOf(error);
    }
    const { outcome } = reading;
    switch (outcome.state) {
      case "succeeded":
        return { succeeded: outcome, raw: reading.raw() };
      case "queued":
      case "running":
        if (outcome.id === undefined) break;
        return { id: outcome.id, outcome };
      case "absent":
        break;
      case "refused":
      case "failed": {
        const refused = withImages(outcome, reading.images);
        this.#mayBeTaken = refused.charged !== "no";
        const images = await this.#task.pictures.salvage(reading.images);
        throw new CreateFailure(refused, { ...contextOf(reading), images });
      }
    }
    throw new CreateFailure(nameless, contextOf(reading));
  }

  /** What an attempt without a response comes to. */
  async #failureOf(error: unknown): Promise<unknown> {
    const { api, provider } = this.#services.client;
    const { stop } = this.#limits;
    // A key that is missing, or a function that threw, is known before anything leaves.
    if (isImageError(error) && !this.#isEnd(error)) this.#mayBeTaken = false;
    if (!(error instanceof TransportFault)) return error;
    this.#mayBeTaken = error.sent;
    // Not sent because the call ended: not a provider failure.
    if (!error.sent && stop.aborted) return stop.reason;
    const isLate = provider.adapter.answersWith === "images" && error.timeoutMs !== undefined;
    const context = {
      cause: api.safe(error.cause ?? error),
      images: await this.#task.pictures.salvage(error.images.map((base64) => ({ base64 }))),
      ...(!error.transient && { transient: false }),
    };
    return new CreateFailure(refusalOf(error, api.clean(error.message)), context, isLate);
  }

  readonly #onSending = () => {
    this.#mayBeTaken = true;
    this.#hasLeft = true;
  };

  readonly #onPartial = (image: PartialImage) => this.#task.showPartial(image);

  /** The wait before a create may be sent again; `undefined` where it may not. */
  #againMs(failure: unknown, attempt: number): number | undefined {
    const { clock, provider } = this.#services.client;
    if (!(failure instanceof CreateFailure) || this.#end.aborted) return undefined;
    this.#perhapsAccepted ||= failure.refused.charged === "unknown";
    // A router asks another provider meanwhile; what an earlier attempt may have bought stays here.
    if (failure.refused.resend === "wait" && !this.#limits.retryRefused) return undefined;
    const delayMs = delayOf(failure, attempt, provider.adapter.idempotent);
    const fits = delayMs !== undefined && clock.now() + delayMs < this.#limits.deadlineAt;
    return fits ? delayMs : undefined;
  }

  /** The id is in the journal before the first poll, and before anybody hears of it. */
  async #record({ id, outcome }: CreatedJob): Promise<void> {
    this.#id = id;
    const { entry } = this.#task;
    if (entry === undefined) return;
    try {
      await entry.accepted(id, outcome.cost ?? this.cost);
    } catch (error) {
      // It is paid for, and this process knows the id: the job goes on, and the result says so.
      const warning = `The journal does not know that it was accepted: ${reasonOf(error)}`;
      this.#services.warnings.push(warning);
    }
  }

  /** A reason to stop may be an error of this package too, and says nothing of this create. */
  #isEnd(error: unknown): boolean {
    const { signal } = this.#limits;
    return [this.#end, signal].some((each) => each.aborted && error === each.reason);
  }

  #fateBy(error: unknown) {
    const { stop, limitMs } = this.#limits;
    return {
      perhapsAccepted: this.#perhapsAccepted,
      perhapsSent: this.perhapsSent,
      isEnd: this.#isEnd(error),
      isOver: this.#end.aborted,
      ...{ stop, limitMs },
    };
  }
}

/** The rules of what a create may be sent again for; everything else ends it. */
function delayOf(
  failure: CreateFailure,
  attempt: number,
  isIdempotent: boolean,
): number | undefined {
  const { resend, retryAfterMs } = failure.refused;
  if (resend === "wait") {
    // Nothing was accepted. A host that cannot be reached is likely a wrong one: three attempts.
    if (failure.neverConnected && attempt >= 3) return undefined;
    return waitMs(retryAfterMs, backoffMs(attempt, 30_000));
  }
  if (resend === "keyed" && isIdempotent && attempt < 5) {
    return waitMs(retryAfterMs, backoffMs(attempt, 10_000));
  }
  return undefined;
}
