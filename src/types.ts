// The public types that name one another: an error has a job, whose result has failures, which are errors.
import type { Charged, Cost } from "./cost";
import { withStop } from "./sentences";

/** The two things that a provider can be asked to do. */
export type Operation = "generate" | "edit";

/** Tokens, as the provider counted them. */
export interface Usage {
  /** All that went in. */
  readonly inputTokens?: number;
  /** All that came out. */
  readonly outputTokens?: number;
  /** Both together, as the provider says. */
  readonly totalTokens?: number;
  /** The part of `inputTokens` that is text. */
  readonly inputTextTokens?: number;
  /** The part of `inputTokens` that is images. */
  readonly inputImageTokens?: number;
  /** The part of `inputTokens` that came from a cache, and is cheaper. */
  readonly cachedInputTokens?: number;
  /** The part of `cachedInputTokens` that is text. */
  readonly cachedInputTextTokens?: number;
  /** The part of `cachedInputTokens` that is images. */
  readonly cachedInputImageTokens?: number;
  /** The part of `outputTokens` that is text. */
  readonly outputTextTokens?: number;
  /** The part of `outputTokens` that is images. */
  readonly outputImageTokens?: number;
}

/**
 * How far a task is. `"waiting"`: not sent yet. `"submitting"`: the create is on its way.
 * `"refused"`: the provider did not take it. `"unknown"`: sent, and its response was lost.
 */
export type TaskState =
  | "waiting"
  | "submitting"
  | "queued"
  | "running"
  | "succeeded"
  | "failed"
  | "refused"
  | "unknown";

/** One native request of a job. */
export interface TaskReference {
  /** Its place in the job, from 0. */
  readonly index: number;
  /** How many images it asks for. */
  readonly n: number;
  /** The provider's id, once it has accepted. */
  readonly id?: string;
  /** The idempotency key that was sent, at a provider that honours one. */
  readonly key?: string;
  /** How far it was when the reference was made. */
  readonly state: TaskState;
  /** What the provider said it costs; some say so in the response to the create alone. */
  readonly cost?: Cost;
}

/** A job as plain JSON: no key, no prompt. Any process can resume it. */
export interface JobReference {
  /** The version of this form. */
  readonly v: 1;
  /** Ours, minted before anything is sent. */
  readonly id: string;
  /** The provider's name: a client of another one refuses it. */
  readonly provider: string;
  /** Where the provider was reached, without a query. */
  readonly baseURL: string;
  /** What was asked for. */
  readonly operation: Operation;
  /** When the call was made, as ISO 8601. */
  readonly submittedAt: string;
  /** Its native requests; several where `n` was split. */
  readonly tasks: readonly TaskReference[];
}

/** The second argument of everything that waits. */
export interface WaitCallOptions {
  /** Aborting rejects at once with the signal's own reason; nothing more is sent. */
  readonly signal?: AbortSignal;
  /** Milliseconds from the sending of the create (in `job.result`: from this call). Default: the client's. */
  readonly timeoutMs?: number;
  /**
   * A directory: images are written there as they arrive, whole files only. `generate`, `edit` and
   * `submit` try it before anything is paid, and throw an `InvalidRequestError` where it cannot be
   * made or written to. A relative path is resolved at the call.
   */
  readonly saveTo?: string;
}

/** The second argument of `generate`, `edit` and `submit`. */
export interface CallOptions extends WaitCallOptions {
  /**
   * Sent where the provider honours one (each task of a split request derives its own from it), so
   * that the same call made again does not pay again.
   */
  readonly idempotencyKey?: string;
  /**
   * Awaited once the provider has accepted, before the first poll: the place to save
   * `job.reference`. Called again for each further task of a split request, with the same `job.id`.
   * If it throws, the call rejects with a `CallbackError` that carries the job.
   */
  readonly onSubmitted?: (job: ImageJob) => unknown;
  /** Hears what happens. What it throws is ignored. */
  readonly onEvent?: (event: ImageEvent) => unknown;
  /** Comes back in every event of this call. */
  readonly metadata?: unknown;
  /**
   * Whose order it is, such as `{ team: "web" }`: a router keeps them in its ledger and limits budgets by
   * them. A client by itself does nothing with them.
   */
  readonly tags?: Readonly<Record<string, string>>;
  /**
   * Whether a create that nothing came of for the moment (429, not available, no connection) is sent again
   * within the time-out. With `false` its error comes at once, so that a router can ask another provider.
   * Default true.
   */
  readonly retryRefused?: boolean;
  /**
   * Of a `submit`: the job goes on in another process, by its reference. This client lets go of it, and of
   * its place under `concurrency`, once the provider has answered; without it the job has both until this
   * client sees its end. Default false.
   */
  readonly detached?: boolean;
}

