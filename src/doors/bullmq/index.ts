/**
 * A processor for BullMQ 6, on Redis or PostgreSQL: many workers, each of which may be killed.
 *
 * @module gpt-image-client/bullmq
 */
export { type AddImageJobOptions, addImageJob, type OrderQueue } from "./add";
export { imageJobId } from "./data";
export { createImageProcessor, imageWorkerOptions } from "./processor";
export { promoteImageJob } from "./promote";
export { type ScheduledQueue, type SweepReport, scheduleImageSweep } from "./sweep";
export type {
  ImageJobData,
  ImageJobProblem,
  ImageJobResult,
  ImageProcessor,
  ImageProcessorOptions,
  ListedJob,
  ListedQueue,
  QueueJob,
  QueueState,
  SaveContext,
  SweptQueue,
} from "./types";
export { listUnknown, type UnknownImageJob } from "./unknown";
