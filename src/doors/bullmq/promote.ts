import type { ImageJob, JobReference } from "../../index";
import { isImageJobData } from "./data";
import { isLost } from "./insist";
import { jobsOf } from "./listing";
import type { ListedQueue } from "./types";

/** So often the delayed jobs are read anew, at most, to find one that is not known. */
const leastMs = 1_000;

interface Index {
  readonly readAt: number;
  readonly ids: ReadonlyMap<string, string>;
}

const indexes = new WeakMap<ListedQueue, Promise<Index>>();

/** The delayed jobs, by the ids of their references. */
async function read(queue: ListedQueue): Promise<Index> {
  const readAt = Date.now();
  const ids = new Map<string, string>();
  for await (const { id, data } of jobsOf(queue, "delayed")) {
    if (isImageJobData(data) && data.reference !== undefined) ids.set(data.reference.id, id);
  }
  return { readAt, ids };
}

/**
 * Has a job asked after at once that waits in the delayed set: for a webhook, in whichever process it comes
 * in. False where none waits by that reference, as one that a worker is at; the job's next poll sees its end
 * in any case.
 *
 * @example
 * ```ts
 * const webhooks = { url, secret, onSettled: (job: ImageJob) => promoteImageJob(queue, job) };
 * const client = createImageClient({ provider, journal, webhooks });
 * server.post("/webhooks", client.webhooks.listener);
 * ```
 */
export async function promoteImageJob(
  queue: ListedQueue & { getJob(id: string): Promise<{ promote(): Promise<void> } | undefined> },
  { id }: Pick<ImageJob | JobReference, "id">,
): Promise<boolean> {
  let index = await indexes.get(queue)?.catch(() => undefined);
  if (index === undefined || (!index.ids.has(id) && Date.now() - index.readAt >= leastMs)) {
    const reading = read(queue);
    indexes.set(queue, reading);
    index = await reading;
  }
  const waiting = index.ids.get(id);
  if (waiting === undefined) return false;
  const job = await queue.getJob(waiting);
  try {
    await job?.promote();
    return job !== undefined;
  } catch (error) {
    // It is no longer delayed: a worker is at it, or was.
    if (isLost(error)) return false;
    throw error;
  }
}
