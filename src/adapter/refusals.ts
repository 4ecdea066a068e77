import type { Cost } from "../cost";
import type { Answer, Outcome, Phase, RefusalKind, Refused } from "./contract";

/** The provider's own error words, dug out of a body by its adapter. */
export interface ErrorWords {
  readonly message?: string | undefined;
  readonly code?: string | undefined;
  /** Stands in the body where no header says it. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * What a status says by itself. `words` are the provider's own, and `undefined` where the body is
 * not the provider's: a gateway in between may answer a 503 for a create that went through.
 */
export function readStatus(phase: Phase, answer: Answer, words: ErrorWords | undefined): Outcome {
  const { status } = answer;
  const wait = words?.retryAfterMs ?? retryAfterMs(answer);
  const message = words?.message ?? `HTTP ${status}`;
  const facts = { message, code: words?.code, retryAfterMs: wait };
  if (phase === "query") {
    // Whatever a poll answers, the job was accepted: what became of it is not said here.
    if (status === 404) return { state: "absent", message };
    const kind = statusKind(status);
    return {
      state: "refused",
      kind,
      charged: "unknown",
      resend: passes(status) ? "wait" : "never",
      ...facts,
    };
  }
  const ownUnavailable = status === 503 && (words !== undefined || wait !== undefined);
  if (status === 429 || ownUnavailable) {
    const kind = status === 429 ? "rate_limited" : "provider_unavailable";
    return { state: "refused", kind, charged: "no", resend: "wait", ...facts };
  }
  const ownRefusal = status >= 400 && status < 500 && status !== 408 && status !== 499;
  if (ownRefusal) {
    return { state: "refused", kind: statusKind(status), charged: "no", resend: "never", ...facts };
  }
  return {
    state: "refused",
    kind: "submission_unknown",
    charged: "unknown",
    resend: "keyed",
    ...facts,
  };
}

function passes(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

function statusKind(status: number): RefusalKind {
  if (status === 401 || status === 403) return "authentication";
  if (status === 402) return "insufficient_credits";
  if (status === 429) return "rate_limited";
  if (status >= 400 && status < 500 && !passes(status)) return "invalid_request";
  return "provider_unavailable";
}

/** An answer that cannot be read: a poll is repeated; of a create nobody knows what became. */
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
export function retryAfterMs(answer: Answer): number | undefined {
  const header = answer.headers["retry-after"];
  if (header === undefined) return undefined;
  const seconds = Number(header);
  if (header.trim() !== "" && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - answer.receivedAt);
}
