import type { Pending, Refused, Succeeded } from "../adapter/contract";
import { contextOf, errorOf } from "../api/outcome-error";
import type { Reading } from "../api/read-response";
import { Ending, type EndSignal, sleep } from "../async/clock";
import { backoffMs, repeat, waitMs } from "../async/retry";
import {
  ClientClosedError,
  GenerationFailedError,
  isImageError,
  reasonOf,
  SubmissionUnknownError,
  TimeoutError,
  withJob,
} from "../errors";
import type { HttpRequest } from "../http/answer";
import { TransportFault } from "../http/faults";
import type { DecodedImage, ImageSink } from "../media/decoded-image";
import type { ErrorFacts, GeneratedImage, ImageError, ImageJob, TaskState } from "../types";
import type { TaskContext, TaskEvent } from "./task-context";

/** What a create needs of its task. */
export interface CreateHost {
  readonly job: ImageJob;
  /** How many images it asks for. */
  readonly n: number;
  facts(facts: ErrorFacts): ErrorFacts;
  /** Images that came whole in an answer that is no success otherwise. */
  salvage(images: readonly DecodedImage[]): Promise<readonly GeneratedImage[]>;
  /** An attempt begins: it may take a while until there is a key and a connection. */
  leaving(): void;
  /** The attempt begins to leave the machine, or may have. */
  sending(): void;
  emit(event: TaskEvent): void;
}

/** How long a create may take, and where its images go. */
export interface CreateLimits {
  /**
   * Ends the repetitions. A create in flight to a provider that answers with a job is not torn: the
   * job may exist, and its id is in the answer.
   */
  readonly stop: EndSignal;
  /** Tears even what is in flight. */
  readonly signal: EndSignal;
  readonly deadlineAt: number;
  /** How long it may take in all. */
  readonly limitMs: number;
  readonly createSink: (() => ImageSink) | undefined;
  /** Whether it is sent again after a refusal that passes; otherwise the refusal ends it. */
  readonly retryRefused: boolean;
}

/** The provider has accepted: a job that has an id, or the pictures themselves. */
export type Acceptance =
  | { readonly id: string; readonly outcome: Pending }
  | { readonly succeeded: Succeeded; readonly raw: unknown };

/** How a create ended that nobody accepted, as far as that is known. */
export interface CreateEnd {
  readonly state: TaskState;
  readonly error: ImageError;
  /** The provider's own words, where it was the provider who said no. */
  readonly refused?: Refused;
}

/** One create, sent again only where that cannot pay twice. */
export class Create {
  readonly #context: TaskContext;
  readonly #host: CreateHost;
  readonly #limits: CreateLimits;
  /** Once an attempt may have been accepted, no later refusal can say that nothing was charged. */
  perhapsAccepted = false;
  /** An attempt is on its way: nobody knows yet what becomes of it. */
  #isOnItsWay = false;
  /** The end of the call, or of this create alone. */
  readonly #end = new Ending();

