import type { SandboxFaultTarget } from "./targets";

/**
 * What a forged webhook gets wrong: it names a job that does not exist, another job that has not
 * been told of yet, or the right one under a wrong token.
 */
export type SandboxForgery = "unknown-job" | "another-job" | "wrong-token";

/**
 * What goes wrong. "Accepted" means that a create makes a job and is billed in spite of the fault.
 * A fault that concerns the job's fate (`moderation`, `failure`, `no-image`, `fewer-images`,
 * `unknown-state`, `expired`) may be injected on the create: that job's polls show it then.
 */
export type SandboxFaultKind =
  /** The connection is reset after the body has arrived: nothing is accepted, nothing is billed. */
  | { readonly fault: "reset-before-acceptance" }
  /** Accepted, then the connection is reset instead of a response. */
  | { readonly fault: "reset-after-acceptance" }
  /** Accepted at once, answered `delayMs` milliseconds later than usual. */
  | { readonly fault: "slow"; readonly delayMs: number }
  /**
   * Accepted, and never answered. On a download `afterBytes` first sends that many bytes of the
   * image; default: not even the head.
   */
  | { readonly fault: "hang"; readonly afterBytes?: number }
  /**
   * 429, not accepted. `as` says where `retryAfterSeconds` is told: `"header"` (default),
   * `"date"`: the header holds an HTTP date, or `"body"`: aigptimage's `data.retryAfter`, elsewhere
   * only words in the message. Without `retryAfterSeconds` nothing is told.
   */
  | {
      readonly fault: "rate-limited";
      readonly retryAfterSeconds?: number;
      readonly as?: "header" | "date" | "body";
    }
  /**
   * Not accepted: `status` (default 503) with a proxy's HTML page, or under `ownBody` with the
   * provider's own error body.
   */
  | {
      readonly fault: "unavailable";
      readonly status?: number;
      readonly ownBody?: boolean;
      readonly retryAfterSeconds?: number;
    }
  /** Accepted, and answered by a proxy's HTML page with `status` (default 502). */
  | { readonly fault: "accepted-but-unavailable"; readonly status?: number }
  /**
   * Accepted, answered with `body`: by default the first half of the true response, in JSON's media
   * type and with status 200.
   */
  | {
      readonly fault: "malformed";
      readonly body?: string;
      readonly status?: number;
      readonly contentType?: string;
    }
  /** Success, and billed, without a single image in it. */
  | { readonly fault: "no-image" }
  /** Success with only so many images; a provider that bills on success bills only those. */
  | { readonly fault: "fewer-images"; readonly images: number }
  /** Accepted, but the response to the create names an empty job id. */
  | { readonly fault: "empty-id" }
  /**
   * Refused in the provider's own form, not accepted. `code` defaults to the status where the
   * provider's codes are numbers. `envelope`: HTTP 200 with the refusal in the body (ShortAPI and
   * aigptimage only).
   */
  | {
      readonly fault: "refusal";
      readonly status: number;
      readonly code?: string | number;
      readonly message?: string;
      readonly envelope?: boolean;
    }
  /**
   * The provider's moderation says no: OpenAI refuses with 400 `moderation_blocked` (and the stage,
   * default `"output"`, and categories, default `["violence"]`); at the others the job fails.
   */
  | {
      readonly fault: "moderation";
      readonly stage?: "input" | "output";
      readonly categories?: readonly string[];
    }
  /**
   * The job fails. `refunded` (default: true at ShortAPI, false at aigptimage) takes the charge
   * back; Trinetra and OpenAI never bill a failure. On a poll it fails at that very poll.
   */
  | { readonly fault: "failure"; readonly refunded?: boolean; readonly message?: string }
  /** A poll answers with a state that nobody knows; on a create: for as long as the job runs. */
  | { readonly fault: "unknown-state"; readonly word: string | number }
  /** A poll cannot find the job. */
  | { readonly fault: "missing" }
  /**
   * On a download: this URL answers `status` (default 403) from now on. On a create: the first URLs
   * that a query hands out do so, later ones are good.
   */
  | { readonly fault: "expired"; readonly status?: 403 | 404 | 410 }
  /** The head promises the whole response, the connection ends halfway. Accepted. */
  | { readonly fault: "truncated" }
  /** The response, then padding up to `bytes` in all, without a Content-Length. Accepted. */
  | { readonly fault: "huge"; readonly bytes: number }
  /** A download answers 200 with an HTML page. */
  | { readonly fault: "not-an-image" }
  /** Sent elsewhere: `status` defaults to 302 for a download, else 307. A create is not accepted. */
  | { readonly fault: "redirect"; readonly location: string; readonly status?: number }
  /**
   * Of a create that asks for a stream, as the other faults of streams, which do nothing to any other:
   * accepted, and the connection is reset after `afterPartials` (default 0) of the partial images that were asked for.
   */
  | { readonly fault: "stream-broken"; readonly afterPartials?: number }
  /** Accepted, and the stream ends as a good one does, after `afterPartials`, without its picture. */
  | { readonly fault: "stream-ended"; readonly afterPartials?: number }
  /**
   * The stream ends with an `error` event after `afterPartials`. `code` defaults to `"server_error"`;
   * `stage` and `charged` stand in it where they are given. Billed only if `billed` says so.
   */
  | {
      readonly fault: "stream-error";
      readonly afterPartials?: number;
      readonly code?: string;
      readonly message?: string;
      readonly stage?: "input" | "output";
      readonly charged?: "no" | "yes" | "unknown";
      readonly billed?: boolean;
    }
  /** Accepted, and nothing comes but a comment every `everyMs` milliseconds (default 20), for ever. */
  | { readonly fault: "stream-comments"; readonly everyMs?: number }
  /** Accepted, and answered in JSON as if no stream had been asked for. */
  | { readonly fault: "stream-ignored" }
  /** The webhook is posted `delayMs` milliseconds after the job's end. */
  | { readonly fault: "late"; readonly delayMs: number }
  /** The webhook is never posted. */
  | { readonly fault: "lost" }
  /** The webhook is posted, and posted again once the first has been answered. */
  | { readonly fault: "twice" }
  /** The webhook waits until that of the provider's next job to end has been answered. */
  | { readonly fault: "out-of-order" }
  /**
   * Somebody else's call comes first, and is answered before the true one is posted. `as` says what
   * it gets wrong (default `"unknown-job"`), in the body and in the address: the first parameter of
   * its query is taken to name the job, the last to be its token. Trinetra's carries none.
   */
  | { readonly fault: "forged"; readonly as?: SandboxForgery };

/** A fault and the requests that it hits. */
export type SandboxFault = SandboxFaultTarget & SandboxFaultKind;
