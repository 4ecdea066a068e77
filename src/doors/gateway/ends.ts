import { createHash } from "node:crypto";
import {
  type Charged,
  type GeneratedImage,
  type ImageError,
  type ImageResult,
  isImageError,
} from "../../index";
import type { PictureFile } from "./exchange";
import { typeOf } from "./faults";

/** A picture that was checked: in memory, or on the disk. */
export type Picture = {
  readonly outputFormat: string | undefined;
  readonly size: string | undefined;
  readonly url: string | undefined;
  readonly revisedPrompt: string | undefined;
} & ({ readonly bytes: Uint8Array } | { readonly stored: PictureFile });

/** What became of an order. */
export type End = Success | Failure;

/** The pictures, and what is said of them. */
export interface Success {
  readonly charged: "yes";
  readonly pictures: readonly Picture[];
  /** What stands in the body beside the pictures. */
  readonly facts: SuccessFacts;
}

/** What a success says beside its pictures; OpenAI's names, and ours. */
export interface SuccessFacts {
  readonly created: number;
  readonly job: string;
  readonly charged: "yes";
  readonly provider: string;
  readonly [name: string]: unknown;
}

/** An error, as it is answered. */
export interface Failure {
  readonly charged: Charged;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly error: Readonly<Record<string, unknown>>;
}

export function isSuccess(end: End): end is Success {
  return "pictures" in end;
}

/** What a result says beside its pictures. */
export function factsOf(
  result: ImageResult,
  failures: readonly ImageError[],
  orderId: string,
): SuccessFacts {
  const { usage, cost, model, provider } = result;
  return {
    created: Math.floor(result.timing.completedAt.getTime() / 1000),
    ...(usage !== undefined && { usage: usageOf(usage) }),
    job: orderId,
    charged: "yes",
    ...(cost !== undefined && { cost }),
    provider,
    ...(model !== undefined && { model }),
    // Read late: fetching may have added to them.
    ...(result.warnings.length > 0 && { warnings: result.warnings }),
    ...(failures.length > 0 && { failures: failures.map(toldOf) }),
  };
}

/** OpenAI's form of what was used. */
function usageOf(usage: NonNullable<ImageResult["usage"]>) {
  return {
    input_tokens: usage.inputTokens ?? 0,
    output_tokens: usage.outputTokens ?? 0,
    total_tokens: usage.totalTokens ?? (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0),
    input_tokens_details: {
      text_tokens: usage.inputTextTokens ?? 0,
      image_tokens: usage.inputImageTokens ?? 0,
      ...(usage.cachedInputTokens !== undefined && { cached_tokens: usage.cachedInputTokens }),
    },
    ...((usage.outputImageTokens ?? usage.outputTextTokens) !== undefined && {
      output_tokens_details: {
        text_tokens: usage.outputTextTokens ?? 0,
        image_tokens: usage.outputImageTokens ?? 0,
      },
    }),
  };
}

function toldOf({ message, code, charged }: ImageError) {
  return { message, code, charged };
}

/** A client's error as it is answered. */
export function failureOf(error: unknown, orderId: string): Failure {
  if (!isImageError(error)) {
    // No client of this package throws one; of a stranger's nobody knows how far it had come.
    const message = `The image client failed: ${error instanceof Error ? error.message : String(error)}`;
    return made(424, { message, code: "client_failed", charged: "unknown" }, orderId);
  }
  const { charged, cost, provider, retryable, failures } = error;
  const status = statusOf(error);
  const told = {
    message: messageOf(error),
    code: codeOf(error),
    ...(status === 400 && error.field !== undefined && { param: paramOf(error.field) }),
    charged,
    retryable,
    ...(cost !== undefined && { cost }),
    ...(provider !== undefined && { provider }),
    ...(failures.length > 0 && { failures: failures.map(toldOf) }),
    ...(error.code === "moderation" && {
      moderation_details: { moderation_stage: error.stage ?? null, categories: error.categories },
    }),
  };
  return made(status, told, orderId, error.retryAfterMs);
}

/** It was made and paid for, and its pictures are where this gateway cannot read them. */
export function missingOf(orderId: string): Failure {
  const message =
    "It was made and paid for. Its pictures are not on this machine, and cannot be fetched again.";
  const told = { message, code: "download_failed", charged: "yes", retryable: false };
  return made(424, told, orderId);
}

