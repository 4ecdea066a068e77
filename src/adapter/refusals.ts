import type { Cost } from "../cost";
import type { Outcome, Phase, ProviderResponse, RefusalKind, Refused } from "./contract";

/** The provider's own error words, dug out of a body by its adapter. */
export interface ErrorWords {
  readonly message?: string | undefined;
  readonly code?: string | undefined;
  /** Stands in the body where no header says it. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * What a status says by itself. `words` are the provider's own, and `undefined` where the body is
 * not the provider's.
 *
 * To a create a 4xx (save 408, 423 to 425 and 499) is a refusal, and not charged. A 5xx is not: a
 * gateway in between answers one for a create that went through, 503 and `Retry-After` included.
 *
 * @param refusalStatuses such statuses that are a refusal all the same, because the provider says so
 * in a way that no gateway would, or because the caller has vouched for them.
 */
export function readStatus(
  phase: Phase,
  response: ProviderResponse,
  words: ErrorWords | undefined,
  refusalStatuses: readonly number[] = [],
): Outcome {
  const { status } = response;
  const message = words?.message ?? `HTTP ${status}`;
  const wait = words?.retryAfterMs ?? retryAfterMs(response);
  const facts = { message, code: words?.code, retryAfterMs: wait };
  if (phase === "query") {
    // Whatever a poll answers, the job was accepted: what became of it is not said here.
    if (status === 404) return { state: "absent", message };
    const kind = kindOfStatus(status);
    const resend = passes(status) ? "wait" : "never";
    return { state: "refused", kind, charged: "unknown", resend, ...facts };
  }
  const isDeclared = refusalStatuses.includes(status);
  if (isUncertain(status) && !isDeclared) {
    const refused = { state: "refused", charged: "unknown", resend: "keyed" } as const;
    return { ...refused, kind: "submission_unknown", ...facts };
  }
  const kind = isUncertain(status) ? "provider_unavailable" : kindOfStatus(status);
  const resend = status === 429 || isDeclared ? "wait" : "never";
  return { state: "refused", kind, charged: "no", resend, ...facts };
}

/** Whether a create that was answered so may have been accepted, as far as the status tells. */
export function isUncertain(status: number): boolean {
  return status < 400 || status >= 500 || [408, 423, 424, 425, 499].includes(status);
}

function passes(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

/** What a status is about. */
export function kindOfStatus(status: number): RefusalKind {
  if (status === 401) return "authentication";
  if (status === 402) return "insufficient_credits";
  // A CDN, a firewall and a country answer it as well as a provider: it tells nothing of the key.
  if (status === 403) return "permission_denied";
  if (status === 429) return "rate_limited";
  if (status >= 400 && status < 500 && !passes(status)) return "invalid_request";
  return "provider_unavailable";
}

/**
 * A refusal by moderation in the response to a create. What was refused before the work is not
 * charged; a picture that was made and then withheld may be. So may a refusal whose stage nobody
 * tells, unless `isFree`: it is known to come before the work.
 */
export function moderated(
  facts: Pick<Refused, "message" | "code" | "stage" | "categories">,
  isFree = false,
): Refused {
  const { message, code, stage, categories } = facts;
  const isBefore = stage === undefined ? isFree : /^(input|prompt)/i.test(stage);
  const charged = isBefore ? "no" : "unknown";
  const refused = { state: "refused", kind: "moderation", charged, resend: "never" } as const;
  return { ...refused, message, code, stage, categories };
}

/** A response that cannot be read: a poll is repeated; of a create nobody knows what became. */
export function unreadable(phase: Phase, message: string): Outcome {
  const resend = phase === "query" ? "wait" : "keyed";
  return { state: "refused", kind: "malformed_response", charged: "unknown", resend, message };
}

/** A success that holds no picture: paid, and nothing to show for it. */
export function withoutImage(message: string, cost?: Cost): Refused {
  return {
    state: "failed",
    kind: "malformed_response",
    charged: "yes",
    resend: "never",
    message,
    cost,
  };
}

/** `Retry-After` in milliseconds, given in seconds or as a date. */
export function retryAfterMs(response: ProviderResponse): number | undefined {
  const header = response.headers["retry-after"];
  if (header === undefined) return undefined;
  const seconds = Number(header);
  if (header.trim() !== "" && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - response.receivedAt);
}