  constructor(context: TaskContext, host: CreateHost, limits: CreateLimits) {
    this.#context = context;
    this.#host = host;
    this.#limits = limits;
    const { stop } = limits;
    if (stop.aborted) this.#end.abort(stop.reason);
    else stop.addEventListener("abort", this.#onStop, { once: true });
  }

  readonly #onStop = () => this.#end.abort(this.#limits.stop.reason);

  /** Whether the provider may have it. */
  get perhapsSent(): boolean {
    return this.#isOnItsWay || this.perhapsAccepted;
  }

  /** Nobody waits for it any more: what has not left by now never will. */
  giveUp(reason: unknown): void {
    this.#end.abort(reason);
  }

  /** It is over: the call goes on without it. */
  close(): void {
    this.#limits.stop.removeEventListener("abort", this.#onStop);
  }

  /** @throws what {@link Create.endBy} reads. */
  send(prepared: HttpRequest): Promise<Acceptance> {
    const { clock } = this.#context;
    const { deadlineAt } = this.#limits;
    const end = this.#end;
    return repeat({
      attempt: () => {
        end.throwIfAborted();
        this.#host.leaving();
        return this.#sendOnce(prepared);
      },
      again: (error, attempt) => {
        if (!(error instanceof CreateFailure) || end.aborted) return undefined;
        this.perhapsAccepted ||= error.refused.charged === "unknown";
        const delayMs = this.#againMs(error, attempt);
        const fits = delayMs !== undefined && clock.now() + delayMs < deadlineAt;
        return fits ? delayMs : undefined;
      },
      wait: (delayMs, error) => {
        this.#host.emit({ type: "retry", phase: "create", reason: reasonOf(error), delayMs });
        return sleep(clock, delayMs, end);
      },
    });
  }

  async #sendOnce(prepared: HttpRequest): Promise<Acceptance> {
    const { clock, gateway, provider, attemptTimeoutMs } = this.#context;
    const { stop, signal, deadlineAt, createSink } = this.#limits;
    const { answersWith } = provider.adapter;
    const { n } = this.#host;
    const end = this.#end;
    const onSending = this.#onSending;
    const limits =
      answersWith === "job"
        ? { timeoutMs: attemptTimeoutMs, stop: end, signal, onSending, n }
        : { timeoutMs: deadlineAt - clock.now(), stop: end, signal, createSink, onSending, n };
    let reading: Reading;
    try {
      reading = await gateway.exchange("create", prepared, limits);
      this.#isOnItsWay = false;
    } catch (error) {
      // A key that is missing, or a function that threw, is known before anything leaves.
      if (isImageError(error) && !this.#isEnd(error)) this.#isOnItsWay = false;
      if (!(error instanceof TransportFault)) throw error;
      this.#isOnItsWay = false;
      // Nothing has left because the call ended: that is no failure of the provider's.
      if (!error.sent && stop.aborted) throw stop.reason;
      throw new CreateFailure(this.#faultOf(error), {
        cause: gateway.safe(error.cause ?? error),
        images: await this.#host.salvage(error.images),
        ...(answersWith === "images" && error.timeoutMs !== undefined && { late: true }),
        ...(!error.transient && { transient: false }),
      });
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
      case "failed":
        throw new CreateFailure(reading.images.length === 0 ? outcome : withImages(outcome), {
          ...contextOf(reading),
          images: await this.#host.salvage(reading.images),
        });
    }
    // Only an adapter that breaks the contract comes here: accepted perhaps, and no id to ask by.
    const nameless = { state: "refused", kind: "malformed_response", charged: "unknown" } as const;
    const message = "The answer to the create names no job";
    throw new CreateFailure({ ...nameless, resend: "never", message }, contextOf(reading));
  }

