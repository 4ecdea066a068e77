import type { Charged } from "./cost";
import { isError } from "./realm";
import { withoutStops, withStop } from "./sentences";
import { brand, chargeSentence, type ErrorFacts, ImageError, type ImageJob } from "./types";

/** What a wrong field was given, and what it takes. */
export interface FieldFacts {
  /** What was given, shortened; for a prompt its length alone. */
  readonly given?: string | undefined;
  /** What is taken instead. */
  readonly taken?: string | undefined;
}

/** What is wrong with a field, in words that follow its name. */
function expected({ given, taken }: FieldFacts): string {
  return taken === undefined ? "" : `: expected ${withoutStops(taken)}, got ${given ?? "another"}`;
}

/** The request is wrong: found here before anything was sent, or refused by the provider. */
export class InvalidRequestError extends ImageError {
  override readonly name = "InvalidRequestError";
  readonly code = "invalid_request";
  /** What was given, shortened. */
  declare readonly given?: string;
  /** What is taken instead. */
  declare readonly taken?: string;

  /** @param facts with `isUnknown` there is no such field, and `taken` says what may have been meant. */
  constructor(facts: ErrorFacts & FieldFacts & { isUnknown?: boolean | undefined }) {
    const { field, taken } = facts;
    const wrong = `\`${field}\` is invalid${expected(facts)}.`;
    super(
      field === undefined
        ? "The request was refused as invalid."
        : facts.isUnknown
          ? withStop(`There is no \`${field}\`${taken === undefined ? "" : `; ${taken}`}`)
          : wrong,
      facts,
    );
    if (facts.given !== undefined) this.given = facts.given;
    if (facts.taken !== undefined) this.taken = facts.taken;
  }
}

/** The provider cannot do what was asked; nothing was sent. `onUnsupported: "omit"` leaves it out. */
export class UnsupportedError extends ImageError {
  override readonly name = "UnsupportedError";
  readonly code = "unsupported";
  /** The field that the provider cannot serve. */
  declare readonly field: string;
  /** What was given, shortened. */
  readonly given: string;
  /** What the provider takes. */
  readonly taken: string;

  constructor(facts: ErrorFacts & { field: string; given: string; taken: string }) {
    super(`\`${facts.field}\` is not supported here${expected(facts)}.`, facts);
    this.given = facts.given;
    this.taken = facts.taken;
  }
}

/** The key is missing or wrong. */
export class AuthenticationError extends ImageError {
  override readonly name = "AuthenticationError";
  readonly code = "authentication";

  /** @param facts with `problem`, what is wrong with the key was seen here, and nothing was sent. */
  constructor(facts: ErrorFacts & { problem?: string | undefined }) {
    super(withStop(facts.problem ?? "The API key was not accepted"), facts);
  }
}

/** Access was denied, and nobody says that it is the key: a CDN, a firewall, a region, an organisation. */
export class PermissionDeniedError extends ImageError {
  override readonly name = "PermissionDeniedError";
  readonly code = "permission_denied";

  constructor(facts: ErrorFacts) {
    super("The provider denied access.", facts);
  }
}

/** The account has no money left, or has reached a limit of its own spending. */
export class InsufficientCreditsError extends ImageError {
  override readonly name = "InsufficientCreditsError";
  readonly code = "insufficient_credits";

  constructor(facts: ErrorFacts) {
    super("The account cannot pay for this.", facts);
  }
}

/** Too many requests, and waiting as long as the provider asks would reach past the time-out. */
export class RateLimitError extends ImageError {
  override readonly name = "RateLimitError";
  readonly code = "rate_limited";

  constructor(facts: ErrorFacts) {
    const wait =
      facts.retryAfterMs === undefined
        ? ""
        : `, to be tried again after ${Math.ceil(facts.retryAfterMs / 1000)} s`;
    super(`Too many requests${wait}.`, { transient: true, ...facts });
  }
}

/** The provider's moderation refused the prompt, an input image or the output. */
export class ModerationError extends ImageError {
  override readonly name = "ModerationError";
  readonly code = "moderation";
  /** Where it was refused, in the provider's words (such as `"input"` or `"output"`), if it says. */
  declare readonly stage?: string;
  /** The categories that the provider names; empty where it names none. */
  readonly categories: readonly string[];

  constructor(
    facts: ErrorFacts & {
      stage?: string | undefined;
      categories?: readonly string[] | undefined;
    },
  ) {
    super("Refused by moderation.", facts);
    if (facts.stage !== undefined) this.stage = facts.stage;
    this.categories = facts.categories ?? [];
  }
}

const otherFailures = {
  unsent: "Nothing was sent.",
  untaken: "The provider did not take the job.",
  unknownJob: "The provider does not know the job.",
} as const;

/** The provider took the job and could not make the picture, or no longer knows the job. */
export class GenerationFailedError extends ImageError {
  override readonly name = "GenerationFailedError";
  readonly code = "generation_failed";

  /** @param facts `what` went wrong, where that is not the generation itself. */
  constructor(facts: ErrorFacts & { what?: keyof typeof otherFailures | undefined }) {
    super(facts.what === undefined ? "The generation failed." : otherFailures[facts.what], facts);
  }
}

/** Not settled within `timeoutMs`. The job, if there is one, runs on: `error.job.result()` waits for it. */
export class TimeoutError extends ImageError {
  override readonly name = "TimeoutError";
  readonly code = "timeout";
  /** The time that ran out, in milliseconds. */
  readonly timeoutMs: number;

