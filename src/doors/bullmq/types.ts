import type {
  Charged,
  Cost,
  GeneratedImage,
  ImageJob,
  ImageRequest,
  JobReference,
  Usage,
} from "../../index";

/** Why a job is tried again, or was given up. */
export interface ImageJobProblem {
  /** As errors of this package have it, or `"save_failed"`. */
  readonly code: string;
  readonly message: string;
  /** When it was last met, in milliseconds since 1970. */
  readonly at: number;
  /** How many times in a row. */
  readonly tries: number;
  /** No start of the job up to this one can have sent it, or can still send it, without its being known. */
  readonly run?: number;
}

/** The `data` of a job: what was ordered, and what is known of it. */
export interface ImageJobData {
  readonly request: ImageRequest;
  /** The user's own, for `save`. */
  readonly metadata?: unknown;
  /** The provider's job, once there may be one: `client.resume` takes it. */
  readonly reference?: JobReference;
  readonly problem?: ImageJobProblem;
  /** It was given up, and this is what is known of the money. */
  readonly charged?: Charged;
  /** It was delivered. */
  readonly result?: ImageJobResult;
  /** How many times the sweep has put it back. */
  readonly sweeps?: number;
}

/** What a job returns: JSON, without image bytes. */
export interface ImageJobResult {
  /** What `save` gave for each image. */
  readonly files: readonly string[];
  readonly provider: string;
  readonly model?: string;
  /** Of the tasks that succeeded; absent where the provider does not say. */
  readonly cost?: Cost;
  readonly usage?: Usage;
  /** The job's id in the journal, as in its reference. */
  readonly jobId: string;
  readonly warnings: readonly string[];
  /** Of tasks of a split request that gave nothing, as `error.toJSON()` has them, without their jobs. */
  readonly failures: readonly Record<string, unknown>[];
  /** From the first create to the last end, in milliseconds. */
  readonly durationMs: number;
}

/** What `save` is told of an image. */
export interface SaveContext {
  /** The id of the job in the queue. */
  readonly id: string;
  /** Which image of the job, from 0. */
  readonly index: number;
  /** As the job was added. */
  readonly metadata: unknown;
}

/** What a processor is given. */
export interface ImageProcessorOptions {
  /**
   * Puts an image where it belongs, and resolves with its path or URL once it is there for good. It may be
   * called again for an image that it has saved, by another worker: name files by `context.id` and
   * `context.index`. What it throws is tried again until it succeeds; for ten minutes only, in the same
   * worker, where the journal could not keep the image.
   */
  readonly save: (image: GeneratedImage, context: SaveContext) => Promise<string> | string;
  /**
   * The queue that the worker works on: it is paused while the provider's rate limit is hit, swept, and asked
   * before each write whether the job has been started elsewhere since. Without it a rate limit pauses the
   * queue only where BullMQ calls the processor itself, nothing is swept, and a worker that was cut off for
   * longer than its lock may write what it knows over what others have found out since.
   */
  readonly queue?: SweptQueue;
  /**
   * Says that all workers reach the same journal, where it does not say so itself: a directory on a disk
   * that they share, or a journal of your own. Default false. Never of `memoryJournal()`.
   */
  readonly sharedJournal?: boolean;
  /**
   * Hears of a job in the journal that no job of the queue is about, as after a queue has lost its data:
   * it may have been paid for. Told of once for each job in a process. `job.result()` gives its pictures, `job.release()` forgets it. Default: a
   * process warning.
   */
  readonly onOrphan?: (job: ImageJob) => unknown;
}

/** What a processor needs of a job; a `Job` of BullMQ 6 has it. */
export interface QueueJob {
  readonly id?: string | undefined;
  readonly name: string;
  readonly data: unknown;
  readonly progress: unknown;
  readonly timestamp: number;
  readonly attemptsMade: number;
  /** This run of it included. */
  readonly attemptsStarted: number;
  readonly opts: { readonly attempts?: number | undefined };
  readonly queueQualifiedName: string;
  updateData(data: ImageJobData): Promise<void>;
  updateProgress(progress: object): Promise<void>;
  moveToDelayed(timestamp: number, token?: string): Promise<void>;
}

/** A function for `new Worker(name, processor, …)`. */
export type ImageProcessor = (
  job: QueueJob,
  token?: string,
  signal?: AbortSignal,
) => Promise<ImageJobResult>;

/** A job as a queue lists it. */
export interface ListedJob {
  readonly id?: string | undefined;
  readonly data: unknown;
  readonly returnvalue: unknown;
  readonly failedReason?: string | undefined;
  readonly finishedOn?: number | undefined;
  readonly timestamp: number;
  readonly attemptsStarted: number;
  updateData(data: ImageJobData): Promise<void>;
  retry(state: "completed" | "failed"): Promise<void>;
}

/** A queue that is read; a `Queue` of BullMQ 6 is one. */
export interface ListedQueue {
  getJobs(
    types: QueueState[],
    start?: number,
    end?: number,
    ascending?: boolean,
  ): Promise<(ListedJob | undefined)[]>;
}

/** Where jobs of a queue stand. */
export type QueueState = "wait" | "active" | "delayed" | "prioritized" | "completed" | "failed";

/** A queue that is paused and swept; a `Queue` of BullMQ 6 is one. */
export interface SweptQueue extends ListedQueue {
  getJob(id: string): Promise<Pick<ListedJob, "attemptsStarted"> | undefined>;
  rateLimit(expireTimeMs: number): Promise<void>;
}
