import type { ImageJob, ImageResult } from "../../index";

/** A job of a client, whose end and whose release the router hears of. */
export interface JobWatch {
  /** It has ended, as far as this process asked. */
  readonly ended?: (end: { readonly result: ImageResult } | { readonly error: unknown }) => unknown;
  readonly released?: () => Promise<void>;
}

/** The same job, watched. */
export function watched(job: ImageJob, { ended, released }: JobWatch): ImageJob {
  return {
    id: job.id,
    provider: job.provider,
    get reference() {
      return job.reference;
    },
    toJSON: () => job.toJSON(),
    status: (options) => job.status(options),
    events: (options) => job.events(options),
    async result(options) {
      try {
        const result = await job.result(options);
        await ended?.({ result });
        return result;
      } catch (error) {
        await ended?.({ error });
        throw error;
      }
    },
    async release() {
      await job.release();
      await released?.();
    },
  };
}

/** A client's result, with what the router has to say. */
export function withWarnings(
  result: ImageResult,
  warnings: readonly string[],
  job: ImageJob,
): ImageResult {
  const { image, images, failures, provider, model, cost, usage, timing, raw } = result;
  return {
    ...{ image, images, failures, provider, job, timing, raw },
    ...(model !== undefined && { model }),
    ...(cost !== undefined && { cost }),
    ...(usage !== undefined && { usage }),
    // What its images show once they are fetched is added to its own.
    get warnings() {
      return [...warnings, ...result.warnings];
    },
    toJSON() {
      return { ...result.toJSON(), warnings: this.warnings };
    },
  };
}
