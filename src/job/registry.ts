import type { RunningJob } from "./running-job";

/** A job that a webhook may be about. */
export type WebhookTarget =
  | { readonly jobId: string; readonly index: number }
  | { readonly taskId: string };

/**
 * The jobs that a client works on, by their names here and at the provider, until they have ended.
 * Several may have one name: calls under the same idempotency key, or a job that was resumed.
 */
export class LiveJobs {
  readonly #byJobId = new Map<string, Set<RunningJob>>();
  readonly #byTaskId = new Map<string, Set<RunningJob>>();
  #onAccepted: ((taskId: string) => void) | undefined;

  /** Hears of the names under which tasks are accepted. */
  onAccepted(listener: (taskId: string) => void): void {
    this.#onAccepted = listener;
  }

  /** Knows a job from now until it has ended. */
  follow(job: RunningJob): void {
    if (!job.isSettled) this.#add(job);
    this.#learn(job, () => true);
  }

  /** The same, only while something waits for it: references can be resumed any number of times. */
  followWhileAwaited(job: RunningJob): void {
    job.waiters.follow((isAwaited) => {
      if (!isAwaited) this.#delete(job);
      else if (!job.isSettled) this.#add(job);
    });
    this.#learn(job, () => job.waiters.isAwaited);
  }

  #learn(job: RunningJob, isKnown: () => boolean): void {
    job.follow((_, event, isEnd) => {
      if (event.type === "submitted" && event.id !== undefined) {
        if (isKnown()) put(this.#byTaskId, event.id, job);
        this.#onAccepted?.(event.id);
      }
      if (isEnd && job.isSettled) this.#delete(job);
    });
  }

  #add(job: RunningJob): void {
    put(this.#byJobId, job.id, job);
    for (const { id } of job.tasks) if (id !== undefined) put(this.#byTaskId, id, job);
  }

  #delete(job: RunningJob): void {
    drop(this.#byJobId, job.id, job);
    for (const { id } of job.tasks) if (id !== undefined) drop(this.#byTaskId, id, job);
  }

  /** Another process continues it: its end would never be seen here. */
  forget(job: RunningJob): void {
    this.#delete(job);
    job.vacate();
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