/** The argument of `job.status`. */
export interface StatusOptions extends Pick<WaitCallOptions, "signal"> {
  /** Whether the provider is asked; `false` gives what is known here. Default true. */
  readonly poll?: boolean;
}

/** What one poll of a job said. */
export interface JobStatus {
  /** `"succeeded"` as soon as nothing runs any more and one task gave pictures. */
  readonly state: "queued" | "running" | "succeeded" | "failed" | "unknown";
  /** Nothing will change any more: `job.result()` answers without waiting. */
  readonly settled: boolean;
  /** 0 to 1, where the provider says. */
  readonly progress?: number;
  /**
   * How long this client would wait by its schedule before it polled again, in milliseconds; absent once
   * there is nothing left to ask the provider. For a queue that holds no worker meanwhile.
   */
  readonly nextPollMs?: number;
  /** Each native request of the job, as of now. */
  readonly tasks: readonly TaskReference[];
}

/** A picture that is not done: to be shown, and not to be kept in place of the one that was paid for. */
export interface PartialImage {
  /** Its place among the partial images of its task, from 0. */
  readonly index: number;
  /** A whole file. */
  readonly bytes: Uint8Array;
  /** By the bytes. */
  readonly mediaType: string;
}

/**
 * What happened to a task, as it happens. `JSON.stringify(event)` is safe to send to a browser: it has
 * neither `metadata` nor the provider's id of the job nor a reference, of a file its name alone, and of a
 * partial image its index and its size. A
 * copy (`{ ...event }`) is not: pick its fields.
 */
export type ImageEvent = {
  /** The provider's name. */
  readonly provider: string;
  /** The job's own id, as in its reference. */
  readonly jobId: string;
  /** Which task of a split request. */
  readonly task: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The `metadata` of the call. */
  readonly metadata?: unknown;
} & (
  | { readonly type: "submitting" }
  | { readonly type: "submitted"; readonly id: string | undefined }
  /** Comes when something of it has changed, or after a poll that failed. */
  | {
      readonly type: "status";
      readonly state: "queued" | "running";
      /** The provider's own word. */
      readonly word: string;
      /** False for an unknown word: polling continues. */
      readonly known: boolean;
      readonly progress?: number;
    }
  | {
      /** An exchange gave no response that counts, and will be repeated. */
      readonly type: "retry";
      readonly phase: "create" | "poll" | "download";
      readonly reason: string;
      readonly delayMs: number;
    }
  /** The picture as far as it is done: with `partialImages`, at a provider that streams. */
  | ({ readonly type: "partial" } & PartialImage)
  | { readonly type: "succeeded"; readonly images: number; readonly cost?: Cost }
  /** The task has failed, or nobody could ask after it any more: `error.code` says which. */
  | { readonly type: "failed"; readonly error: ImageError }
  | { readonly type: "saved"; readonly file: string }
);

/** A generation that was paid for, or may have been. */
export interface ImageJob {
  /** Ours, minted before anything was sent. */
  readonly id: string;
  /** The provider's name. */
  readonly provider: string;
  /** As plain JSON, for a database or a queue. A new object each time, as of now. */
  readonly reference: JobReference;
  toJSON(): JobReference;
  /** One poll of each task that is not settled; waits for no state to change. */
  status(options?: StatusOptions): Promise<JobStatus>;
  /**
   * Waits for the end.
   *
   * @throws {@link ImageError} as `generate` does; the signal's reason if it aborts.
   */
  result(options?: WaitCallOptions): Promise<ImageResult>;
  /**
   * Lets a journal forget the job, and with it the images that it keeps: save what you need first. A
   * submitted job no longer counts for the client's `concurrency`.
   *
   * @throws {@link JournalError} if the journal cannot be written.
   */
  release(): Promise<void>;
  /** Events from the newest on, until the job is settled; several listeners share one polling loop. Ends without throwing. */
  events(options?: Pick<WaitCallOptions, "signal">): AsyncIterableIterator<ImageEvent>;
}

/** When a job was sent and settled. */
export interface Timing {
  /** When the first create was sent. */
  readonly submittedAt: Date;
  /** When the last task was known to have settled. */
  readonly completedAt: Date;
  /** Milliseconds between the two. */
  readonly durationMs: number;
  /** How many polls this process sent. */
  readonly polls: number;
}

