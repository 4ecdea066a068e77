/** The four providers that the sandbox plays. */
export type SandboxProvider = "shortapi" | "aigptimage" | "trinetra" | "openaiCompatible";

/**
 * What a request is for: `create` asks for images, `poll` asks how a job stands, `download` fetches
 * an image. A provider that answers with the images has no `poll`.
 */
export type SandboxPhase = "create" | "poll" | "download";

/** Which things a fault can hit: requests that arrive, or the `webhook` that is posted at a job's end. */
export type SandboxFaultPhase = SandboxPhase | "webhook";

/**
 * What a forged webhook gets wrong: it names a job that does not exist, another job that has not
 * been told of yet, or the right one under a wrong token.
 */
export type SandboxForgery = "unknown-job" | "another-job" | "wrong-token";

/** The provider whose webhook address is set on the key; ShortAPI's goes with each request. */
export type SandboxWebhookProvider = "trinetra";

/** The form in which the OpenAI-compatible endpoint hands over its images. */
export type SandboxOpenAIAnswers = "b64_json" | "url" | "both" | "wrapped";

/** How the sandbox behaves; every member has a default. */
export interface SandboxOptions {
  /** The port on 127.0.0.1. Default 0: any free one. A CDN of its own always takes a free one. */
  port?: number;
  /**
   * Serve the images from an origin of their own, as a CDN does. Default false: they lie on the
   * providers' origin, which a client trusts; with true it needs `allowPrivateNetwork`.
   */
  separateCdn?: boolean;
  /** How long a job, or a response that brings the images along, takes in milliseconds. Default 300. */
  jobDurationMs?: number;
  /** How much of `jobDurationMs` a job spends queued. Default a third of it; never more than all. */
  queueDurationMs?: number;
  /**
   * Image URLs answer 403 once they are this old, in milliseconds. Default: they never expire. Each
   * successful query of a job hands out fresh URLs.
   */
  imageTtlMs?: number;
  /**
   * For this long after a create, in milliseconds, its job cannot be found: queries answer as for an
   * unknown id, at aigptimage with 422 "recordInfo is null". Default 0. The OpenAI-compatible
   * endpoint has no queries.
   */
  missingAfterCreateMs?: number;
  /**
   * Draw every picture as a plain gradient without words: under 5 ms instead of about 100. Default
   * false. A prompt that starts with "test" (in any case) is always drawn plain.
   */
  plainImages?: boolean;
  /**
   * What the OpenAI-compatible endpoint answers with. Default `"b64_json"`, as OpenAI itself;
   * `"url"`: URLs of images; `"both"`: the two together; `"wrapped"`: base64 inside
   * `{ success, code: "200", message, data }`, as some gateways do. All but the first add a
   * `revised_prompt`.
   */
  openaiAnswers?: SandboxOpenAIAnswers;
}

/** What a provider function takes, as it is: `shortapi(sandbox.shortapi)`. */
export interface SandboxAccess {
  /** Stands where the provider's own base URL stands: the paths on its pages follow it. */
  readonly baseURL: string;
  /** The only key that this provider accepts. */
  readonly apiKey: string;
}

/** One part of a multipart body. File bytes are not kept. */
export interface SandboxPart {
  readonly name: string;
  /** Present when the part is a file. */
  readonly filename?: string;
  /** The part's own Content-Type, where it has one. */
  readonly mediaType?: string;
  readonly byteLength: number;
  /** The text of a part that is not a file. */
  readonly value?: string;
}

/** One request that arrived, whatever became of it. */
export interface SandboxRequest {
  /** Whose endpoint it reached; `"cdn"` for an image's URL, `"unknown"` for a path of none of them. */
  readonly provider: SandboxProvider | "cdn" | "unknown";
  /** `"unknown"` for a path or method that the provider does not have. */
  readonly phase: SandboxPhase | "unknown";
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Parsed JSON; the parts of a multipart body; the text of anything else. Undefined for an empty
   * body, and until the body has arrived.
   */
  readonly body?: unknown;
  /** When it arrived, in milliseconds since 1970. */
  readonly at: number;
  /** The job that it created, asked about, or fetched an image of. */
  readonly jobId?: string;
  /**
   * Whether it carried a key: an `authorization` or `x-api-key` header, or one of the sandbox's keys
   * in any header or in the URL. Must never be true of a download.
   */
  readonly carriedKey: boolean;
}

