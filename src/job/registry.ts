import type { RunningJob } from "./running-job";

/**
 * The jobs that a client works on, by their names here and at the provider, until they have ended.
 * Several may have one name: calls under the same idempotency key, or a job that was resumed.
 */
/** A job that a call may be about. */
export type WebhookTarget =
  | { readonly jobId: string; readonly index: number }
  | { readonly taskId: string };

export class LiveJobs {
  readonly #byJobId = new Map<string, Set<RunningJob>>();
  readonly #byTaskId = new Map<string, Set<RunningJob>>();

  add(job: RunningJob, ...taskIds: readonly string[]): void {
    put(this.#byJobId, job.id, job);
    for (const taskId of taskIds) put(this.#byTaskId, taskId, job);
  }

  delete(job: RunningJob): void {
    drop(this.#byJobId, job.id, job);
    for (const { id } of job.tasks) if (id !== undefined) drop(this.#byTaskId, id, job);
  }

  byJobId(id: string): RunningJob | undefined {
    return [...(this.#byJobId.get(id) ?? [])][0];
  }

  find(target: WebhookTarget): readonly RunningJob[] {
    const found =
      "taskId" in target ? this.#byTaskId.get(target.taskId) : this.#byJobId.get(target.jobId);
    return [...(found ?? [])];
  }
}

type Names = Map<string, Set<RunningJob>>;

function put(names: Names, name: string, job: RunningJob): void {
  const jobs = names.get(name);
  if (jobs === undefined) names.set(name, new Set([job]));
  else jobs.add(job);
}

function drop(names: Names, name: string, job: RunningJob): void {
  const jobs = names.get(name);
  jobs?.delete(job);
  if (jobs?.size === 0) names.delete(name);
}
