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
import { DecodedImage } from "../media/decoded-image";
import type { ErrorFacts, ImageError } from "../types";
import type { Reading } from "./read-response";
import { redacted } from "./secrets";

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

/** What an answer adds to an error. */
export function contextOf(reading: Reading): Omit<ErrorFacts, "charged"> {
  const { status, requestId } = reading;
  return { status, requestId, raw: reading.raw() };
}

const longestText = 1_000;
const deepest = 12;
const mostFields = 100;

/** An answer as it may be kept and shown: without long strings (images), without the secrets. */
export function elided(value: unknown, secrets: readonly string[], depth = 0): unknown {
  if (typeof value === "string") {
    return value.length > longestText ? `<${value.length} characters>` : redacted(value, secrets);
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof DecodedImage) return value.toJSON();
  if (depth >= deepest) return "<…>";
  if (Array.isArray(value)) {
    return value.slice(0, mostFields).map((each) => elided(each, secrets, depth + 1));
  }
  const shown = copyOf(value, secrets);
  for (const name in shown) shown[name] = elided(shown[name], secrets, depth + 1);
  return shown;
}

/**
 * The fields of an object as they may be named, and no more than are looked at. What JSON calls `__proto__`
 * is a field of a copy, too.
 */
function copyOf(value: object, secrets: readonly string[]): Record<string, unknown> {
  let length = 0;
  let isFit = true;
  for (const name in value) {
    length += 1;
    isFit &&= length <= mostFields && redacted(name, secrets) === name;
  }
  // Nearly always: to make one of its entries is ten times the work.
  if (isFit) return { ...value };
  const entries = Object.entries(value).slice(0, mostFields);
  return Object.fromEntries(entries.map(([name, each]) => [redacted(name, secrets), each]));
}
