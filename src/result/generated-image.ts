import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Output } from "../adapter/contract";
import { DownloadError, MalformedResponseError, reasonOf } from "../errors";
import { makeDirectory } from "../files/directories";
import type { Read } from "../http/downloader";
import { DecodedImage } from "../media/decoded-image";
import { type Media, sniff } from "../media/format";
import { ImageInspection } from "../media/image-inspection";
import { mediaInfo } from "../media/measure";
import { ownBytes } from "../media/own-bytes";
import { writeBeside } from "../media/write-beside";
import type { ImageBytes } from "../realm";
import type { ErrorFacts } from "../types";
import type { ImageInfo, GeneratedImage as Picture } from "../types/image";
import { bytesIn, type Decoded, decodedOf, faultIn, firstOf, isText, isTruncated } from "./bytes";
import { type Downloads, fetchImage, NoFreshUrl } from "./fetch-image";
import { ImageDownload, notAnImage } from "./image-download";
import { base64Of, blobOf, responseOf, streamOf } from "./views";

/** What an image needs of its client. */
export interface ImageSource extends Downloads {
  readonly facts: ErrorFacts;
  /** The file's name in a `saveTo` directory, without its extension. */
  readonly name: string;
  /** A cause without the key in it. */
  clean(cause: unknown): unknown;
  /** The bytes as the journal keeps them, once it does. */
  readonly stored?: (() => Promise<Uint8Array | undefined>) | undefined;
}

/** As `image.save`, named by the job and what the bytes are, and held on disk alone from then on. */
export let saveInto: (
  image: GeneratedImage,
  directory: string,
  signal: AbortSignal | undefined,
) => Promise<string>;

/** Whether all that came of its base64 is a file that lacks its end. */
export let isCutShort: (image: GeneratedImage) => boolean;

/**
 * Gives an image that went into a directory as it came its name there; one that was cut short leaves it,
 * as only whole files are there.
 */
export let nameInPlace: (image: GeneratedImage) => Promise<void>;

/** Lets go of the bytes in memory: they can be read from the journal, or where they were saved. */
export let letGo: (image: GeneratedImage) => void;

/** The picture of a task, fetched through its client. */
export class GeneratedImage implements Picture {
  declare readonly url?: string;
  declare readonly revisedPrompt?: string;
  declare readonly file?: string;
  readonly #source: ImageSource;
  /** What its base64 holds. */
  #decoded: Decoded | undefined;
  readonly #isCutShort: boolean;
  /** What came in base64 of a file that its URL may give whole. */
  #part: Decoded | undefined;
  #warnings: readonly string[] = [];
  #bytes: Promise<ImageBytes> | undefined;
  /** Settles, always well, when a download that goes straight to the disk has ended. */
  #streaming: Promise<unknown> | undefined;

