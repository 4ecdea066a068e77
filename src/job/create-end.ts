import type { Output, Refused } from "../adapter/contract";
import { errorOf } from "../api/outcome-error";
import type { AbortSignalLike } from "../async/clock";
import {
  ClientClosedError,
  GenerationFailedError,
  isImageError,
  reasonOf,
  SubmissionUnknownError,
  TimeoutError,
  withJob,
} from "../errors";
import type { TransportFault } from "../http/faults";
import type { ErrorFacts, ImageError } from "../types";
import type { TaskState } from "../types/reference";
import type { TaskServices } from "./services";

/** How a create ended that brought neither a job nor pictures, as far as that is known. */
export interface CreateEnd {
  readonly state: TaskState;
  readonly error: ImageError;
  /** The provider's own words, where it was the provider who said no. */
  readonly refused?: Refused;
}

/** An attempt at a create that did not end in a job. */
export class CreateFailure extends Error {
  readonly refused: Refused;
  readonly context: Omit<ErrorFacts, "charged">;
  /** The response with the images did not come in time. */
  readonly isLate: boolean;

  constructor(refused: Refused, context: Omit<ErrorFacts, "charged">, isLate = false) {
    super(refused.message);
    this.refused = refused;
    this.context = context;
    this.isLate = isLate;
  }

  get neverConnected(): boolean {
    return this.context.status === undefined;
  }
}

/** An unsuccessful response that contains images. */
const paidInPart = {
  state: "failed",
  kind: "malformed_response",
  charged: "yes",
  resend: "never",
} as const;

/**
 * A refusal with images in it keeps its reason, and is no proof that nothing was paid. Nor is one with the
 * URL of an image, which is no proof that it was, either: nobody has looked there.
 */
export function withImages(outcome: Refused, images: readonly Output[]): Refused {
  if (images.length === 0) return outcome;
  const cameWhole = images.some(({ base64 }) => base64 !== undefined);
  if (cameWhole && !namesReason(outcome.kind)) return { ...outcome, ...paidInPart };
  const charged = outcome.charged === "no" ? "unknown" : outcome.charged;
  return { ...outcome, charged, resend: "never" };
}

/** Whether a kind says why, and not only that a response could not be used. */
function namesReason(kind: Refused["kind"]): boolean {
  const open = ["malformed_response", "submission_unknown", "provider_unavailable"];
  return ![...open, "generation_failed"].includes(kind);
}

/** What it means for a create that there was no response; `message` has no key in it. */
export function refusalOf(fault: TransportFault, message: string): Refused {
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

/** A response that names no job: only an adapter that breaks the contract gives one. It may be accepted. */
export const nameless: Refused = {
  state: "refused",
  kind: "malformed_response",
  charged: "unknown",
  resend: "never",
  message: "The response to the create names no job",
};

/** What is known of a create as it ends. */
export interface CreateFate {
  /** An attempt may have been accepted, so that no later refusal can say that nothing was charged. */
  readonly perhapsAccepted: boolean;
  /** The provider may have it. */
  readonly perhapsSent: boolean;
  /** Of the call. */
  readonly stop: AbortSignalLike;
  /** Whether what was thrown is the reason of a signal that ended the create. */
  readonly isEnd: boolean;
  /** The end of the call or of this create alone has come. */
  readonly isOver: boolean;
  readonly limitMs: number;
}

/** Whose create it was. */
interface CreateTask {
  facts(facts: ErrorFacts): ErrorFacts;
}

/** What becomes of a create by whatever was thrown in it, or before it. */
export function createEndOf(
  thrown: unknown,
  fate: CreateFate,
  task: CreateTask,
  { client, job }: TaskServices,
): CreateEnd {
  const { api, closing, tearing } = client;
  const { perhapsAccepted, perhapsSent } = fate;
  if (thrown instanceof CreateFailure) return endByFailure(thrown, fate, task);
  if (isImageError(thrown) && !fate.isEnd) {
    // No key, or a function of the caller's that threw: nothing was sent by this attempt.
    const charged = perhapsAccepted ? "unknown" : thrown.charged;
    const error = withJob(thrown, charged, job);
    return { state: perhapsAccepted ? "unknown" : "refused", error };
  }
  const charged = perhapsSent ? "unknown" : "no";
  const state = perhapsSent ? "unknown" : "refused";
  if (closing.aborted && fate.stop.aborted) {
    const torn = tearing.aborted ? reasonOf(tearing.reason) : undefined;
    const detail = perhapsSent ? torn : "It had not been sent";
    return { state, error: new ClientClosedError(task.facts({ charged, detail })) };
  }
  const when = perhapsSent ? "while it was being sent" : "before";
  const detail = fate.isOver ? `The call ended ${when}` : String(thrown);
  const told = { charged, detail: api.clean(detail), cause: api.safe(thrown) } as const;
  const facts = task.facts(told);
  return perhapsSent
    ? { state, error: new SubmissionUnknownError(facts) }
    : { state, error: new GenerationFailedError({ ...facts, what: "unsent" }) };
}

function endByFailure(
  { refused, context, isLate }: CreateFailure,
  fate: CreateFate,
  task: CreateTask,
): CreateEnd {
  const isUnsure = fate.perhapsAccepted || refused.charged === "unknown";
  const charged = isUnsure && refused.charged === "no" ? "unknown" : refused.charged;
  const facts = task.facts({ ...context, charged });
  // What never left says why, and may well be sent again.
  const unsent = charged === "no" && { detail: refused.message, transient: true };
  const error = isLate
    ? new TimeoutError({ ...facts, ...unsent, timeoutMs: fate.limitMs })
    : errorOf({ ...refused, charged }, facts);
  const sureState = refused.state === "failed" ? "failed" : "refused";
  return { state: charged === "unknown" ? "unknown" : sureState, error, refused };
}