  constructor(facts: ErrorFacts & { timeoutMs: number }) {
    super(`Not settled within ${facts.timeoutMs} ms.`, facts);
    this.timeoutMs = facts.timeoutMs;
  }
}

/** The create was sent and its response was lost: the provider may have accepted it, and it was not sent again. */
export class SubmissionUnknownError extends ImageError {
  override readonly name = "SubmissionUnknownError";
  readonly code = "submission_unknown";

  constructor(facts: ErrorFacts) {
    super("The request was sent, and whether it was accepted is unknown.", facts);
  }
}

/** The provider answered something that cannot be read, or success without an image. */
export class MalformedResponseError extends ImageError {
  override readonly name = "MalformedResponseError";
  readonly code = "malformed_response";

  constructor(facts: ErrorFacts) {
    super("The response cannot be used.", facts);
  }
}

/** The provider cannot be reached, or says that it is not available. */
export class ProviderUnavailableError extends ImageError {
  override readonly name = "ProviderUnavailableError";
  readonly code = "provider_unavailable";

  constructor(facts: ErrorFacts) {
    super("Not available.", { transient: true, ...facts });
  }
}

/** The picture exists and could not be fetched or saved. `url`, where there is one, still names it. */
export class DownloadError extends ImageError {
  override readonly name = "DownloadError";
  readonly code = "download_failed";
  /** Where the picture is. */
  declare readonly url?: string;

  constructor(facts: ErrorFacts & { url?: string | undefined }) {
    super("The image could not be fetched or saved.", facts);
    if (facts.url !== undefined) this.url = facts.url;
  }
}

/** A function of yours threw: `upload`, `apiKey`, `onSubmitted` or `poll.next`. Its own error is the `cause`. */
export class CallbackError extends ImageError {
  override readonly name = "CallbackError";
  readonly code = "callback_failed";
  /** Which function it was. */
  readonly callback: string;

  constructor(facts: ErrorFacts & { callback: string }) {
    super(`Your \`${facts.callback}\` threw.`, facts);
    this.callback = facts.callback;
  }
}

/** `close()` was called while this was waiting. The job runs on at the provider. */
export class ClientClosedError extends ImageError {
  override readonly name = "ClientClosedError";
  readonly code = "client_closed";

  constructor(facts: ErrorFacts) {
    super("The client was closed.", facts);
  }
}

/** The journal could not be read or written. Before a create, nothing was sent. */
export class JournalError extends ImageError {
  override readonly name = "JournalError";
  readonly code = "journal_failed";

  constructor(facts: ErrorFacts) {
    super("The journal could not be read or written.", facts);
  }
}

/** A budget does not allow for it: nothing was sent. `retryAfterMs` says when more comes, where it does. */
export class BudgetExceededError extends ImageError {
  override readonly name = "BudgetExceededError";
  readonly code = "budget_exceeded";
  /** What is left of the budget; absent where no price is known that could be held against it. */
  declare readonly left?: { readonly amount: number; readonly unit: string };
  /** When more comes: the budget's next hour, day or month. Absent where none does. */
  declare readonly renewsAt?: Date;

  constructor(facts: ErrorFacts & Partial<Pick<BudgetExceededError, "left" | "renewsAt">>) {
    const { left, renewsAt } = facts;
    const rest = left === undefined ? "" : `: ${left.amount} ${left.unit} left`;
    const more = renewsAt === undefined ? "" : `, more at ${renewsAt.toISOString()}`;
    super(`The budget does not allow for it${rest}${more}.`, facts);
    if (left !== undefined) this.left = left;
    if (renewsAt !== undefined) this.renewsAt = renewsAt;
  }
}

/** An error that came up where more is known: who was charged, and for which job. */
export function withJob(error: ImageError, charged: Charged, job: ImageJob): ImageError {
  // Every message ends with what its charge says.
  const words = error.message.slice(0, -chargeSentence[error.charged].length);
  const message = words + chargeSentence[charged];
  const retryable = error.retryable && charged === "no";
  return Object.assign(error, { message, charged, retryable, job });
}

/** The first of several errors, with the others in its `failures`. */
export function withFailures(errors: readonly [ImageError, ...ImageError[]]): ImageError {
  const [first, ...rest] = errors;
  return rest.length === 0 ? first : Object.assign(first, { failures: rest });
}

/** Every class of error, for `switch (error.code)` to narrow. */
export type AnyImageError =
  | InvalidRequestError
  | UnsupportedError
  | AuthenticationError
  | PermissionDeniedError
  | InsufficientCreditsError
  | RateLimitError
  | ModerationError
  | GenerationFailedError
  | TimeoutError
  | SubmissionUnknownError
  | MalformedResponseError
  | ProviderUnavailableError
  | DownloadError
  | CallbackError
  | ClientClosedError
  | BudgetExceededError
  | JournalError;

/**
 * Whether a caught value is an error of this package; true across two copies of it (ESM beside
 * CommonJS, or two versions), where `instanceof` is not.
 */
export function isImageError(value: unknown): value is AnyImageError {
  return typeof value === "object" && value !== null && brand in value;
}

/** Something that was thrown, in words. */
export function reasonOf(error: unknown): string {
  return isError(error) ? error.message : String(error);
}
