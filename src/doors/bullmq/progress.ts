import type { ImageEvent } from "../../index";
import type { QueueJob } from "./types";

/** Writes the newest event of a job as its progress, one write at a time: what a slow queue misses is old. */
export class Progress {
  readonly #job: QueueJob;
  #newest: object | undefined;
  #writing: Promise<void> | undefined;

  constructor(job: QueueJob) {
    this.#job = job;
  }

  tell(event: ImageEvent): void {
    // It says nothing that the state of the job in the queue does not say.
    if (event.type === "submitting") return;
    this.#newest = JSON.parse(JSON.stringify(event));
    this.#writing ??= this.#write();
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#newest !== undefined) {
      const event = this.#newest;
      this.#newest = undefined;
      // It is for show alone: the job goes on without.
      await this.#job.updateProgress(event).catch(() => {});
    }
    this.#writing = undefined;
  }
}
