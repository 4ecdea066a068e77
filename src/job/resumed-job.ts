import { onceLoaded } from "../async/lazy";
import type { ImageEvent, ImageJob, ImageResult } from "../types";
import type { JobReference } from "../types/reference";
import type { JobStatus, StatusOptions, WaitCallOptions } from "../types/waiting";
import type { ParsedReference } from "./job";

/** The job of a reference: what goes on with it is made when it is first asked something. */
export class ResumedJob implements ImageJob {
  readonly id: string;
  readonly provider: string;
  readonly #reference: ParsedReference;
  readonly #resumed: () => Promise<ImageJob>;
  #job: ImageJob | undefined;

  constructor(reference: ParsedReference, resume: () => Promise<ImageJob>) {
    this.id = reference.id;
    this.provider = reference.provider;
    this.#reference = reference;
    this.#resumed = onceLoaded(async () => {
      this.#job = await resume();
      return this.#job;
    });
  }

  get reference(): JobReference {
    if (this.#job !== undefined) return this.#job.reference;
    const { submittedAt, tasks } = this.#reference;
    return {
      ...this.#reference,
      submittedAt: new Date(submittedAt).toISOString(),
      tasks: tasks.map(({ id, key, cost, ...task }) => ({
        ...task,
        ...(id !== undefined && { id }),
        ...(key !== undefined && { key }),
        ...(cost !== undefined && { cost: { ...cost } }),
      })),
    };
  }

  toJSON(): JobReference {
    return this.reference;
  }

  async status(options?: StatusOptions): Promise<JobStatus> {
    return (await this.#resumed()).status(options);
  }

  async result(options?: WaitCallOptions): Promise<ImageResult> {
    return (await this.#resumed()).result(options);
  }

  async release(): Promise<void> {
    return (await this.#resumed()).release();
  }

  async *events(options?: Pick<WaitCallOptions, "signal">): AsyncIterableIterator<ImageEvent> {
    yield* (await this.#resumed()).events(options);
  }
}