/** What an image file says of itself. */
export interface ImageInfo {
  /** By the bytes, whatever was asked for. */
  readonly mediaType: string;
  /**
   * In pixels, as a browser shows it: cropped and turned as the file says. `undefined` where the file
   * does not tell, as an SVG without lengths of its own, or is broken.
   */
  readonly width: number | undefined;
  /** In pixels, as `width`. */
  readonly height: number | undefined;
  /** The size of the file, in bytes. */
  readonly byteLength: number;
}

/** One picture. Its bytes are fetched on demand, and at most once. */
export interface GeneratedImage {
  /** Where the provider keeps it, often for a short time only. */
  readonly url?: string;
  /** The prompt as the model understood it, where the provider says. */
  readonly revisedPrompt?: string;
  /** Where it was saved, once it was. */
  readonly file?: string;
  /** What was wrong with its file, though it was delivered, in sentences; known once it was fetched. */
  readonly warnings: readonly string[];
  /**
   * The file's bytes, from the journal, `file`, the response or `url`, in memory of their own (one that
   * came as large base64 may have zeros behind it there). They are the same for all: copy before you change
   * or transfer them. A download that fails is repeated alone, an expired URL is asked for afresh.
   *
   * @throws {@link DownloadError} if no place gives them; calling again tries again.
   */
  bytes(): Promise<Uint8Array>;
  /** The bytes as a web stream, fetched and kept like those of `bytes()`. */
  stream(): ReadableStream<Uint8Array>;
  /** The bytes as base64, without a data URL's head. */
  base64(): Promise<string>;
  /** The bytes as a `Blob` with their true media type. */
  blob(): Promise<Blob>;
  /**
   * A `Response` with the true content type, to return from a web handler. An SVG comes in a sandbox: it
   * runs no script, whoever drew it.
   *
   * @example
   * ```ts
   * app.get("/picture", async () => (await client.generate({ prompt })).image.response());
   * ```
   */
  response(): Promise<Response>;
  /**
   * Media type and dimensions, read from the bytes.
   *
   * @throws {@link DownloadError} if the bytes cannot be had, or are no image of a known type.
   */
  info(): Promise<ImageInfo>;
  /**
   * Writes the file: first under a temporary name, then renamed, so that a half-written file is never seen.
   * Directories on the way are made. Returns the absolute path.
   *
   * @throws {@link DownloadError} if it cannot be fetched or written.
   */
  save(path: string): Promise<string>;
  /** Short: where it is, not what is in it. */
  toJSON(): Record<string, unknown>;
}

/** The pictures, and what they cost. The same whoever made them. */
export interface ImageResult {
  /** The first of `images`. */
  readonly image: GeneratedImage;
  /** At least one. */
  readonly images: readonly [GeneratedImage, ...GeneratedImage[]];
  /** The errors of split tasks that gave nothing, and of images that could not be saved. */
  readonly failures: readonly ImageError[];
  /** The provider's name. */
  readonly provider: string;
  /** As the provider names it, where it does. */
  readonly model?: string;
  /** The job that was paid for: `job.release()` lets a journal forget it. */
  readonly job: ImageJob;
  /** Of the tasks that succeeded; absent where the provider does not say. */
  readonly cost?: Cost;
  /** Tokens, where the provider counts them. */
  readonly usage?: Usage;
  /** When it was sent and settled, and after how many polls. */
  readonly timing: Timing;
  /** The provider's last response for each task that succeeded, without image bytes. */
  readonly raw: readonly unknown[];
  /**
   * What was left out or came otherwise than asked, in sentences; also what its images have shown since
   * they were fetched.
   */
  readonly warnings: readonly string[];
  /** Short and safe to log: no image bytes, no prompt, no key. */
  toJSON(): Record<string, unknown>;
}

/** What tells an error of this package, whichever copy of it. */
export const brand = Symbol.for("gpt-image-client.error");

/** What an error is made of. Each class writes its sentence from these. */
export interface ErrorFacts {
  /** The provider's own words, or what went wrong in ours; becomes part of the message. */
  readonly detail?: string | undefined;
  readonly provider?: string | undefined;
  readonly charged: Charged;
  /** The failure passes by itself. What may have been paid is never `retryable`, whatever is said here. */
  readonly transient?: boolean | undefined;
  readonly job?: ImageJob | undefined;
  readonly cost?: Cost | undefined;
  readonly status?: number | undefined;
  readonly providerCode?: string | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly raw?: unknown;
  readonly cause?: unknown;
  readonly failures?: readonly ImageError[] | undefined;
  readonly images?: readonly GeneratedImage[] | undefined;
  readonly partialImage?: PartialImage | undefined;
  /** The option or request field at fault, where it is known. */
  readonly field?: string | undefined;
}

