import type { Cost } from "./cost";
import type { ImageError } from "./errors";
import type { GeneratedImage } from "./generated-image";
import type { ImageJob } from "./job";
import type { Usage } from "./provider";

/** When a job was sent and settled. */
export interface Timing {
  /** When the first create was sent. */
  readonly submittedAt: Date;
  /** When the last task was known to have settled. */
  readonly completedAt: Date;
  /** Milliseconds between the two. */
  readonly durationMs: number;
  /** How many polls this process sent. */
  readonly polls: number;
}

/** What an `ImageResult` is made of. */
export interface ResultFacts {
  readonly images: readonly [GeneratedImage, ...GeneratedImage[]];
  readonly failures: readonly ImageError[];
  readonly provider: string;
  readonly model: string | undefined;
  readonly job: ImageJob;
  readonly cost: Cost | undefined;
  readonly usage: Usage | undefined;
  readonly warnings: readonly string[];
  readonly timing: Timing;
  readonly raw: readonly unknown[];
}

/** The pictures, and what they cost. The same whoever made them. */
export class ImageResult {
  /** The first of `images`. */
  readonly image: GeneratedImage;
  /** At least one. */
  readonly images: readonly [GeneratedImage, ...GeneratedImage[]];
  /** The errors of split tasks that gave nothing, and of images that could not be saved. */
  readonly failures: readonly ImageError[];
  /** The provider's name. */
  readonly provider: string;
  /** As the provider names it, where it does. */
  declare readonly model?: string;
  /** The job that was paid for: `job.release()` lets a journal forget it. */
  readonly job: ImageJob;
  /** Of the tasks that succeeded; absent where the provider does not say. */
  declare readonly cost?: Cost;
  /** Tokens, where the provider counts them. */
  declare readonly usage?: Usage;
  /** When it was sent and settled, and after how many polls. */
  readonly timing: Timing;
  /** The provider's last answer for each task that succeeded, without image bytes. */
  readonly raw: readonly unknown[];
  readonly #warnings: readonly string[];

  constructor(facts: ResultFacts) {
    this.images = facts.images;
    this.image = facts.images[0];
    this.failures = facts.failures;
    this.provider = facts.provider;
    this.job = facts.job;
    this.#warnings = facts.warnings;
    this.timing = facts.timing;
    this.raw = facts.raw;
    if (facts.model !== undefined) this.model = facts.model;
    if (facts.cost !== undefined) this.cost = facts.cost;
    if (facts.usage !== undefined) this.usage = facts.usage;
  }

  /**
   * What was left out or came otherwise than asked, in sentences; also what its images have shown since
   * they were fetched.
   */
  get warnings(): readonly string[] {
    return [...this.#warnings, ...this.images.flatMap((image) => image.warnings)];
  }

  /** Short and safe to log: no image bytes, no prompt, no key. */
  toJSON(): Record<string, unknown> {
    const { provider, model, cost, usage, warnings, timing, images, failures, job } = this;
    return { provider, model, cost, usage, warnings, timing, images, failures, job };
  }
}
