import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { bytesOf } from "./body";
import type { Cost } from "./cost";
import { DecodedImage } from "./decoded-image";
import {
  DownloadError,
  type ErrorFacts,
  type ImageError,
  MalformedResponseError,
  reasonOf,
} from "./errors";
import { FileSink } from "./file-sink";
import type { ImageJob } from "./job";
import { mediaInfo } from "./measure";
import { sniff } from "./media";
import type { Output, Usage } from "./provider";
import { DownloadFault, type Read } from "./transport";

/** What an image file says of itself. */
export interface ImageInfo {
  /** By the bytes, whatever was asked for. */
  readonly mediaType: string;
  /**
   * In pixels, as a browser shows it: cropped and turned as the file says. `undefined` where the file
   * does not tell, as an SVG without lengths of its own, or is broken.
   */
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly byteLength: number;
}

/** What an image needs of its client. */
export interface ImageSource {
  readonly facts: ErrorFacts;
  /** The file's name in a `saveTo` directory, without its extension. */
  readonly name: string;
  /** A cause without the key in it. */
  clean(cause: unknown): unknown;
  download<Value>(url: string, read: Read<Value>, signal?: AbortSignal): Promise<Value>;
  /** The bytes as the journal keeps them, once it does. */
  readonly stored?: (() => Promise<Uint8Array | undefined>) | undefined;
  /** Asks the provider for a fresh URL in place of one that has expired. */
  refresh?(signal?: AbortSignal): Promise<string | undefined>;
}

/** As `image.save`, named by the job and what the bytes are, and held on disk alone from then on. */
export let saveInto: (
  image: GeneratedImage,
  directory: string,
  signal: AbortSignal | undefined,
) => Promise<string>;

/** Gives an image that went into a directory as it came its name there. */
export let nameInPlace: (image: GeneratedImage) => Promise<void>;

/** Hands the bytes to a journal, and from then on reads them there. */
export let keepIn: (
  image: GeneratedImage,
  write: (bytes: Uint8Array) => Promise<void>,
) => Promise<void>;

/** One picture. Its bytes are fetched on demand, and at most once. */
export class GeneratedImage {
  /** Where the provider keeps it, often for a short time only. */
  declare readonly url?: string;
  /** The prompt as the model understood it, where the provider says. */
  declare readonly revisedPrompt?: string;
  /** Where it was saved, once it was. */
  declare readonly file?: string;
  readonly #source: ImageSource;
  #base64: string | DecodedImage | undefined;
  #bytes: Promise<Uint8Array> | undefined;
  /** Settles, always well, when a download that goes straight to the disk has ended. */
  #streaming: Promise<unknown> | undefined;

  constructor({ url, base64, revisedPrompt }: Output, source: ImageSource) {
    this.#source = source;
    this.#base64 = base64;
    if (url !== undefined) this.url = url;
    if (revisedPrompt !== undefined) this.revisedPrompt = revisedPrompt;
  }

  /**
   * The file's bytes. A download that fails is repeated alone; one whose URL has expired asks the
   * provider for a fresh one.
   *
   * @throws {@link DownloadError} if they cannot be had; calling again tries again.
   */
  bytes(): Promise<Uint8Array> {
    if (this.#bytes === undefined) {
      const loading = this.#load();
      this.#bytes = loading;
      loading.catch(() => {
        this.#bytes = undefined;
      });
    }
    return this.#bytes;
  }

  /** The bytes as a web stream, fetched and kept like those of `bytes()`. */
  stream(): ReadableStream<Uint8Array> {
    const load = () => this.bytes();
    return new ReadableStream({
      async pull(controller) {
        controller.enqueue(await load());
        controller.close();
      },
    });
  }

  /** The bytes as base64, without a data URL's head. */
  async base64(): Promise<string> {
    const bytes = await this.bytes();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  }

  /** The bytes as a `Blob` with their true media type. */
  async blob(): Promise<Blob> {
    const bytes = await this.bytes();
    return new Blob([bytes], { type: mediaTypeOf(bytes) });
  }

  /**
   * A `Response` with the true content type, to return from a web handler.
   *
   * @example
   * ```ts
   * app.get("/picture", async () => (await client.generate({ prompt })).image.response());
   * ```
   */
  async response(): Promise<Response> {
    const bytes = await this.bytes();
    return new Response(bytes, {
      headers: {
        "content-type": mediaTypeOf(bytes),
        "content-length": String(bytes.byteLength),
        // The type is what the bytes say: no browser shall guess another.
        "x-content-type-options": "nosniff",
      },
    });
  }

  /**
   * Media type and dimensions, read from the bytes.
   *
   * @throws {@link DownloadError} if the bytes cannot be had, or are no image of a known type.
   */
  async info(): Promise<ImageInfo> {
    const bytes = await this.bytes();
    const info = mediaInfo(bytes);
    if (info === undefined) {
      throw this.#error("Its bytes are no PNG, JPEG, WebP, GIF, AVIF, SVG or HEIC");
    }
    return { ...info, byteLength: bytes.byteLength };
  }

