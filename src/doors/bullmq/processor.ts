import { type ImageClient, InvalidRequestError } from "../../index";
import { isImageJobData } from "./data";
import { UnrecoverableError } from "./errors";
import { HeldJobs } from "./held-jobs";
import { Step } from "./step";
import { sweep, sweepName } from "./sweep";
import type { ImageProcessor, ImageProcessorOptions } from "./types";

/** What a worker of BullMQ is, as far as it is asked. */
interface OwnWorker {
  readonly opts: { readonly maxStalledCount?: number; readonly limiter?: unknown };
  rateLimit(expireTimeMs: number): Promise<void>;
}

/**
 * What a worker is to be made with. A worker that dies leaves its job stalled, and BullMQ fails the second
 * time without running it (`maxStalledCount`), though it may have been paid for. A rate limit is obeyed by
 * workers that have a `limiter` alone: this one lets pass whatever comes.
 *
 * @example
 * ```ts
 * new Worker("images", processor, { connection, concurrency: 50, ...imageWorkerOptions });
 * ```
 */
export const imageWorkerOptions = {
  maxStalledCount: 10_000,
  limiter: { max: 1_000_000_000, duration: 1_000 },
} as const;

/**
 * A processor for BullMQ's `Worker`, which makes what {@link addImageJob} has ordered: it submits under a key
 * of the job's own, waits in the delayed set, which holds no worker, asks again when the client's schedule
 * says so, saves, and returns paths and costs. Whatever is killed or cut off meanwhile: what was paid for is
 * delivered, and nothing is paid for twice.
 *
 * @throws {@link InvalidRequestError} for a client without a journal that all workers share.
 *
 * @example
 * ```ts
 * const client = createImageClient({ provider: trinetra(), journal: createPostgresJournal(pool) });
 * const save = (image: GeneratedImage, { id, index }: SaveContext) => image.save(`out/${id}-${index}.png`);
 * const processor = createImageProcessor(client, { queue, save });
 * new Worker("images", processor, { connection, concurrency: 50, ...imageWorkerOptions });
 * ```
 */
export function createImageProcessor(
  client: ImageClient,
  options: ImageProcessorOptions,
): ImageProcessor {
  checkOptions(options);
  checkJournal(client, options.sharedJournal === true);
  const parts = { client, options, held: new HeldJobs() };
  const told = new Set<string>();
  let isWarned = false;

  // BullMQ gives a signal to a function of three parameters alone, and calls it as the worker's own.
  return async function processImage(this: unknown, job, token, signal) {
    const worker = isWorker(this) ? this : undefined;
    const { maxStalledCount = Number.POSITIVE_INFINITY } = worker?.opts ?? {};
    if (maxStalledCount < fewStalls && !isWarned) {
      isWarned = true;
      process.emitWarning(
        `This worker has maxStalledCount ${maxStalledCount}: a job whose workers die more often is failed ` +
          "without being run, though it may have been paid for. Make it with `...imageWorkerOptions`",
      );
    }
    if (job.name === sweepName) return sweep(job, { ...parts, told });
    if (!isImageJobData(job.data) || job.id === undefined) {
      throw new UnrecoverableError("It is no job of addImageJob: its data has no request");
    }
    const { result } = job.data;
    if (result !== undefined) return result;
    const limiter = options.queue ?? worker;
    return new Step(
      { ...parts, limiter },
      { job, id: job.id, data: job.data, token, signal },
    ).run();
  };
}

const fewStalls = 100;

const optionNames: Readonly<Record<keyof ImageProcessorOptions, true>> = {
  ...{ save: true, queue: true, sharedJournal: true, onOrphan: true },
};

function checkOptions(options: ImageProcessorOptions): void {
  const stray = Object.keys(options).find((name) => !(name in optionNames));
  if (stray !== undefined) throw wrong(`options.${stray}`, "it", "no such option");
  if (typeof options.save !== "function") throw wrong("options.save", "none", "a function");
  const { queue } = options;
  if (queue === undefined || typeof queue.getJob === "function") return;
  throw wrong("options.queue", "one without getJob", "a Queue of BullMQ");
}

function checkJournal({ journal }: ImageClient, isDeclared: boolean): void {
  const taken = "a journal that all workers share, such as createPostgresJournal(pool)";
  if (journal === undefined) throw wrong("client.journal", "none", taken);
  if (journal.volatile) throw wrong("client.journal", "one that forgets with its process", taken);
  if (journal.shared || isDeclared) return;
  throw wrong(
    "client.journal",
    "one that does not say that machines share it",
    `${taken}, or the option sharedJournal where they do`,
  );
}

function wrong(field: string, given: string, taken: string): InvalidRequestError {
  return new InvalidRequestError({ charged: "no", field, given, taken });
}

function isWorker(value: unknown): value is OwnWorker {
  return (
    typeof value === "object" &&
    value !== null &&
    "opts" in value &&
    "rateLimit" in value &&
    typeof value.rateLimit === "function"
  );
}