/** An order whose gateway was stopped, and of which nothing more can be found out. */
export function lostOf(orderId: string): Failure {
  const message =
    "The gateway was stopped while this was under way, and whether the provider accepted it is unknown. It may have been charged.";
  const told = { message, code: "submission_unknown", charged: "unknown", retryable: false };
  return made(424, told, orderId);
}

function made(
  status: number,
  told: Readonly<Record<string, unknown>> & { charged: unknown },
  orderId: string,
  retryAfterMs?: number,
): Failure {
  // What is said here is one of the three by its makers above.
  const charged = told.charged as Charged;
  const mayPass = status === 429 || status === 503;
  const seconds = Math.min(60, Math.max(1, Math.ceil((retryAfterMs ?? 2_000) / 1000)));
  return {
    charged,
    status,
    headers: {
      ...(mayPass ? { "retry-after": String(seconds) } : { "x-should-retry": "false" }),
      ...(told.cost !== undefined && { "x-image-cost": costText(told.cost) }),
    },
    error: { ...told, param: told.param ?? null, type: typeOf(status), job: orderId },
  };
}

/** A cost for a header. */
export function costText(cost: unknown): string {
  // A `Cost`, which this package has made.
  const { amount, unit } = cost as { amount: number; unit: string };
  return `${amount} ${unit}`;
}

/**
 * The status that says what may be done. Where money may have gone it is one that neither `openai`
 * (6.49, 7.59) nor the AI SDK (6.0.326, 7.0.173) sends again: they repeat 408, 409, 429 and all from 500
 * on, and the SDK does not look at `x-should-retry`.
 */
function statusOf({
  code,
  charged,
  retryable,
  retryAfterMs,
  field,
}: ImageError & { readonly code: string }): number {
  if (code === "moderation") return 400;
  if (charged !== "no") return 424;
  // An option of the call is the gateway's own matter: a spool that cannot be written, say.
  if (field?.startsWith("options.")) return 503;
  // The address of the provider is the gateway's own matter too, and no caller's field.
  if (field === "baseURL") return 500;
  // It renews while a caller can wait for it, or it does not.
  if (code === "budget_exceeded") return (retryAfterMs ?? Infinity) <= 60_000 ? 429 : 402;
  const known = statuses[code];
  if (known !== undefined) return known;
  return retryable ? 503 : 500;
}

const statuses: Readonly<Record<string, number>> = {
  invalid_request: 400,
  unsupported: 400,
  insufficient_credits: 402,
  // The gateway's own key, and not the caller's: 401 would blame that.
  authentication: 403,
  permission_denied: 403,
  rate_limited: 429,
  client_closed: 503,
};

function messageOf(error: ImageError & { readonly code: string }): string {
  if (error.code !== "authentication") return error.message;
  return `${error.message} This is about the gateway's own key at the provider, not about yours.`;
}

/** OpenAI's code where it has one; else ours. */
function codeOf(error: ImageError & { readonly code: string }): string {
  return error.providerCode === "model_not_found"
    ? error.providerCode
    : (codes[error.code] ?? error.code);
}

const codes: Readonly<Record<string, string>> = {
  invalid_request: "invalid_value",
  unsupported: "unsupported_parameter",
  insufficient_credits: "insufficient_quota",
  authentication: "provider_key_refused",
  moderation: "moderation_blocked",
  rate_limited: "rate_limit_exceeded",
};

/** A field of a request by OpenAI's name. */
function paramOf(field: string): string {
  const [name = field] = field.split(/[.[]/);
  if (name === "images") return "image";
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** What stands for a caller or a key in files: it may be a secret. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Fetches every picture of a result; those that cannot be had are told apart. */
export async function fetchAll(
  result: ImageResult,
  fetchOne: (image: GeneratedImage) => Promise<Picture>,
): Promise<{ pictures: Picture[]; failures: ImageError[] }> {
  const settled = await Promise.allSettled(result.images.map(fetchOne));
  const pictures = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const lost = settled.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  // Never an empty list under 200: `ai` would buy twice more.
  if (pictures.length === 0) throw lost[0];
  return { pictures, failures: [...result.failures, ...lost.filter(isImageError)] };
}