  /**
   * Writes the file: first beside its place, then renamed, so that nobody sees half of one.
   * Directories on the way are made. Returns the absolute path.
   *
   * @throws {@link DownloadError} if it cannot be fetched or written.
   */
  async save(path: string): Promise<string> {
    return this.#save(dirname(resolve(path)), () => resolve(path));
  }

  static {
    saveInto = async (image, directory, signal) => {
      const place = resolve(directory);
      const { name } = image.#source;
      const { file: saved } = image;
      if (saved?.startsWith(join(place, `${name}.`)) && (await isFile(saved))) return saved;
      const path = (head: Uint8Array) => join(place, `${name}.${sniff(head)?.extension ?? "bin"}`);
      const file = await image.#save(place, path, signal);
      image.#letGo();
      return file;
    };
    nameInPlace = async (image) => {
      const { directory } = image.#base64 instanceof DecodedImage ? image.#base64.sink : {};
      // If it cannot be done, whoever saves it hears why.
      if (directory !== undefined) await saveInto(image, directory, undefined).catch(() => {});
    };
    keepIn = async (image, write) => {
      await write(await image.bytes());
      image.#letGo();
    };
  }

  async #save(
    directory: string,
    pathFor: (head: Uint8Array) => string,
    signal?: AbortSignal,
  ): Promise<string> {
    // Whoever else wants the picture waits for a download that is under way.
    while (this.#streaming !== undefined) await this.#streaming;
    const saving = this.#saveOnce(directory, pathFor, signal);
    if (!this.#isAtHand()) {
      const done = () => {
        this.#streaming = undefined;
      };
      this.#streaming = saving.then(done, done);
    }
    return saving;
  }

  /** Whether the bytes can be had without a download, or are on their way into memory. */
  #isAtHand(): boolean {
    const { file } = this;
    return (this.#bytes ?? this.#base64 ?? file ?? this.#source.stored) !== undefined;
  }

  async #saveOnce(
    directory: string,
    pathFor: (head: Uint8Array) => string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const inMemory = this.#isAtHand();
    try {
      const moved = await this.#moveInto(directory, pathFor);
      if (moved !== undefined) return moved;
      await mkdir(directory, { recursive: true });
      const path = await (inMemory
        ? this.#writeInto(directory, pathFor, signal)
        : this.#streamInto(directory, pathFor, signal));
      Object.assign(this, { file: path });
      return path;
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof DownloadError || error instanceof MalformedResponseError
        ? error
        : this.#error(undefined, error);
    }
  }

  /** An image that went to that directory as it came needs a name, and no more. */
  async #moveInto(
    directory: string,
    pathFor: (head: Uint8Array) => string,
  ): Promise<string | undefined> {
    if (!(this.#base64 instanceof DecodedImage)) return undefined;
    const { sink, head } = this.#base64;
    if (sink.directory !== directory) return undefined;
    const path = pathFor(head);
    if (!(await sink.moveTo?.(path))) return undefined;
    Object.assign(this, { file: path });
    // It is read there from now on, and is the caller's.
    this.#base64 = undefined;
    return path;
  }

  /** Writes the bytes, under a name that nobody looks for until they are all there. */
  async #writeInto(
    directory: string,
    pathFor: (head: Uint8Array) => string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const temporary = join(directory, `.${randomUUID()}.part`);
    try {
      const bytes = await this.bytes();
      await writeFile(temporary, bytes, { signal });
      const path = pathFor(bytes);
      await rename(temporary, path);
      return path;
    } catch (error) {
      // What went wrong is what the caller hears, not what it left behind.
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
  }

  /** Fetches the image straight to the disk. */
  async #streamInto(
    directory: string,
    pathFor: (head: Uint8Array) => string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    return this.#fetch(async (body, end) => {
      const sink = new FileSink(directory);
      try {
        let head: Uint8Array = new Uint8Array();
        await body.each((chunk) => {
          if (head.byteLength < 64) {
            head = Buffer.concat([head, chunk.subarray(0, 64)]);
            if (looksLikeText(head)) throw notAnImage();
          }
          if (sink.diskError !== undefined) throw sink.diskError;
          sink.reserve(chunk.byteLength).set(chunk);
          sink.commit(chunk.byteLength);
          return sink.ready();
        });
        if (head.byteLength === 0) throw notAnImage();
        const path = pathFor(head);
        if (!(await sink.moveTo(path, end))) throw sink.diskError;
        return path;
      } finally {
        await sink.discard();
      }
    }, signal);
  }

  /** The bytes are on a disk now: the memory need not hold them. */
  #letGo(): void {
    this.#bytes = undefined;
    if (this.#base64 instanceof DecodedImage) void this.#base64.sink.discard();
    this.#base64 = undefined;
  }

  async #load(): Promise<Uint8Array> {
    if (this.#source.stored !== undefined) {
      const stored = await this.#source.stored();
      if (stored !== undefined) return stored;
    }
    while (this.#streaming !== undefined) await this.#streaming;
    if (this.file !== undefined) {
      try {
        return await readFile(this.file);
      } catch (error) {
        // Moved away since: the URL may still serve.
        if (this.url === undefined) throw this.#error(undefined, error);
      }
    }
    if (this.#base64 instanceof DecodedImage) {
      return this.#base64.sink.read().catch((error: unknown) => {
        throw this.#error(undefined, error);
      });
    }
    if (this.#base64 !== undefined) {
      const bytes = Buffer.from(this.#base64, "base64");
      if (bytes.byteLength === 0) {
        throw new MalformedResponseError({
          ...this.#source.facts,
          detail: "Its base64 holds nothing",
        });
      }
      return bytes;
    }
    return this.#fetch(async (body) => {
      const bytes = await bytesOf(body);
      if (bytes.byteLength === 0 || looksLikeText(bytes)) throw notAnImage();
      return bytes;
    });
  }

  async #fetch<Value>(read: Read<Value>, signal?: AbortSignal): Promise<Value> {
    const { url } = this;
    if (url === undefined) throw this.#error("The answer gave neither bytes nor a URL");
    try {
      return await this.#source.download(url, read, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const expired = error instanceof DownloadFault && error.expired;
      const fresh = expired ? await this.#refreshed(signal) : undefined;
      if (fresh === undefined) throw this.#error(undefined, error);
      Object.assign(this, { url: fresh });
      try {
        return await this.#source.download(fresh, read, signal);
      } catch (again) {
        signal?.throwIfAborted();
        throw this.#error(undefined, again);
      }
    }
  }

  async #refreshed(signal: AbortSignal | undefined): Promise<string | undefined> {
    try {
      return await this.#source.refresh?.(signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#error("Its URL has expired, and a fresh one cannot be had", error);
    }
  }

  #error(detail: string | undefined, unsafe?: unknown): DownloadError {
    const cause = unsafe === undefined ? undefined : this.#source.clean(unsafe);
    return new DownloadError({
      ...this.#source.facts,
      url: this.url,
      detail: detail ?? reasonOf(cause),
      ...(unsafe instanceof DownloadFault && {
        status: unsafe.status,
        retryAfterMs: unsafe.retryAfterMs,
      }),
      ...(cause !== undefined && { cause }),
    });
  }

  /** Short: where it is, not what is in it. */
  toJSON(): Record<string, unknown> {
    const { url, file, revisedPrompt } = this;
    return { url, file, revisedPrompt };
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    // Moved away since.
    return false;
  }
}

