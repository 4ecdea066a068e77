import type { ListedJob, ListedQueue, QueueState } from "./types";

const pageSize = 100;

/** In the order in which a job goes, so that one that moves on meanwhile is seen; one that stalls waits again. */
export const statesInOrder: readonly QueueState[] = [
  ...(["wait", "prioritized", "delayed", "active"] as const),
  ...(["failed", "completed", "wait"] as const),
];

/**
 * The jobs of one state, page by page, the newest first. A queue that moves on meanwhile shows some twice,
 * which are given once, and may show those that change their state not at all.
 */
export async function* jobsOf(
  queue: ListedQueue,
  state: QueueState,
): AsyncIterableIterator<ListedJob & { readonly id: string }> {
  const seen = new Set<string>();
  for (let start = 0; ; start += pageSize) {
    const page = await queue.getJobs([state], start, start + pageSize - 1, false);
    for (const job of page) {
      // One that was removed meanwhile is listed without anything in it.
      if (job?.id === undefined || seen.has(job.id)) continue;
      seen.add(job.id);
      yield Object.assign(job, { id: job.id });
    }
    if (page.length < pageSize) return;
  }
}
