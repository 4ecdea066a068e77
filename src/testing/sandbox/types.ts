import type { SandboxFault, SandboxFaultKind } from "./fault-types";
import type { SandboxPhase, SandboxProvider } from "./targets";

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