/** What an error says last. */
export const chargeSentence: Record<Charged, string> = {
  no: "Nothing was charged.",
  yes: "It was charged.",
  unknown: "It may have been charged.",
};

/**
 * The base of every error that this package makes. Branch on {@link ImageError.code}, never on the
 * message.
 *
 * @example
 * ```ts
 * try {
 *   await client.generate({ prompt });
 * } catch (error) {
 *   if (!isImageError(error)) throw error;
 *   if (error.charged !== "no") await review(error.job?.reference);
 * }
 * ```
 */
export abstract class ImageError extends Error {
  /** A literal for each class, for `switch`. */
  abstract readonly code: string;
  /** The provider's name, such as `"trinetra"`; absent where no provider was involved. */
  declare readonly provider?: string;
  /** Whether money was spent. */
  readonly charged: Charged;
  /** Sending the same request again may succeed, and cannot pay twice. */
  readonly retryable: boolean;
  /** The job that was paid for, or may have been: `await error.job.result()` goes on with it. */
  declare readonly job?: ImageJob;
  /** What was charged, where the provider said so before it failed; a refund leaves none. */
  declare readonly cost?: Cost;
  /** The HTTP status of the response. */
  declare readonly status?: number;
  /** The provider's own code, as a string. */
  declare readonly providerCode?: string;
  /** The provider's id of the exchange, for its support. */
  declare readonly requestId?: string;
  /** How long the provider asks to wait, in milliseconds. */
  declare readonly retryAfterMs?: number;
  /** The provider's response, without image bytes and without the key. */
  declare readonly raw?: unknown;
  /**
   * Images that were paid for though the call failed: they came whole before their response broke off, the
   * journal could not keep them, or what came of one that ends early. Absent without any.
   */
  declare readonly images?: readonly GeneratedImage[];
  /**
   * How far the picture had come when its stream failed, where `partialImages` had shown any. It is not
   * the picture that was asked for, and `saveTo` never writes it.
   */
  declare readonly partialImage?: PartialImage;
  /** The option or request field at fault, such as `size` or `baseURL`, where it is known. */
  declare readonly field?: string;
  /** The errors of the other tasks of a split request, or the other problems of a bad one. */
  readonly failures: readonly ImageError[];

  constructor(sentence: string, facts: ErrorFacts) {
    const who = facts.provider === undefined ? "" : `${facts.provider}: `;
    const said = facts.detail?.trim() ?? "";
    const detail = said === "" ? "" : ` ${withStop(said)}`;
    super(
      `${who}${sentence}${detail} ${chargeSentence[facts.charged]}`,
      facts.cause === undefined ? undefined : { cause: facts.cause },
    );
    Object.defineProperty(this, brand, { value: true });
    this.charged = facts.charged;
    this.retryable = facts.charged === "no" && facts.transient === true;
    this.failures = facts.failures ?? [];
    if (facts.provider !== undefined) this.provider = facts.provider;
    if (facts.job !== undefined) this.job = facts.job;
    if (facts.cost !== undefined) this.cost = facts.cost;
    if (facts.status !== undefined) this.status = facts.status;
    if (facts.providerCode !== undefined) this.providerCode = facts.providerCode;
    if (facts.requestId !== undefined) this.requestId = facts.requestId;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
    if (facts.raw !== undefined) this.raw = facts.raw;
    if (facts.images !== undefined && facts.images.length > 0) this.images = facts.images;
    if (facts.partialImage !== undefined) this.partialImage = facts.partialImage;
    if (facts.field !== undefined) this.field = facts.field;
  }

  /** Short and safe to log: no image bytes, no prompt, no key, no raw response. */
  toJSON(): Record<string, unknown> {
    const { name, code, message, provider, charged, retryable } = this;
    const { cost, status, providerCode, requestId, retryAfterMs, field } = this;
    return {
      ...{ name, code, message, provider, charged, retryable },
      ...{ cost, status, providerCode, requestId, retryAfterMs, field },
      job: this.job?.reference,
      ...(this.failures.length > 0 && { failures: this.failures.map((each) => each.toJSON()) }),
    };
  }
}