  constructor({ url, base64, revisedPrompt }: Output, source: ImageSource) {
    this.#source = source;
    const decoded = typeof base64 === "string" ? decodedOf(base64) : base64;
    const isCutShort = decoded !== undefined && isTruncated(decoded);
    this.#isCutShort = isCutShort && url === undefined;
    if (isCutShort && url !== undefined) this.#part = decoded;
    else this.#decoded = decoded;
    if (url !== undefined) this.url = url;
    if (revisedPrompt !== undefined) this.revisedPrompt = revisedPrompt;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  bytes(): Promise<ImageBytes> {
    if (this.#bytes === undefined) {
      const loading = this.#load();
      this.#bytes = loading;
      loading.catch(() => {
        this.#bytes = undefined;
      });
    }
    return this.#bytes;
  }

  stream(): ReadableStream<Uint8Array> {
    return streamOf(() => this.bytes());
  }

  async base64(): Promise<string> {
    return base64Of(await this.bytes());
  }

  async blob(): Promise<Blob> {
    return blobOf(await this.bytes());
  }

  async response(): Promise<Response> {
    return responseOf(await this.bytes());
  }

  async info(): Promise<ImageInfo> {
    const bytes = await this.bytes();
    const info = mediaInfo(bytes);
    if (info === undefined) {
      throw this.#error("Its bytes are no PNG, JPEG, WebP, GIF, AVIF, SVG or HEIC");
    }
    return Object.assign(info, { byteLength: bytes.byteLength });
  }

  async save(path: string): Promise<string> {
    const absolute = resolve(path);
    return this.#save(dirname(absolute), () => absolute);
  }

  static {
    saveInto = async (image, directory, signal) => {
      const place = resolve(directory);
      const { name } = image.#source;
      const { file: saved } = image;
      if (saved?.startsWith(join(place, `${name}.`)) && (await isFile(saved))) return saved;
      const path = (media: Media | undefined) =>
        join(place, `${name}.${media?.extension ?? "bin"}`);
      const file = await image.#save(place, path, signal);
      image.#letGo();
      return file;
    };
    isCutShort = (image) => image.#isCutShort;
    nameInPlace = async (image) => {
      const decoded = image.#part ?? image.#decoded;
      if (!(decoded instanceof DecodedImage)) return;
      const { sink, isTruncated } = decoded;
      const { directory } = sink;
      if (directory === undefined) return;
      const placing = isTruncated ? sink.toMemory?.() : saveInto(image, directory, undefined);
      // If it fails, saving or reading the image reports the error.
      await placing?.catch(() => {});
    };
    letGo = (image) => image.#letGo();
  }

  async #save(directory: string, pathFor: PathFor, signal?: AbortSignal): Promise<string> {
    // Other readers wait for the download in progress.
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
    return (this.#bytes ?? this.#decoded ?? file ?? this.#source.stored) !== undefined;
  }

  async #saveOnce(
    directory: string,
    pathFor: PathFor,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const inMemory = this.#isAtHand();
    try {
      const moved = await this.#moveInto(directory, pathFor);
      if (moved !== undefined) return moved;
      await makeDirectory(directory);
      const path = await (inMemory
        ? this.#writeInto(directory, pathFor, signal)
        : this.#fetch((from, body, end) => from.save(body, directory, pathFor, end), signal));
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
  async #moveInto(directory: string, pathFor: PathFor): Promise<string | undefined> {
    if (!(this.#decoded instanceof DecodedImage) || this.#isCutShort) return undefined;
    const { sink, head } = this.#decoded;
    if (sink.directory !== directory) return undefined;
    const path = pathFor(sniff(head));
    if (!(await sink.moveTo?.(path))) return undefined;
    Object.assign(this, { file: path });
    // It is read there from now on, and is the caller's.
    this.#decoded = undefined;
    return path;
  }

  async #writeInto(
    directory: string,
    pathFor: PathFor,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const bytes = await this.bytes();
    return writeBeside(directory, pathFor(sniff(bytes)), bytes, signal);
  }

  /** The bytes are on a disk now: the memory need not hold them. */
  #letGo(): void {
    this.#bytes = undefined;
    if (this.#decoded instanceof DecodedImage) void this.#decoded.sink.discard();
    this.#decoded = undefined;
  }

  #load(): Promise<ImageBytes> {
    return firstOf([
      () => this.#fromJournal(),
      () => this.#fromFile(),
      () => bytesIn(this.#decoded, this.#source.facts),
      () => this.#fromUrl(),
    ]).catch((failure: unknown) => {
      const isTold = failure instanceof DownloadError || failure instanceof MalformedResponseError;
      throw isTold ? failure : this.#error(undefined, failure);
    });
  }

  async #fromJournal(): Promise<ImageBytes | undefined> {
    const stored = await this.#source.stored?.();
    if (stored === undefined) return undefined;
    if (ImageInspection.isTruncated(stored)) this.#warnOfEnd();
    return ownBytes(stored);
  }

  async #fromFile(): Promise<ImageBytes | undefined> {
    while (this.#streaming !== undefined) await this.#streaming;
    return this.file === undefined ? undefined : ownBytes(await readFile(this.file));
  }

  async #fromUrl(): Promise<ImageBytes | undefined> {
    if (this.url === undefined) return undefined;
    return this.#fetch(async (download, body) => {
      const bytes = await download.bytes(body);
      if (bytes.byteLength === 0 || isText(bytes)) throw notAnImage();
      return bytes;
    });
  }

  #warnOfEnd(): void {
    this.#warnings = [`The file of image ${this.#source.name} ends early, wherever it is read`];
  }

  async #fetch<Value>(
    read: (download: ImageDownload, ...body: Parameters<Read<Value>>) => Promise<Value>,
    signal?: AbortSignal,
  ): Promise<Value> {
    const { url } = this;
    if (url === undefined) throw this.#error("The response gave neither bytes nor a URL");
    const download = new ImageDownload();
    const readInto: Read<Value> = (...body) => read(download, ...body);
    try {
      const value = await fetchImage(url, this.#source, readInto, signal, (fresh) => {
        Object.assign(this, { url: fresh });
      });
      if (download.isTruncated) this.#warnOfEnd();
      this.#part = undefined;
      return value;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof NoFreshUrl) throw this.#error(error.message, error.cause);
      throw this.#error(undefined, error);
    }
  }

  #error(detail: string | undefined, unsafe?: unknown): DownloadError {
    const cause = unsafe === undefined ? undefined : this.#source.clean(unsafe);
    const part = this.#part && new GeneratedImage({}, this.#source);
    if (part !== undefined) part.#decoded = this.#part;
    const fault = faultIn(unsafe);
    return new DownloadError({
      ...this.#source.facts,
      ...(part !== undefined && { images: [part] }),
      url: this.url,
      detail: detail ?? reasonOf(cause),
      ...(fault !== undefined && { status: fault.status, retryAfterMs: fault.retryAfterMs }),
      ...(cause !== undefined && { cause }),
    });
  }

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

/** Where a file goes, by what it is. */
type PathFor = (media: Media | undefined) => string;