function mediaTypeOf(bytes: Uint8Array): string {
  return sniff(bytes)?.mediaType ?? "application/octet-stream";
}

/** An error page or a sentence in place of the picture. */
function looksLikeText(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 64)).toString("latin1");
  return /^(\xef\xbb\xbf)?\s*[<{[]/.test(head) || /^[\t\n\r\x20-\x7e]+$/.test(head);
}

function notAnImage(): DownloadFault {
  return new DownloadFault("What came is not an image", { transient: true });
}

/** When a job was sent and settled. */
export interface Timing {
  readonly submittedAt: Date;
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
  readonly provider: string;
  /** As the provider names it, where it does. */
  declare readonly model?: string;
  readonly job: ImageJob;
  /** Of the tasks that succeeded; absent where the provider does not say. */
  declare readonly cost?: Cost;
  /** Tokens, where the provider counts them. */
  declare readonly usage?: Usage;
  /** What was left out or came otherwise than asked, in sentences. */
  readonly warnings: readonly string[];
  readonly timing: Timing;
  /** The provider's last answer for each task that succeeded, without image bytes. */
  readonly raw: readonly unknown[];

  constructor(facts: ResultFacts) {
    this.images = facts.images;
    this.image = facts.images[0];
    this.failures = facts.failures;
    this.provider = facts.provider;
    this.job = facts.job;
    this.warnings = facts.warnings;
    this.timing = facts.timing;
    this.raw = facts.raw;
    if (facts.model !== undefined) this.model = facts.model;
    if (facts.cost !== undefined) this.cost = facts.cost;
    if (facts.usage !== undefined) this.usage = facts.usage;
  }

  /** Short and safe to log: no image bytes, no prompt, no key. */
  toJSON(): Record<string, unknown> {
    const { provider, model, cost, usage, warnings, timing, images, failures, job } = this;
    return { provider, model, cost, usage, warnings, timing, images, failures, job };
  }
}
