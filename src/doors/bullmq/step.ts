import {
  type GeneratedImage,
  type ImageClient,
  type ImageError,
  type ImageJob,
  type ImageResult,
  isImageError,
  type JobReference,
  type JobStatus,
  type ProviderImageClient,
} from "../../index";
import { keyOf } from "./data";
import { Doubt } from "./doubt";
import { DelayedError, messageOf, UnrecoverableError } from "./errors";
import type { HeldJobs } from "./held-jobs";
import { insist } from "./insist";
import { Progress } from "./progress";
import { rescuedResult, resultOf } from "./result";
import { imagesOf, type SaveOptions, saveImages } from "./save";
import type {
  ImageJobData,
  ImageJobProblem,
  ImageJobResult,
  ImageProcessorOptions,
  QueueJob,
} from "./types";
import {
  allOf,
  decisiveOf,
  failuresToWaitFor,
  isAskable,
  isUnkept,
  type Verdict,
  verdictOn,
  withoutSucceeded,
} from "./verdict";

/** What all steps of a processor share. */
export interface StepParts {
  readonly client: ImageClient;
  readonly options: ImageProcessorOptions;
  readonly held: HeldJobs;
  /** What pauses the queue, where there is something. */
  readonly limiter: { rateLimit(expireTimeMs: number): Promise<void> } | undefined;
}

/** The job that a worker was given. */
export interface StepJob {
  readonly job: QueueJob;
  readonly id: string;
  readonly data: ImageJobData;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
}

const longestBackoffMs = 5 * 60 * 1000;
const longestDelayMs = 60 * 60 * 1000;

/** For another worker, where this one is to stop. */
const putBackMs = 1_000;

/** One run of a job by a worker: from where the last one left it to the next wait, or to its end. */
export class Step {
  readonly #parts: StepParts;
  readonly #job: QueueJob;
  readonly #id: string;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #progress: Progress;
  #data: ImageJobData;
  /** Problems that this run had not met yet. */
  readonly #triesBefore: number;
  readonly #doubt: Doubt;

  constructor(parts: StepParts, { job, id, data, token, signal }: StepJob) {
    this.#parts = parts;
    this.#job = job;
    this.#id = id;
    this.#token = token;
    this.#signal = signal;
    this.#progress = new Progress(job);
    // A job that was given up runs again because somebody wants it to.
    const { charged, ...rest } = data;
    this.#doubt = new Doubt(data, job.attemptsStarted);
    this.#triesBefore = charged === undefined ? (data.problem?.tries ?? 0) : 0;
    this.#data = rest;
  }

  async run(): Promise<ImageJobResult> {
    try {
      this.#signal?.throwIfAborted();
      return await this.#advance();
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      return await this.#afterError(error);
    } finally {
      await this.#progress.idle();
    }
  }

  async #advance(): Promise<ImageJobResult> {
    const { job, isJournaled, isNew } = await this.#imageJob();
    const status = await job.status(isNew ? { poll: false } : this.#limits);
    if (!status.settled) {
      this.#parts.held.set(this.#id, job, isJournaled);
      return this.#delay(status, isNew);
    }
    const kept = isJournaled ? job : await this.#journaled(job);
    return this.#deliver(await kept.result(this.#limits), kept);
  }

  get #limits() {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  /** The provider's job: one that was accepted before, or a new one. */
  async #imageJob(): Promise<{ job: ImageJob; isJournaled: boolean; isNew: boolean }> {
    const { client, held } = this.#parts;
    const { reference } = this.#data;
    if (reference !== undefined && isAskable(reference)) {
      const known = held.get(this.#id, reference);
      return { ...(known ?? { job: client.resume(reference), isJournaled: false }), isNew: false };
    }
    const job = await this.#submit();
    const { problem: _, ...data } = this.#data;
    await this.#write({ ...data, reference: job.reference });
    return { job, isJournaled: true, isNew: true };
  }

