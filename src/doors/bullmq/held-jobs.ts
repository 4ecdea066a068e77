import type { ImageJob, JobReference } from "../../index";

/** How many jobs are held, some kilobytes each. */
const most = 5_000;

/**
 * The jobs that this process has asked after, by their ids in the queue. Any worker may be the next, and the
 * reference is all that it needs; but a schedule learns from a job that it has seen running, and one that
 * was submitted here knows its journal.
 */
export class HeldJobs {
  readonly #jobs = new Map<string, { readonly job: ImageJob; readonly isJournaled: boolean }>();

  /** The job, if it is still what the queue says. */
  get(id: string, reference: JobReference) {
    const held = this.#jobs.get(id);
    const isSame = held !== undefined && namesOf(held.job.reference) === namesOf(reference);
    return isSame ? held : undefined;
  }

  /** What was held longest makes room. */
  set(id: string, job: ImageJob, isJournaled: boolean): void {
    this.#jobs.delete(id);
    this.#jobs.set(id, { job, isJournaled });
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size > most && oldest !== undefined) this.#jobs.delete(oldest);
  }

  delete(id: string): void {
    this.#jobs.delete(id);
  }
}

function namesOf({ id, tasks }: JobReference): string {
  return JSON.stringify([id, ...tasks.map((task) => task.id ?? "")]);
}
