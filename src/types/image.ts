import type { ImageBytes } from "../realm";

/** A picture that is not done: to be shown, and not to be kept in place of the one that was paid for. */
export interface PartialImage {
  /** Its place among the partial images of its task, from 0. */
  readonly index: number;
  /** A whole file. */
  readonly bytes: ImageBytes;
  /** By the bytes. */
  readonly mediaType: string;
}

/** What an image file says of itself. */
export interface ImageInfo {
  /** By the bytes, whatever was asked for. */
  readonly mediaType: string;
  /**
   * In pixels, as a browser shows it: cropped and turned as the file says. `undefined` where the file
   * does not tell, as an SVG without lengths of its own, or is broken.
   */
  readonly width: number | undefined;
  /** In pixels, as `width`. */
  readonly height: number | undefined;
  /** The size of the file, in bytes. */
  readonly byteLength: number;
}

/** One picture. Its bytes are fetched on demand, and at most once. */
export interface GeneratedImage {
  /** Where the provider keeps it, often for a short time only. */
  readonly url?: string;
  /** The prompt as the model understood it, where the provider says. */
  readonly revisedPrompt?: string;
  /** Where it was saved, once it was. */
  readonly file?: string;
  /** What was wrong with its file, though it was delivered, in sentences; known once it was fetched. */
  readonly warnings: readonly string[];
  /**
   * The file's bytes, from the journal, `file`, the response or `url`, in memory of their own (one that
   * came as large base64 may have zeros behind it there). They are the same for all: copy before you change
   * or transfer them. A download that fails is repeated alone, an expired URL is asked for afresh.
   *
   * @throws {@link DownloadError} if no place gives them; calling again tries again.
   */
  bytes(): Promise<ImageBytes>;
  /** The bytes as a web stream, fetched and kept like those of `bytes()`. */
  stream(): ReadableStream<Uint8Array>;
  /** The bytes as base64, without a data URL's head. */
  base64(): Promise<string>;
  /** The bytes as a `Blob` with their true media type. */
  blob(): Promise<Blob>;
  /**
   * A `Response` with the true content type, to return from a web handler. An SVG comes in a sandbox: it
   * runs no script, whoever drew it.
   *
   * @example
   * ```ts
   * app.get("/picture", async () => (await client.generate({ prompt })).image.response());
   * ```
   */
  response(): Promise<Response>;
  /**
   * Media type and dimensions, read from the bytes.
   *
   * @throws {@link DownloadError} if the bytes cannot be had, or are no image of a known type.
   */
  info(): Promise<ImageInfo>;
  /**
   * Writes the file: first under a temporary name, then renamed, so that a half-written file is never seen.
   * Directories on the way are made. Returns the absolute path.
   *
   * @throws {@link DownloadError} if it cannot be fetched or written.
   */
  save(path: string): Promise<string>;
  /** Short: where it is, not what is in it. */
  toJSON(): Record<string, unknown>;
}