  /** Sends the order, or finds what was made of it: the journal knows by the key. */
  #submit(): Promise<ImageJob> {
    const { client } = this.#parts;
    // A create that brings the pictures would be torn by an abort, and may have been paid for.
    const limits = client.capabilities.resumable ? this.#limits : {};
    return client.submit(this.#data.request, {
      ...limits,
      idempotencyKey: keyOf(this.#job),
      // Another worker may go on with it, and a refusal is waited for in the queue.
      detached: true,
      retryRefused: false,
      onEvent: (event) => this.#progress.tell(event),
    });
  }

  /**
   * The same job as the journal has it, which keeps its pictures until they are saved. Where there is no
   * record of it any more, as after a person released it, a submit would buy it once more.
   */
  async #journaled(job: ImageJob): Promise<ImageJob> {
    const { client } = this.#parts;
    const isKept = !knowsRecords(client) || (await client.holds(job.reference));
    return isKept ? this.#submit() : job;
  }

  /** Leaves the worker to others until the job is to be asked after again. */
  async #delay({ nextPollMs = putBackMs, state, progress }: JobStatus, isNew: boolean) {
    const { reference, problem } = this.#data;
    if (problem !== undefined) {
      const { problem: _, ...data } = this.#data;
      await this.#write(data);
    }
    if (!isNew && reference !== undefined && isNews(this.#job.progress, state, progress)) {
      this.#progress.tell({
        ...{ type: "status", provider: reference.provider, jobId: reference.id, task: 0 },
        ...{ at: Date.now(), state: state === "queued" ? state : "running", word: state },
        ...{ known: true, ...(progress !== undefined && { progress }) },
      });
    }
    return this.#moveToDelayed(nextPollMs);
  }

  async #moveToDelayed(delayMs: number): Promise<never> {
    // PostgreSQL takes whole milliseconds alone (BullMQ 6.7), and no schedule is taken at its word for days.
    const at = Date.now() + Math.ceil(Math.min(Math.max(1, delayMs), longestDelayMs));
    await this.#progress.idle();
    await insist(() => this.#job.moveToDelayed(at, this.#token));
    throw new DelayedError();
  }

  /** @param isHereAlone for images that nobody else can have. */
  async #write(data: ImageJobData, isHereAlone = false): Promise<void> {
    await insist(() => writeOwn(this.#job, data, isHereAlone ? undefined : this.#parts.options));
    this.#data = data;
  }

  /**
   * Saves the pictures. The journal keeps them: a worker that was cut off before its intent record may still
   * write one, and would buy again if the key were free. The sweep lets go of them once none can be left.
   */
  async #deliver(result: ImageResult, job: ImageJob): Promise<ImageJobResult> {
    await this.#waitForOthers(result, job);
    // First what is in memory alone.
    const unkept = imagesOf(result.failures.filter(isUnkept));
    const rescued = await this.#saved(unkept, {
      ...{ firstIndex: result.images.length, isInMemoryAlone: true },
    });
    const files = [...(await this.#saved(result.images)), ...rescued];
    const { problem: _, ...data } = this.#data;
    const summary = resultOf(result, files);
    await this.#write({ ...data, reference: job.reference, result: summary }, unkept.length > 0);
    this.#parts.held.delete(this.#id);
    return summary;
  }

  /** Some tasks of a split request gave images: another one that was paid for may be had later. */
  async #waitForOthers({ failures }: ImageResult, { reference }: ImageJob): Promise<void> {
    const left = withoutSucceeded(reference);
    const open = failuresToWaitFor(failures, left).find((failure) =>
      ["again", "pause"].includes(this.#verdictOn(failure, left)),
    );
    if (open === undefined) return;
    this.#data = { ...this.#data, reference };
    // The one that this process holds has ended, and would say the same each time.
    this.#parts.held.delete(this.#id);
    await this.#again(open.code, open.message, open.retryAfterMs);
  }

  #verdictOn(error: ImageError, reference: JobReference | undefined): Verdict {
    const isIdempotent = this.#parts.client.capabilities.idempotent;
    return verdictOn(error, reference, { tries: this.#triesBefore, isIdempotent });
  }

  #saved(images: readonly GeneratedImage[], options: SaveOptions = {}): Promise<string[]> {
    const { metadata } = this.#data;
    const order = { id: this.#id, metadata, signal: this.#signal };
    return saveImages(images, this.#parts.options.save, { ...order, ...options });
  }

  async #afterError(error: unknown): Promise<ImageJobResult> {
    const isOurs = isImageError(error);
    this.#doubt.learn(error);
    const reference = (isOurs ? error.job?.reference : undefined) ?? this.#data.reference;
    if (reference !== undefined) this.#data = { ...this.#data, reference };
    // Before anything else: they are in memory alone.
    if (isOurs && reference !== undefined && !isAskable(reference) && allOf(error).some(isUnkept)) {
      return this.#rescue(error, reference);
    }
    if (this.#signal?.aborted) {
      await this.#write(this.#data);
      return this.#moveToDelayed(putBackMs);
    }
    if (!isOurs) {
      // The pictures are there, and could not be saved.
      if (reference !== undefined) return this.#again("save_failed", messageOf(error));
      return this.#attempt(error);
    }
    const decisive = decisiveOf(error);
    const { code, message, retryAfterMs } = decisive;
    switch (this.#verdictOn(decisive, reference)) {
      case "pause":
        await pauseQueue(this.#parts.limiter, retryAfterMs);
        return this.#again(code, message, retryAfterMs);
      case "again":
        return this.#again(code, message, retryAfterMs);
      case "attempt":
        return this.#attempt(error);
      case "final":
        return this.#giveUp(decisive);
    }
  }

  #problemOf(code: string, message: string): ImageJobProblem {
    const known = this.#doubt.lastKnown;
    return { code, message, at: Date.now(), tries: this.#triesBefore + 1, ...known };
  }

  async #again(code: string, message: string, retryAfterMs = 0): Promise<never> {
    await this.#write({ ...this.#data, problem: this.#problemOf(code, message) });
    const backoffMs = Math.min(longestBackoffMs, 1_000 * 2 ** Math.min(this.#triesBefore, 20));
    return this.#moveToDelayed(Math.max(retryAfterMs, backoffMs));
  }

  /** Nothing was charged: the next attempt, if BullMQ makes one, begins anew. */
  async #attempt(error: unknown): Promise<never> {
    const { reference: _, ...data } = this.#data;
    const { code, charged, message } = this.#doubt.endBy(error);
    const problem = this.#problemOf(code, message);
    const isLast = this.#job.attemptsMade + 1 >= (this.#job.opts.attempts ?? 1);
    this.#parts.held.delete(this.#id);
    await this.#write({ ...data, problem, ...(isLast && { charged }) });
    throw error;
  }

  /** What a person must see stands in the job's data: of an error BullMQ keeps words alone. */
  async #giveUp(error: ImageError): Promise<never> {
    const { code, charged, message } = this.#doubt.endBy(error);
    this.#parts.held.delete(this.#id);
    await this.#write({ ...this.#data, problem: this.#problemOf(code, message), charged });
    // Its key is free: nothing is to be kept of it.
    if (charged === "no") await error.job?.release().catch(warnOfRecord);
    throw Object.assign(new UnrecoverableError(message), { cause: error });
  }

  /** They came whole, and neither the journal nor the provider has them: there is no second chance. */
  async #rescue(error: ImageError, reference: JobReference): Promise<ImageJobResult> {
    const unkept = allOf(error).filter(isUnkept);
    // The reference first, for whoever looks after a crash. A queue that is away must not keep the images
    // from being saved: what is written after them throws the same.
    await this.#write(this.#data).catch(() => {});
    let files: string[];
    try {
      files = await this.#saved(imagesOf(unkept), { isInMemoryAlone: true });
    } catch (cause) {
      process.emitWarning(`${this.#id}: images were paid for, and not saved: ${messageOf(cause)}`);
      return this.#giveUp(decisiveOf(error));
    }
    const { problem: _, ...data } = this.#data;
    const summary = rescuedResult(error, reference, files);
    await this.#write({ ...data, result: summary }, true);
    return summary;
  }
}

