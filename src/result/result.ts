import type { Cost, Usage } from "../cost";
import type { ImageError, ImageJob, ImageResult as Result, Timing } from "../types";
import type { GeneratedImage } from "../types/image";

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

export class ImageResult implements Result {
  readonly image: GeneratedImage;
  readonly images: readonly [GeneratedImage, ...GeneratedImage[]];
  readonly failures: readonly ImageError[];
  readonly provider: string;
  declare readonly model?: string;
  readonly job: ImageJob;
  declare readonly cost?: Cost;
  declare readonly usage?: Usage;
  readonly timing: Timing;
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

  get warnings(): readonly string[] {
    return [...this.#warnings, ...this.images.flatMap((image) => image.warnings)];
  }

  toJSON(): Record<string, unknown> {
    const { provider, model, cost, usage, warnings, timing, images, failures, job } = this;
    return { provider, model, cost, usage, warnings, timing, images, failures, job };
  }
}
