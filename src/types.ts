// The public types that name one another: an error has a job, whose result has failures, which are errors.
import type { Charged, Cost, Usage } from "./cost";
import { withStop } from "./sentences";
import type { GeneratedImage, PartialImage } from "./types/image";
import type { JobReference } from "./types/reference";
import type { JobStatus, StatusOptions, WaitCallOptions } from "./types/waiting";

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
  /**
   * What was charged, where the provider said so before it failed; a refund leaves none. Of a split request
   * it is that of the one task that the error is of.
   */
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
  /**
   * The errors of the other tasks of a split request, or the other problems of a bad one. When several tasks
   * fail, the error thrown is the first that may have been charged; failing that, the first that was
   * charged; failing that, the first.
   */
  readonly failures: readonly ImageError[];

  constructor(sentence: string, facts: ErrorFacts) {
    const who = facts.provider === undefined ? "" : `${facts.provider}: `;
    const said = facts.detail?.trim() ?? "";
    const text = `${who}${sentence}${said === "" ? "" : ` ${withStop(said)}`}`;
    const charge = chargeSentence[facts.charged];
    super(
      // What a gateway of this package says ends with it.
      text.endsWith(charge) ? text : `${text} ${charge}`,
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
