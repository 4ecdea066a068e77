import { decodedFrom } from "../media/decoded-from";
import type { DecodedImage, ImageSink } from "../media/decoded-image";
import { Base64Lines, equalsSign, isBase64Letter } from "./base64-image";
import { isImageBase64 } from "./image-text";
import { backslash, readInnerEscape } from "./json-escapes";
import { documentOf, JsonScanner, type ScanOptions } from "./json-scanner";
import { besideImages } from "./json-skeleton";

/** What has fewer letters is a word, and no image. */
const leastLetters = 32;

/** Whether a text may hold base64: most strings of a response do not, and to scan each would take long. */
export function mayHoldBase64(text: string): boolean {
  // Slashes and the ends of lines may be escaped, and stand between the letters.
  return text.length >= leastLetters && /[\w+-]{16}/.test(text);
}

const lineBreaks = Buffer.from("\r\n");

/** A document, or one behind a warning, as PHP writes them. */
const jsonStart = /^[\s\ufeff]*["{[]|[[{]\s*["[{]/;

/** Whether a body is text with no JSON in it, by its beginning: white space alone tells nothing. */
export function isPlainText(head: Buffer): boolean {
  const start = head.toString("utf8");
  return /[^\s\ufeff]/.test(start) && !jsonStart.test(start);
}

/**
 * Reads the images out of text that is not JSON, such as bare base64, or a sentence with a data URL in
 * it. Each long run of base64 letters goes through a scanner of JSON, as a string of a list.
 */
export class TextScanner {
  readonly #scanner: JsonScanner;
  readonly #createSink: () => ImageSink;
  readonly #options: ScanOptions;
  /** The beginning of a run that is not long yet. */
  readonly #held = Buffer.alloc(leastLetters);
  #runLength = 0;
  readonly #lines = new Base64Lines();
  /** An escape, as far as it has come. */
  #escape = "";
  #otherBytes = 0;
  /** Those that no scanner decodes. */
  readonly #found: DecodedImage[] = [];

  constructor(createSink: () => ImageSink, options: ScanOptions) {
    this.#createSink = createSink;
    this.#options = options;
    this.#scanner = new JsonScanner(createSink, options);
    void this.#scanner.write(Buffer.from('[""'));
  }

  /** The images that are whole. */
  get images(): readonly DecodedImage[] {
    return [...this.#scanner.images, ...this.#found];
  }

  /** Takes the next bytes, which are only lent, and may ask to wait before more come. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    const out = Buffer.allocUnsafe(2 * bytes.length + 2 * leastLetters);
    let length = 0;
    for (const byte of bytes) {
      const next = this.#next(byte);
      if (next === undefined) continue;
      const isLetter = typeof next === "number" && isBase64Letter(next);
      const endsPadding = this.#lines.isPadded && next !== equalsSign;
      if (!isLetter || endsPadding) length += this.#endLine(next === "line break", out, length);
      if (!isLetter) continue;
      this.#lines.take(1, next);
      this.#runLength += 1;
      if (this.#runLength <= leastLetters) this.#held[this.#runLength - 1] = next;
      if (this.#runLength === leastLetters) {
        length += out.write(',"', length) + this.#held.copy(out, length + 2);
      } else if (this.#runLength > leastLetters) {
        out[length] = next;
        length += 1;
      }
    }
    this.#count(bytes.length - length);
    return this.#scanner.write(out.subarray(0, length));
  }

  /** What a byte comes to; `undefined` within an escape, which may stand for a letter or the end of a line. */
  #next(byte: number): number | "line break" | "other" | undefined {
    if (this.#escape === "" && byte !== backslash) {
      return lineBreaks.includes(byte) ? "line break" : byte;
    }
    this.#escape += String.fromCharCode(byte);
    const read = readInnerEscape(this.#escape);
    if (read === "open") return undefined;
    this.#escape = "";
    return read;
  }

  /**
   * Ends a run, but for a break between its lines.
   *
   * @returns how many bytes it has written.
   */
  #endLine(isBreak: boolean, out: Buffer, at: number): number {
    if (isBreak && this.#lines.passBreak()) return 0;
    const isLong = this.#runLength >= leastLetters;
    this.#lines.reset();
    this.#runLength = 0;
    return isLong ? out.write('"', at) : 0;
  }

  #count(byteLength: number): void {
    this.#otherBytes += Math.max(0, byteLength);
    const { maxOtherBytes = Number.POSITIVE_INFINITY } = this.#options;
    if (this.#otherBytes > maxOtherBytes) throw besideImages(maxOtherBytes);
  }

  /** Nothing follows. */
  async end(): Promise<void> {
    await this.#scanner.write(Buffer.from(this.#runLength >= leastLetters ? '"]' : "]"));
    const runs = await documentOf(this.#scanner);
    if (!Array.isArray(runs)) return;
    const { mostImages = Number.POSITIVE_INFINITY } = this.#options;
    let count = this.images.length;
    // Of the URL's alphabet, or without what pads it: decoded as a whole.
    for (const run of runs) {
      if (count >= mostImages || typeof run !== "string" || !isImageBase64(run)) continue;
      count += 1;
      this.#found.push(decodedFrom(Buffer.from(run, "base64"), this.#createSink()));
    }
  }

  /** Lets go of whatever is not a whole image. */
  discard(): Promise<void> {
    return this.#scanner.discard();
  }
}
