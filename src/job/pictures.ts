import type { Output, Succeeded } from "../adapter/contract";
import { type AbortSignalLike, abortSignalOf, callerSignal } from "../async/clock";
import type { Cost } from "../cost";
import { DownloadError, isImageError, MalformedResponseError, reasonOf } from "../errors";
import type { Read } from "../http/downloader";
import type { TaskEntry } from "../journal/entry";
import { DecodedImage } from "../media/decoded-image";
import {
  GeneratedImage,
  type ImageSource,
  isCutShort,
  letGo,
  nameInPlace,
  saveInto,
} from "../result/generated-image";
import { type ErrorFacts, ImageError } from "../types";
import { freshOutputs } from "./query";
import type { TaskServices } from "./services";

/** Whose pictures they are. */
export interface PicturedTask {
  readonly index: number;
  readonly entry: TaskEntry | undefined;
  /** How many were asked for. */
  readonly n: number;
  /** The provider's id of the job. */
  readonly id: string | undefined;
  readonly cost: Cost | undefined;
}

/** The pictures of a call, of which some may not have been saved. */
export interface Delivered {
  readonly images: readonly GeneratedImage[];
  readonly failures: readonly ImageError[];
}

/** The pictures of one task: where they come from, and where they are kept. */
export class TaskPictures {
  readonly #services: TaskServices;
  readonly #task: PicturedTask;
  #images: readonly GeneratedImage[] | undefined;
  /** What they were made of, until it is let go: base64 may be in it. */
  #outcome: Succeeded | undefined;

  constructor(services: TaskServices, task: PicturedTask) {
    this.#services = services;
    this.#task = task;
  }

  /** The same objects for all who ask for the result: an image is fetched once. */
  of(outcome: Succeeded): readonly GeneratedImage[] {
    if (this.#images === undefined) {
      this.#images = this.#make(outcome.outputs);
      this.#outcome = outcome;
    }
    return this.#images;
  }

  /** The images hold what is in it from now on. */
  forgetOutcome(): void {
    this.#outcome = undefined;
  }

  /** What a call is given, saved where it has a directory for that. What ends the call is thrown. */
  deliver(
    outcome: Succeeded,
    saveTo: string | undefined,
    signal: AbortSignalLike | undefined,
  ): Delivered | Promise<Delivered> {
    const made = this.of(outcome);
    const whole = made.filter((image) => !isCutShort(image));
    const cutShort = made.filter(isCutShort).map((image) => this.#cutShortError(image));
    return saveTo === undefined
      ? { images: whole, failures: cutShort }
      : this.#saveAll(whole, cutShort, saveTo, signal);
  }

  async #saveAll(
    whole: readonly GeneratedImage[],
    cutShort: readonly ImageError[],
    saveTo: string,
    signal: AbortSignalLike | undefined,
  ): Promise<Delivered> {
    const saved = await Promise.all(whole.map((each) => this.#save(each, saveTo, signal)));
    const images = saved.filter((each) => each instanceof GeneratedImage);
    const failures = [...cutShort, ...saved.filter((each) => each instanceof ImageError)];
    return { images, failures };
  }

  /** Complete images recovered from an unsuccessful response. */
  async salvage(images: readonly Output[]): Promise<readonly GeneratedImage[]> {
    const made = this.#make(images);
    await Promise.all(made.map(nameInPlace));
    return made;
  }

  /**
   * Puts the pictures where they outlive the process; `undefined` where they must not. With a journal the
   * bytes are on the disk before anybody hears of success, and the record after them.
   */
  keep(outcome: Succeeded): Promise<void> | undefined {
    const isNameless = outcome.outputs.some(({ base64 }) => base64 instanceof DecodedImage);
    const { entry } = this.#task;
    const isKept = entry?.record !== undefined && !entry.released;
    return isNameless || isKept ? this.#keep(outcome, isKept ? entry : undefined) : undefined;
  }

  async #keep(outcome: Succeeded, entry: TaskEntry | undefined): Promise<void> {
    // Whether or not anybody waits for it still.
    await Promise.all(this.of(outcome).map(nameInPlace));
    if (entry === undefined) return;
    // Another poll's response may hold fresher URLs than the images of an earlier try. Those of the same
    // response are the same: somebody may hold them by an error, and they were perhaps fetched already.
    if (this.#outcome !== outcome) this.#images = undefined;
    const images = this.of(outcome);
    await Promise.all(
      images.map(async (image, position) => entry.writeImage(position, await image.bytes())),
    );
    await entry.succeeded(outcome, this.#task.cost);
    // Not earlier: they are not read from there until the record says so, and a retry needs them all.
    // A job that was released meanwhile has them in memory alone.
    if (!entry.released) for (const image of images) letGo(image);
  }

  #make(outputs: readonly Output[]): readonly GeneratedImage[] {
    return outputs.map((output, position) => {
      return new GeneratedImage(output, new TaskImage(this.#services, this.#task, position));
    });
  }

  /** An image that was paid for, of which the response held the beginning alone. */
  #cutShortError(image: GeneratedImage): ImageError {
    const detail = "Its image ends early: what came of it is in `error.images`";
    const { cost } = this.#task;
    return new MalformedResponseError({ ...this.#facts, cost, images: [image], detail });
  }

  async #save(
    image: GeneratedImage,
    directory: string,
    signal: AbortSignalLike | undefined,
  ): Promise<GeneratedImage | ImageError> {
    try {
      const file = await saveInto(image, directory, signal && abortSignalOf(signal));
      this.#services.events.emit(this.#task.index, { type: "saved", file });
      return image;
    } catch (error) {
      signal?.throwIfAborted();
      if (isImageError(error)) return error;
      return new DownloadError({ ...this.#facts, detail: String(error), cause: error });
    }
  }

  get #facts(): ErrorFacts {
    const { provider } = this.#services.client;
    const { job } = this.#services;
    return { provider: provider.name, charged: "yes", job };
  }
}

/** Where an image of a task comes from. */
class TaskImage implements ImageSource {
  readonly #services: TaskServices;
  readonly #task: PicturedTask;
  readonly #position: number;
  declare readonly stored?: () => Promise<Uint8Array | undefined>;

  constructor(services: TaskServices, task: PicturedTask, position: number) {
    this.#services = services;
    this.#task = task;
    this.#position = position;
    const { entry } = task;
    if (entry !== undefined) this.stored = () => entry.readImage(position);
  }

  get facts(): ErrorFacts {
    const { provider } = this.#services.client;
    const { job } = this.#services;
    return { provider: provider.name, charged: "yes", job, cost: this.#task.cost };
  }

  get name(): string {
    return `${this.#services.job.id}-${this.#task.index}-${this.#position}`;
  }

  clean(cause: unknown): unknown {
    return this.#services.client.api.safe(cause);
  }

  download<Value>(url: string, read: Read<Value>, signal?: AbortSignal): Promise<Value> {
    const { transport, api } = this.#services.client;
    const { events } = this.#services;
    return transport.download(url, read, {
      signal: signal && callerSignal(signal),
      onRetry: (delayMs, error) => {
        const reason = api.clean(reasonOf(error));
        events.emit(this.#task.index, { type: "retry", phase: "download", reason, delayMs });
      },
    });
  }

  async refresh(signal?: AbortSignal): Promise<string | undefined> {
    const outputs = await freshOutputs(this.#task, this.#services, signal);
    return outputs?.[this.#position]?.url;
  }
}