/** BullMQ (6.7) takes the data of a job from whoever gives it: what a run that was cut off knows is old. */
async function writeOwn(
  job: QueueJob,
  data: ImageJobData,
  { queue }: Pick<ImageProcessorOptions, "queue"> = {},
): Promise<void> {
  if (queue !== undefined && job.id !== undefined) {
    // One that was removed takes no data, and a queue that never had it knows nothing.
    const { attemptsStarted } = (await queue.getJob(job.id)) ?? job;
    if (attemptsStarted !== job.attemptsStarted) throw new DelayedError();
  }
  await job.updateData(data);
}

/** Nobody asks the provider for so long. */
async function pauseQueue(limiter: StepParts["limiter"], retryAfterMs = putBackMs): Promise<void> {
  const pauseMs = Math.ceil(Math.min(retryAfterMs, longestDelayMs));
  if (limiter !== undefined && pauseMs > 0) await insist(() => limiter.rateLimit(pauseMs));
}

function isNews(told: unknown, state: string, progress: number | undefined): boolean {
  const before: { state?: unknown; progress?: unknown } =
    typeof told === "object" && told !== null ? told : {};
  return before.state !== state || before.progress !== progress;
}

/** Whether a client can tell what its journal holds. */
function knowsRecords(client: ImageClient): client is ProviderImageClient {
  return "holds" in client && typeof client.holds === "function";
}

/** The journal's retention clears it away. */
function warnOfRecord(error: unknown): void {
  process.emitWarning(`The journal keeps a job that was given up: ${messageOf(error)}`);
}
