import { createHash } from "node:crypto";
import type { ImageJobData, ImageJobResult, QueueJob } from "./types";

/** Whether a job of a queue is one of {@link addImageJob}. */
export function isImageJobData(value: unknown): value is ImageJobData {
  return isObject(value) && isObject(value.request);
}

/** Whether a job was completed by our processor, and not by something that went wrong. */
export function isImageJobResult(value: unknown): value is ImageJobResult {
  return isObject(value) && Array.isArray(value.files);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/**
 * The idempotency key of a job. BullMQ counts up the ids of jobs that were added without one, and begins
 * anew in an emptied queue: such a key has the time as well, or a new job would be given an old picture.
 */
export function keyOf({ id = "", queueQualifiedName, timestamp }: QueueJob): string {
  const isCounted = /^\d+$/.test(id);
  return ["bullmq", queueQualifiedName, id, ...(isCounted ? [timestamp] : [])].join("/");
}

/** No longer id stands in an index of PostgreSQL, beside the name of its queue. */
const longestId = 200;

/**
 * The id of a job in the queue: the one that was given, where BullMQ takes it. It takes no colons and no
 * numbers; and on Redis (6.7) a job named `completed` or `meta` would lie under the key that the queue
 * itself has for that, so that one without a digit is encoded too.
 */
export function imageJobId(given: string): string {
  const isPlain = given.length <= longestId && /^(?=.*\d)[\w.@-]+$/.test(given);
  if (isPlain && !/^-?\d+$/.test(given) && !given.startsWith(escaped)) return given;
  const bytes = Buffer.from(given, "utf8");
  const encoded = `${escaped}${bytes.toString("base64url")}`;
  // Two texts with lone surrogates may have the same bytes, and a long one has too many.
  if (encoded.length <= longestId && bytes.toString("utf8") === given) return encoded;
  return `${escaped}sha256-${createHash("sha256").update(given, "utf16le").digest("base64url")}`;
}

const escaped = "image-";
