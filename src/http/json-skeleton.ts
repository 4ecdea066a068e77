import { randomBytes } from "node:crypto";
import type { DecodedImage } from "../media/decoded-image";
import type { Base64Image } from "./base64-image";
import { parseJson } from "./parse-json";

/** The start of a body that is not JSON, as far as it is shown. */
export const shownCharacters = 5_000;

/**
 * So much of images may be strings in the end, because it is not strict base64 (its lines are broken, it is
 * of the URL's alphabet): that is in memory several times over.
 */
const mostUndecodedBytes = 64 * 1024 * 1024;

/** How much of a document may be no image, in bytes. */
interface SkeletonLimits {
  readonly maxOtherBytes?: number | undefined;
  readonly otherBytesBefore?: number | undefined;
}

/** A JSON document without its images: its own bytes, and what was taken out between them. */
export class JsonSkeleton {
  readonly #maxOtherBytes: number;
  readonly #otherBytesBefore: number;
  readonly #pieces: (Buffer | Base64Image)[] = [];
  readonly #found: Base64Image[] = [];
  /** Those of them that are within a longer text. */
  readonly #inner = new Set<Base64Image>();
  /** How long it is, and how much of it are images that could not be decoded. */
  #keptBytes = 0;
  #undecodedBytes = 0;

  constructor({ maxOtherBytes, otherBytesBefore }: SkeletonLimits) {
    this.#maxOtherBytes = maxOtherBytes ?? Number.POSITIVE_INFINITY;
    this.#otherBytesBefore = otherBytesBefore ?? 0;
  }

  /** How many pieces there are. */
  get length(): number {
    return this.#pieces.length;
  }

  /** How many bytes of the document are no image. */
  get otherBytes(): number {
    return this.#keptBytes - this.#undecodedBytes;
  }

  /** How many images were taken out, and ended. */
  get imageCount(): number {
    return this.#found.length;
  }

  /** The images that are whole. */
  get images(): readonly DecodedImage[] {
    return this.#found.flatMap((image) => image.decoded ?? []);
  }

  /** The start of the document, to be shown. */
  get start(): string {
    const end = this.#pieces.findIndex((piece) => !Buffer.isBuffer(piece));
    return textOf(end === -1 ? this.#pieces : this.#pieces.slice(0, end));
  }

  /** What has come after the last image, as far as a few fields go. */
  get rest(): string {
    const from = 1 + this.#pieces.findLastIndex((piece) => !Buffer.isBuffer(piece));
    return textOf(this.#pieces.slice(from, from + 64));
  }

  /**
   * Appends bytes, which are its own from then on.
   *
   * @throws Error where there are more of them than are taken.
   */
  keep(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#keptBytes += bytes.length;
    if (this.#otherBytesBefore + this.otherBytes > this.#maxOtherBytes) {
      throw besideImages(this.#maxOtherBytes);
    }
    if (this.#undecodedBytes > mostUndecodedBytes) {
      throw new Error(`Its images are no strict base64, and more than ${mostUndecodedBytes} bytes`);
    }
  }

  /** Takes back what was kept from that piece on, where only bytes were. */
  cut(from: number): Buffer {
    const bytes = Buffer.concat(this.#pieces.splice(from).filter(Buffer.isBuffer));
    this.#keptBytes -= bytes.length;
    return bytes;
  }

  /** Some of what is kept next began as an image. */
  countUndecoded(byteLength: number): void {
    this.#undecodedBytes += byteLength;
  }

  /** An image that has ended. */
  addImage(image: Base64Image, isInner: boolean): void {
    this.#pieces.push(image);
    this.#found.push(image);
    if (isInner) this.#inner.add(image);
  }

  /** Not an image, or cut short: kept as the text that it was, in one line. */
  addText(image: Base64Image): void {
    this.#pieces.push(image);
    this.#keptBytes += image.textBytes;
    this.#undecodedBytes += image.textBytes;
  }

  /**
   * The document.
   *
   * @param decodesImages whether images stand in it decoded, or as the strings that they were.
   * @throws SyntaxError if it is not JSON.
   */
  async document(decodesImages: boolean): Promise<unknown> {
    if (!decodesImages) for (const image of this.#found) image.giveUp();
    const seen = new Set<DecodedImage>();
    const document = await this.#parsed(seen);
    const unseen = this.#found.filter(
      (image) => image.decoded !== undefined && !this.#inner.has(image) && !seen.has(image.decoded),
    );
    if (unseen.length === 0) return document;
    // The name of a field may look like an image too, and of two fields with one name the last counts.
    for (const image of unseen) image.giveUp();
    return this.#parsed(seen);
  }

  async #parsed(seen: Set<DecodedImage>): Promise<unknown> {
    // Unguessable, so that no string of the document is taken for one.
    const secret = randomBytes(16).toString("hex");
    const images = new Map<string, DecodedImage>();
    const pieces: Buffer[] = [];
    for (const piece of this.#pieces) {
      if (Buffer.isBuffer(piece)) pieces.push(piece);
      else if (piece.decoded === undefined) pieces.push(await piece.text());
      else if (this.#inner.has(piece)) pieces.push(Buffer.from(piece.decoded.toJSON()));
      else {
        const token = `${secret}:${images.size}`;
        images.set(token, piece.decoded);
        pieces.push(Buffer.from(token));
      }
    }
    const text = Buffer.concat(pieces).toString("utf8");
    if (images.size === 0) return parseJson(text);
    return parseJson(text, (_, value) => {
      const image = typeof value === "string" ? images.get(value) : undefined;
      if (image === undefined) return value;
      seen.add(image);
      return image;
    });
  }

  /** Lets go of whatever is not a whole image. */
  async discard(): Promise<void> {
    for (const piece of this.#pieces) {
      if (!Buffer.isBuffer(piece) && piece.decoded === undefined) await piece.sink.discard();
    }
  }
}

/** The text of pieces of a skeleton, as far as it is shown. */
function textOf(pieces: readonly (Buffer | Base64Image)[]): string {
  // Four bytes a character at most: what is shorter than it may be was not cut.
  const bytes = Buffer.concat(pieces.filter(Buffer.isBuffer)).subarray(0, 4 * shownCharacters);
  return bytes.toString("utf8").slice(0, shownCharacters);
}

/** What is thrown where more of a response is no image than may be. */
export function besideImages(maxOtherBytes: number): Error {
  return new Error(`The response has more than ${maxOtherBytes} bytes beside its images`);
}
