import type { RefusalKind, Refused } from "../adapter/contract";
import {
  AuthenticationError,
  GenerationFailedError,
  InsufficientCreditsError,
  InvalidRequestError,
  MalformedResponseError,
  ModerationError,
  PermissionDeniedError,
  ProviderUnavailableError,
  RateLimitError,
  SubmissionUnknownError,
} from "../errors";
import type { ErrorFacts, ImageError } from "../types";
import type { Reading } from "./read-response";

const classes: Readonly<
  Record<Exclude<RefusalKind, "moderation">, new (facts: ErrorFacts) => ImageError>
> = {
  invalid_request: InvalidRequestError,
  authentication: AuthenticationError,
  permission_denied: PermissionDeniedError,
  insufficient_credits: InsufficientCreditsError,
  rate_limited: RateLimitError,
  generation_failed: GenerationFailedError,
  malformed_response: MalformedResponseError,
  provider_unavailable: ProviderUnavailableError,
  submission_unknown: SubmissionUnknownError,
};

/** A provider's no as an error. */
export function errorOf(refused: Refused, context: Omit<ErrorFacts, "charged">): ImageError {
  const { kind, message, code, charged, retryAfterMs, cost, stage, categories, field } = refused;
  // A job that failed and was not billed may well succeed the next time.
  const mayPass = refused.state === "failed" && kind === "generation_failed" ? true : undefined;
  const transient = refused.transient ?? mayPass;
  const known = cost ?? context.cost;
  // What was taken and given back is not what it cost.
  const isRefunded = charged === "no" && known !== undefined && known.amount > 0;
  const facts: ErrorFacts = {
    ...context,
    charged,
    detail: message,
    providerCode: code,
    retryAfterMs,
    field,
    cost: isRefunded ? undefined : known,
    ...(transient !== undefined && { transient }),
  };
  if (kind === "moderation") return new ModerationError({ ...facts, stage, categories });
  return new classes[kind](facts);
}

/** What a response adds to an error. */
export function contextOf(reading: Reading): Omit<ErrorFacts, "charged"> {
  const { status, requestId } = reading;
  return { status, requestId, raw: reading.raw() };
}