  readonly #onSending = () => {
    this.#isOnItsWay = true;
    this.#host.sending();
  };

  #faultOf(fault: TransportFault): Refused {
    const message = this.#context.gateway.clean(fault.message);
    if (fault.images.length > 0) return { ...paidInPart, message };
    return fault.sent
      ? {
          state: "refused",
          kind: "submission_unknown",
          charged: "unknown",
          resend: "keyed",
          message,
        }
      : {
          state: "refused",
          kind: "provider_unavailable",
          charged: "no",
          resend: fault.transient ? "wait" : "never",
          message,
        };
  }

  /** The rules of what a create may be sent again for; everything else ends it. */
  #againMs(failure: CreateFailure, attempt: number): number | undefined {
    const { resend, retryAfterMs } = failure.refused;
    const neverConnected = failure.neverConnected;
    if (resend === "wait") {
      // A router asks another provider meanwhile; what an earlier attempt may have bought stays here.
      if (!this.#limits.retryRefused) return undefined;
      // Nothing was accepted. A host that cannot be reached is likely a wrong one: three attempts.
      if (neverConnected && attempt >= 3) return undefined;
      return waitMs(retryAfterMs, backoffMs(attempt, 30_000));
    }
    if (resend === "keyed" && this.#context.provider.adapter.idempotent && attempt < 5) {
      return waitMs(retryAfterMs, backoffMs(attempt, 10_000));
    }
    return undefined;
  }

  /** A reason to stop may be an error of this package too, and says nothing of this create. */
  #isEnd(error: unknown): boolean {
    const { signal } = this.#limits;
    return [this.#end, signal].some((each) => each.aborted && error === each.reason);
  }

  /** What an error of `send`, or of whatever came before it, makes of the create. */
  endBy(error: unknown): CreateEnd {
    const { limitMs } = this.#limits;
    if (error instanceof CreateFailure) {
      const { refused, context } = error;
      const isUnsure = this.perhapsAccepted || refused.charged === "unknown";
      const charged = isUnsure && refused.charged === "no" ? "unknown" : refused.charged;
      const told = this.#host.facts({ ...context, charged });
      // What never left says why, and may well be sent again.
      const unsent = charged === "no" && { detail: refused.message, transient: true };
      const failure = error.late
        ? new TimeoutError({ ...told, ...unsent, timeoutMs: limitMs })
        : errorOf({ ...refused, charged }, told);
      const sureState = refused.state === "failed" ? "failed" : "refused";
      return { state: charged === "unknown" ? "unknown" : sureState, error: failure, refused };
    }
    if (isImageError(error) && !this.#isEnd(error)) {
      // No key, or a function of the caller's that threw: nothing was sent by this attempt.
      const charged = this.perhapsAccepted ? "unknown" : error.charged;
      const told = withJob(error, charged, this.#host.job);
      return { state: this.perhapsAccepted ? "unknown" : "refused", error: told };
    }
    const { gateway, closing, tearing } = this.#context;
    const { perhapsSent } = this;
    if (closing.aborted && this.#limits.stop.aborted) {
      const closed = perhapsSent
        ? ({ state: "unknown", charged: "unknown" } as const)
        : ({ state: "refused", charged: "no" } as const);
      const torn = tearing.aborted ? reasonOf(tearing.reason) : undefined;
      const detail = perhapsSent ? torn : "It had not been sent";
      const facts = this.#host.facts({ charged: closed.charged, detail });
      return { state: closed.state, error: new ClientClosedError(facts) };
    }
    const when = perhapsSent ? "while it was being sent" : "before";
    const detail = this.#end.aborted ? `The call ended ${when}` : String(error);
    const told = this.#host.facts({
      charged: perhapsSent ? "unknown" : "no",
      detail: gateway.clean(detail),
      cause: gateway.safe(error),
    });
    return perhapsSent
      ? { state: "unknown", error: new SubmissionUnknownError(told) }
      : { state: "refused", error: new GenerationFailedError({ ...told, what: "unsent" }) };
  }
}

/** An answer that is no success, with images in it. */
const paidInPart = {
  state: "failed",
  kind: "malformed_response",
  charged: "yes",
  resend: "never",
} as const;

/** A refusal with images in it keeps its reason, and is no proof that nothing was paid. */
function withImages(outcome: Refused): Refused {
  if (!namesReason(outcome.kind)) return { ...outcome, ...paidInPart };
  const charged = outcome.charged === "no" ? "unknown" : outcome.charged;
  return { ...outcome, charged, resend: "never" };
}

/** Whether a kind says why, and not only that an answer could not be used. */
function namesReason(kind: Refused["kind"]): boolean {
  const open = ["malformed_response", "submission_unknown", "provider_unavailable"];
  return ![...open, "generation_failed"].includes(kind);
}

/** An attempt at a create that did not end in a job. */
class CreateFailure extends Error {
  readonly refused: Refused;
  readonly context: Omit<ErrorFacts, "charged">;
  /** The answer with the images did not come in time. */
  readonly late: boolean;

  constructor(refused: Refused, context: Omit<ErrorFacts, "charged"> & { late?: boolean }) {
    super(refused.message);
    const { late = false, ...rest } = context;
    this.refused = refused;
    this.context = rest;
    this.late = late;
  }

  get neverConnected(): boolean {
    return this.context.status === undefined;
  }
}