/** What a provider billed for one job. */
export interface SandboxCharge {
  readonly provider: SandboxProvider;
  readonly jobId: string;
  /** How many images were billed. */
  readonly images: number;
  /** In `unit`. */
  readonly amount: number;
  readonly unit: "USD" | "credits";
  /** The key that the create was sent with, where the provider honours one. */
  readonly idempotencyKey?: string;
}

/** How a job stands, whatever the provider's word for it. */
export type SandboxJobState = "queued" | "running" | "succeeded" | "failed";

/** A job that a provider accepted, as it stood when `jobs` was read. */
export interface SandboxJob {
  readonly provider: SandboxProvider;
  /** The OpenAI-compatible endpoint names no jobs; here each request has an id of the sandbox's own. */
  readonly jobId: string;
  readonly state: SandboxJobState;
}

/** Which requests a fault hits. */
export interface SandboxFaultTarget {
  /** For a download: the provider whose image it is. */
  readonly provider: SandboxProvider;
  readonly phase: SandboxFaultPhase;
  /** How many requests (of a webhook: jobs that end) it hits. Default 1; `Infinity` for all. */
  readonly times?: number;
  /** How many matching ones, counted from the call of `inject`, pass before it. Default 0. */
  readonly after?: number;
}

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

/** A webhook that the sandbox has posted, and how it was answered. */
export interface SandboxWebhook {
  readonly provider: SandboxProvider;
  /** The job that ended; a forged call may name another. */
  readonly jobId: string;
  /** It came of a `forged` fault, and is not the true one. */
  readonly forged: boolean;
  /** The fault that the job's webhook was hit by, where it was. */
  readonly fault?: SandboxFaultKind["fault"];
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** As a query of the job would answer. */
  readonly body: unknown;
  /** When it was posted, in milliseconds since 1970. */
  readonly at: number;
  /** The status of the response; undefined until there is one. */
  readonly status?: number;
  /** How long the response took, in milliseconds. */
  readonly answeredAfterMs?: number;
  /** Why there is no response: the connection failed, or nothing came for 10 s. */
  readonly error?: string;
}

/** A fault and the requests that it hits. */
export type SandboxFault = SandboxFaultTarget & SandboxFaultKind;

/** Four providers on this machine, and their images. Ends by `close()` or `await using`. */
export interface Sandbox extends AsyncDisposable {
  /** The origin of the API, without a trailing slash. */
  readonly url: string;
  /** The origin of the images, without a trailing slash: `url`, unless `separateCdn` is set. */
  readonly cdnUrl: string;
  /** ShortAPI; bills 0.06 USD a job at acceptance. */
  readonly shortapi: SandboxAccess;
  /**
   * aigptimage; bills at acceptance: 1K 4, 2K 8, 4K 16 credits. These figures are the sandbox's own
   * invention: no page states any.
   */
  readonly aigptimage: SandboxAccess;
  /** Trinetra; bills on success: low 3, medium and auto 7, high 14 credits an image. */
  readonly trinetra: SandboxAccess;
  /** `openaiCompatible` once more, for `openai()`; in records and faults it is `"openaiCompatible"`. */
  readonly openai: SandboxAccess;
  /** By tokens in USD, on success, even if the response never came. The page's path: `/openai/api/v1`. */
  readonly openaiCompatible: SandboxAccess;
  /** Every request that arrived, in order; grows as they come. */
  readonly requests: readonly SandboxRequest[];
  /** What was billed: one entry for each paid job. Up to date whenever it is read. */
  readonly charges: readonly SandboxCharge[];
  /** The jobs that were accepted, in order, as they stand now. */
  readonly jobs: readonly SandboxJob[];
  /**
   * Every webhook that was posted, in order. ShortAPI posts to the `callback_url` of the request,
   * Trinetra to the address of `setWebhook`; each posts once, when the job ends, what a query of the
   * job answers, and never tries again.
   */
  readonly webhooks: readonly SandboxWebhook[];
  /**
   * Sets the address on the provider's key, as its console does; without an address nothing is
   * posted any more. Counts for jobs that end from now on, and outlives `reset()`.
   * @throws TypeError when it is no http(s) URL.
   */
  setWebhook(provider: SandboxWebhookProvider, url: string | undefined): void;
  /**
   * Makes coming requests and webhooks fail. Each takes the first fault, in the order of injection, that matches
   * it and is due.
   * @throws TypeError when it makes no sense for that phase or provider, or has a field that it lacks.
   */
  inject(fault: SandboxFault): void;
  /** Forgets requests, charges, jobs, image URLs, webhooks and faults. Connections stay. */
  reset(): void;
  /** Ends all connections, hanging ones too, and every server. More calls do nothing. */
  close(): Promise<void>;
}
