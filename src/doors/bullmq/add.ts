import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type ImageRequest, InvalidRequestError } from "../../index";
import { imageJobId, isImageJobData } from "./data";
import type { ImageJobData } from "./types";

/** A queue that takes orders; a `Queue` of BullMQ 6 is one. */
export interface OrderQueue<Options extends object, Added> {
  add(name: string, data: ImageJobData, options?: Options): Promise<Added>;
  getJob(id: string): Promise<{ readonly data: unknown } | undefined>;
}

/** What `addImageJob` takes beside the options of BullMQ. */
export interface AddImageJobOptions {
  /**
   * The number of the order, any text: added again, it is the same job. In the queue it is `job.id`, as
   * {@link imageJobId} writes it. The queue knows it for as long as it keeps the job: 30 days by default
   * (`removeOnComplete`), and after that it is bought again. The shortest time, or the smallest number, that
   * any order of a queue has there holds for all of them: BullMQ removes by it whatever has ended in the
   * queue (6.7). Default: a new one.
   */
  readonly jobId?: string;
  /** The job's name in the queue. Default `"image"`. */
  readonly name?: string;
  /** JSON, handed to `save`. */
  readonly metadata?: unknown;
}

/**
 * Orders pictures: adds a job that a worker with {@link createImageProcessor} makes.
 *
 * A refusal that passes (`error.retryable`) counts as an attempt of BullMQ: by default there are five, the
 * first again after two seconds. What may have been paid for does not depend on them.
 *
 * @throws {@link InvalidRequestError} for what cannot be put in a queue, such as the bytes of an image, and
 * for an order number under which something else was ordered.
 *
 * @example
 * ```ts
 * const queue = new Queue("images", { connection });
 * await addImageJob(queue, { prompt: "A dew-covered web at sunrise" }, { jobId: "order:4711" });
 * ```
 */
export async function addImageJob<Options extends object, Added>(
  queue: OrderQueue<Options, Added>,
  request: ImageRequest,
  options?: AddImageJobOptions & Omit<Options, keyof AddImageJobOptions>,
): Promise<Added> {
  const { jobId, name = "image", metadata, ...others } = options ?? {};
  const data: ImageJobData = {
    request: plainRequest(request),
    ...(metadata !== undefined && { metadata }),
  };
  const id = jobId === undefined ? `${randomUUID()}` : imageJobId(String(jobId));
  const merged = { ...defaults, ...others, jobId: id };
  // What is BullMQ's own goes through as it is: its type is the queue's.
  const added = await queue.add(name, data, merged as unknown as Options);
  if (jobId === undefined) return added;
  // Of an id that is there already `add` gives the new data, and keeps the old (BullMQ 6.7).
  const kept = (await queue.getJob(id)) as (Added & { readonly data: unknown }) | undefined;
  if (kept === undefined) return added;
  if (isImageJobData(kept.data) && isDeepStrictEqual(kept.data.request, data.request)) return kept;
  throw new InvalidRequestError({
    ...{ charged: "no", field: "options.jobId", given: "one of another request" },
    taken: "a number of its own for each order",
  });
}

const defaults = {
  ...{ attempts: 5, backoff: { type: "exponential", delay: 2_000 } },
  // Once the journal has forgotten an order, the queue alone knows that it was bought: removed, the same order
  // added again is bought again. The sweep must find it, too. In seconds.
  removeOnComplete: { age: 30 * 24 * 60 * 60 },
  // What a person must decide about is found there, whatever else the queue's options say.
  removeOnFail: false,
};

/** The request as JSON, which is what a queue keeps. */
function plainRequest(request: ImageRequest): ImageRequest {
  const { images, mask } = request;
  for (const [index, image] of (images ?? []).entries())
    checkInput(`request.images[${index}]`, image);
  if (mask !== undefined) checkInput("request.mask", mask);
  // A URL becomes its text, and nothing else in it was more than JSON.
  return JSON.parse(JSON.stringify(request)) as ImageRequest;
}

function checkInput(field: string, input: unknown): void {
  if (typeof input === "string" || input instanceof URL) return;
  const taken = "the URL of an image, since a queue keeps JSON that every worker reads";
  throw new InvalidRequestError({ charged: "no", field, given: "no URL", taken });
}
