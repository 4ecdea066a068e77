import type * as z from "zod/mini";
import type { Usage } from "../cost";
import type { ProviderResponse } from "../http/messages";
import type { ImageBytes } from "../realm";
import type { Operation } from "../types/reference";

export type { ProviderResponse } from "../http/messages";

import type { Charged, Cost } from "../cost";
import type { DecodedImage } from "../media/decoded-image";
import type { DimensionRule } from "./dimensions";

/** An HTTP request, described: the transport adds the origin, the key and everything that can go wrong. */
export interface Call {
  readonly method: "GET" | "POST";
  /** Appended to the provider's base URL. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: { readonly json: unknown } | { readonly parts: readonly Part[] };
}

/** One part of a multipart body. */
export interface Part {
  readonly name: string;
  readonly value: string | ImageFile;
}

/** An input image as bytes, with the type that the bytes have. */
export interface ImageFile {
  readonly bytes: ImageBytes;
  readonly mediaType: string;
  readonly fileName: string;
}

/** Which of a provider's two questions was asked. */
export type Phase = "create" | "query";

/** What a task is made of once everything in it has been checked. */
export interface Task<Parameters = Readonly<Record<string, unknown>>, Options = unknown> {
  readonly operation: Operation;
  /** The portable fields that this operation takes, as its schema gave them. */
  readonly parameters: Parameters;
  /** The provider's own entry of `providerOptions`, as its schema gave it. */
  readonly options: Options;
  /** How many images this one task asks for. */
  readonly n: number;
  /** The input images of a provider that takes URLs; otherwise empty. */
  readonly imageUrls: readonly string[];
  /** The input images of a provider that takes bytes; otherwise empty. */
  readonly imageFiles: readonly ImageFile[];
  readonly mask?: ImageFile;
  /** The idempotency key: the same in every attempt at this task. */
  readonly key: string;
  /** Where the provider shall post the outcome, at one that takes the address with the request. */
  readonly webhookUrl?: string;
}

/** What a response means. */
export type Outcome = Pending | Absent | Succeeded | Refused;

/** The job waits or runs. */
export interface Pending {
  readonly state: "queued" | "running";
  /** The provider's id of the job; must be there in the response to a create. */
  readonly id?: string | undefined;
  /** The provider's own word for its state. */
  readonly word: string;
  /** False where the adapter had never heard the word. */
  readonly known: boolean;
  /** 0 to 1, where the provider says. */
  readonly progress?: number | undefined;
  readonly cost?: Cost | undefined;
}

/** The provider does not know the job: just after the create that passes. */
export interface Absent {
  readonly state: "absent";
  readonly message: string;
}

/** The pictures are there. */
export interface Succeeded {
  readonly state: "succeeded";
  readonly outputs: readonly Output[];
  readonly cost?: Cost | undefined;
  readonly usage?: Usage | undefined;
  readonly model?: string | undefined;
  /** What is not as it was asked, by the provider's own word. */
  readonly warnings?: readonly string[] | undefined;
}

/** One picture, as a URL or as base64; both where the provider gives both. */
export interface Output {
  readonly url?: string | undefined;
  /** As {@link imageField} reads it. */
  readonly base64?: string | DecodedImage | undefined;
  readonly revisedPrompt?: string | undefined;
}

/** A picture that is not done, as an event of a stream shows it in base64. */
export interface PartialOutput extends Output {
  /** Its place among them, from 0; counted where the provider does not say. */
  readonly index?: number | undefined;
}

/** What a refusal or a failure is about; each becomes a class of error. */
export const refusalKinds = [
  "invalid_request",
  "authentication",
  "permission_denied",
  "insufficient_credits",
  "rate_limited",
  "moderation",
  "generation_failed",
  "malformed_response",
  "provider_unavailable",
  "submission_unknown",
] as const;

/** One of {@link refusalKinds}. */
export type RefusalKind = (typeof refusalKinds)[number];

/** A no: `"refused"` is a no to this one exchange, `"failed"` is the end of the job. */
export interface Refused {
  readonly state: "refused" | "failed";
  readonly kind: RefusalKind;
  readonly charged: Charged;
  /**
   * Whether the same exchange may be repeated: `"never"`; `"wait"`, after a while, since nothing was
   * accepted; `"keyed"`, only under an idempotency key, since it may have been accepted.
   */
  readonly resend: "never" | "wait" | "keyed";
  readonly message: string;
  readonly code?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly stage?: string | undefined;
  readonly categories?: readonly string[] | undefined;
  readonly cost?: Cost | undefined;
  /** The option or request field at fault, where it is known, such as `baseURL`. */
  readonly field?: string | undefined;
  /** False where a later attempt will end the same: the error is then not `retryable`. */
  readonly transient?: false | undefined;
}

/** What an operation takes of input images. */
export interface InputRule {
  /** How many at most. */
  readonly maxCount: number;
  /** `"url"`: the provider fetches them itself. `"bytes"`: they are uploaded with the request. */
  readonly as: "url" | "bytes";
  /** The media types it reads; checked where the bytes are available. */
  readonly mediaTypes?: readonly string[];
  /** The largest file it takes. */
  readonly maxBytes?: number;
  /** With `as: "url"`: only `https:` URLs are taken. */
  readonly httpsOnly?: boolean;
  /** Whether a mask may come along; with `as: "bytes"` alone. */
  readonly mask: boolean;
}

/** One thing that a provider can do, with its schemas bound to its mapping. */
export interface BoundOperation {
  /** The portable fields it takes. */
  readonly fields: readonly string[];
  /** What may stand in the provider's entry of `providerOptions`. */
  readonly optionNames: readonly string[];
  readonly maxImagesPerTask: number;
  readonly dimensions?: DimensionRule | undefined;
  readonly inputs?: InputRule | undefined;
  /** Checks parameters and options; on success gives the functions that need them. */
  bind(
    parameters: unknown,
    options: unknown,
  ):
    | {
        readonly parameterIssues: readonly z.core.$ZodIssue[];
        readonly optionIssues: readonly z.core.$ZodIssue[];
      }
    | BoundTask;
}

/** A task of a checked request, to be completed with what only the sending knows. */
export interface BoundTask {
  create(sending: Omit<Task, "parameters" | "options">): Call;
  price(n: number): Cost | undefined;
}

/**
 * A provider, described: data and pure functions. It never fetches, waits, loops, catches or reads
 * the environment; the client does all of that, the same way for everyone.
 */
export interface Adapter {
  /** The name in results, errors and events, such as `"trinetra"`. */
  readonly name: string;
  /** The provider's entry in `providerOptions`, beside the one under its name. */
  readonly optionsName?: string;
  /** The variable of the environment that holds the key. */
  readonly keyVariable?: string;
  /** The headers that carry the key. */
  authorize(apiKey: string): Readonly<Record<string, string>>;
  /** `"images"`: the create's response is the outcome, so there is nothing to poll and nothing to resume. */
  readonly answersWith: "job" | "images";
  /** A create repeated with the same `task.key` yields the same job and is billed once. */
  readonly idempotent: boolean;
  /**
   * Whether its schemas read images with {@link imageField}: those of a large response are then decoded
   * while it comes, and never a string. Without it they are the strings that the provider sent.
   */
  readonly decodesImages?: boolean;
  /**
   * Whether a server-sent event of that type shows a picture that a later event completes. It is shown to
   * the caller and let go of; without this every picture of a stream is one that was paid for.
   */
  isPartial?(type: string): boolean;
  /** A field, with a number in it, that such an event alone has: it tells of one that names no type. */
  readonly partialField?: string;
  /** What such an event shows. */
  readPartial?(event: unknown): PartialOutput | undefined;
  /**
   * Whether a server-sent event of that type has a picture whole. When as many have come as were asked
   * for the stream is given a second to end: some servers keep it open.
   */
  isCompleted?(type: string): boolean;
  /**
   * Its endpoint is the caller's own: an `error.charged` of `"no"` in a body is believed, and `cost` and
   * `warnings` beside its images. `"yes"` and `"unknown"` always are, by the client.
   */
  readonly trustsCharged?: boolean;
  /** For how long after the create `absent` means "not yet". Default 15,000. */
  readonly absentGraceMs?: number;
  /** The least wait between two polls of a job that it asks for, in milliseconds, where it does. */
  readonly pollFloorMs?: number;
  /** What it posts when a job has ended, where it does. */
  readonly webhook?: WebhookDescription;
  readonly operations: { readonly generate: BoundOperation; readonly edit?: BoundOperation };
  /** How to ask after a job; for every provider that answers with a job. */
  query?(id: string): Call;
  /** What a response means: the one place that knows this provider's words. Never throws. */
  read(phase: Phase, response: ProviderResponse): Outcome;
}

/** What a provider posts when a job has ended. */
export interface WebhookDescription {
  /** `"request"`: the address goes with each create. `"account"`: it is set once, at the provider. */
  readonly address: "request" | "account";
  /** The provider's id of the job that a body is about; with `"request"` the address itself says it. */
  read(body: unknown): string | undefined;
  /**
   * For a provider that signs: the content whose HMAC-SHA256 (in base64) must equal the signature;
   * `undefined` where the call carries none.
   */
  signature?(call: {
    readonly body: unknown;
    readonly headers: Readonly<Record<string, string>>;
    readonly text: string;
  }): { readonly content: string; readonly signature: string } | undefined;
}
