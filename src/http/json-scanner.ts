import type { DecodedImage, ImageSink } from "../media/decoded-image";
import { isError } from "../realm";
import { Base64Image } from "./base64-image";
import { DataUrlMark } from "./data-url-mark";
import { isImageBase64 } from "./image-text";
import { backslash, dataUrlHead, nextMark, quote, withoutEscapes } from "./json-escapes";
import { JsonSkeleton } from "./json-skeleton";
import { StringImage } from "./string-image";

/** A shorter string may be an image as well, and is left in the document. */
const leastStringBytes = 32;

/** So much of a data URL tells what it holds. */
const leastDataUrlBytes = 192;

/** So much of base64 within a text tells whether it is an image. */
const leastInnerBytes = 64;

/** So much of a document is looked at in one go. */
const windowBytes = 64 * 1024;

/** How much of a document is taken; without limits where they are left out. */
export interface ScanOptions {
  /** Whether images stand in it decoded, as by default, or as the strings that they were. */
  readonly decodesImages?: boolean;
  /** The largest image, in bytes. */
  readonly maxImageBytes?: number;
  /** What comes after so many images are images is skipped, and an empty string stands for it. */
  readonly mostImages?: number;
  /** All that is no image, in bytes: small objects take fifty times as much memory, once parsed. */
  readonly maxOtherBytes?: number;
  /** How much of that came before the document. */
  readonly otherBytesBefore?: number;
}

/**
 * Reads a JSON document whose images are base64 strings, without ever holding such a string: its
 * contents go from the socket's bytes through a decoder into a sink, and a token takes its place in
 * a skeleton of the document, which is small and goes through `JSON.parse`. So the syntax is checked
 * to the end, and the result is that of `parseJson`, save that a long string which is the base64 of
 * an image, alone or in a data URL, is a {@link DecodedImage}. Of an image within a longer string, behind
 * `;base64,` or in JSON that is a string itself, a few words are left there; it is among {@link images}.
 */
export class JsonScanner {
  readonly #createSink: () => ImageSink;
  readonly #decodesImages: boolean;
  readonly #maxImageBytes: number;
  readonly #mostImages: number;
  readonly #skeleton: JsonSkeleton;
  #inString = false;
  /** Where in the skeleton the contents of the present string begin. */
  #mark = { piece: 0, offset: 0 };
  #stringBytes = 0;
  /** How much of it must have come before it is looked at. */
  #leastBytes = leastStringBytes;
  /** The present string is known not to be an image that can be decoded. */
  #isPlain = false;
  /** It began as one all the same. */
  #isUndecoded = false;
  /** An image may begin behind one, within a longer text. */
  readonly #dataUrlMark = new DataUrlMark();
  /** What is looked at, or decoded, is within a longer text: it ends where its base64 does. */
  #isInner = false;
  /** It is one image more than is taken. */
  #isSurplus = false;
  /** The byte before was a backslash that escapes the next. */
  #isEscaped = false;
  #image: StringImage | undefined;
  /** As the last one's, for the next. */
  #hasEscapes = false;

  constructor(createSink: () => ImageSink, options: ScanOptions = {}) {
    this.#createSink = createSink;
    this.#decodesImages = options.decodesImages ?? true;
    this.#maxImageBytes = options.maxImageBytes ?? Number.POSITIVE_INFINITY;
    this.#mostImages = options.mostImages ?? Number.POSITIVE_INFINITY;
    this.#skeleton = new JsonSkeleton(options);
  }

  /** How many bytes of the document are no image. */
  get otherBytes(): number {
    return this.#skeleton.otherBytes;
  }

  /** The images that are whole, also where the document breaks after them. */
  get images(): readonly DecodedImage[] {
    return this.#skeleton.images;
  }

  /** The start of the document, to be shown. */
  get start(): string {
    return this.#skeleton.start;
  }

  /** What has come after the last image that is whole, as far as a few fields go. */
  get rest(): string {
    return this.#skeleton.rest;
  }

  /** Takes the next bytes, which are only lent, and may ask to wait before more come. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    const bytes = Buffer.isBuffer(chunk)
      ? chunk
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    // In windows: after each of many escapes the search for a quote begins anew.
    for (let at = 0; at < bytes.length; at += windowBytes) {
      this.#scan(bytes.subarray(at, at + windowBytes));
    }
    return this.#image?.image.sink.ready?.();
  }

  /**
   * The document.
   *
   * @throws SyntaxError if it is not JSON.
   */
  async end(): Promise<unknown> {
    if (this.#image !== undefined) this.#giveUp(this.#image);
    return this.#skeleton.document(this.#decodesImages);
  }

  /** Lets go of whatever is not a whole image. */
  async discard(): Promise<void> {
    await this.#image?.image.sink.discard();
    await this.#skeleton.discard();
  }

  #scan(bytes: Buffer): void {
    // What lies between the two is for the skeleton, and not there yet.
    let from = 0;
    let at = 0;
    while (at < bytes.length) {
      if (this.#image !== undefined) {
        at = this.#readImage(this.#image, bytes, at);
        from = at;
      } else if (this.#isSurplus) {
        at = this.#skipString(bytes, at);
        from = at;
      } else if (this.#inString) {
        at = this.#readString(bytes, at, from);
        if (this.#isPlain || this.#stringBytes < this.#leastBytes || !this.#inString) continue;
        this.#skeleton.keep(bytes.subarray(from, at));
        from = at;
        // Those were lent: it copies them.
        this.#tryImage();
      } else at = this.#readOutside(bytes, at, from);
    }
    if (from < bytes.length) this.#skeleton.keep(Buffer.from(bytes.subarray(from)));
  }

  #readOutside(bytes: Buffer, at: number, from: number): number {
    const found = bytes.indexOf(quote, at);
    if (found === -1) return bytes.length;
    this.#inString = true;
    this.#isPlain = false;
    this.#isUndecoded = false;
    this.#isInner = false;
    this.#dataUrlMark.reset();
    this.#stringBytes = 0;
    this.#leastBytes = leastStringBytes;
    this.#mark = { piece: this.#skeleton.length, offset: found + 1 - from };
    return found + 1;
  }

  /** Within a string an image may begin there. */
  #beginInner(at: number, from: number): void {
    this.#isInner = true;
    this.#isPlain = false;
    this.#stringBytes = 0;
    this.#leastBytes = leastInnerBytes;
    this.#mark = { piece: this.#skeleton.length, offset: at - from };
  }

  /** Goes on past the end of the string, past the next escape, or to where it turns out to be long. */
  #readString(bytes: Buffer, at: number, from: number): number {
    if (this.#isEscaped) {
      this.#isEscaped = false;
      this.#stringBytes += 1;
      this.#dataUrlMark.reset();
      // JSON within the string: one of its own strings may begin.
      if (bytes[at] === quote && !this.#isUndecoded) this.#beginInner(at + 1, from);
      return at + 1;
    }
    // No more of a text than has to be looked at: behind it another image may begin.
    const limit = this.#isInner ? at + this.#leastBytes - this.#stringBytes : bytes.length;
    const { end, stop } = nextMark(bytes, at, limit);
    if (this.#isInner || (this.#isPlain && !this.#isUndecoded)) {
      const markEnd = this.#dataUrlMark.endIn(bytes, at, end);
      if (markEnd !== undefined) {
        this.#beginInner(markEnd, from);
        return markEnd;
      }
    }
    this.#stringBytes += end - at;
    if (this.#isUndecoded) this.#skeleton.countUndecoded(end - at);
    if (stop === undefined) return end;
    // What ends the string, or escapes, is for the decoder to see.
    if (this.#stringBytes >= this.#leastBytes && !this.#isPlain) return end;
    this.#isEscaped = stop === backslash;
    this.#inString = this.#isEscaped;
    return end + 1;
  }

  /** Skips past the end of an unused string, or past the next escape. */
  #skipString(bytes: Buffer, at: number): number {
    if (this.#isEscaped) {
      this.#isEscaped = false;
      return at + 1;
    }
    const { end, stop } = nextMark(bytes, at);
    if (stop === undefined) return end;
    this.#isEscaped = stop === backslash;
    if (stop === quote) {
      this.#isSurplus = false;
      this.#inString = false;
      this.#skeleton.keep(Buffer.of(quote));
    }
    return end + 1;
  }

  /** The string is not short. If it begins an image, its text leaves the skeleton and comes once more, for a decoder. */
  #tryImage(): void {
    const { piece, offset } = this.#mark;
    const whole = this.#skeleton.cut(piece);
    const raw = whole.subarray(offset);
    const start = raw.toString("latin1", 0, 1024);
    const [head = ""] = this.#isInner ? [] : (dataUrlHead.exec(start) ?? []);
    if (!isImageBase64(withoutEscapes(start.slice(head.length)))) {
      if (this.#isInner) {
        this.#skeleton.keep(whole);
        this.#isInner = false;
        this.#isPlain = true;
      } else if (start.startsWith("data:") && start.length < leastDataUrlBytes) {
        this.#skeleton.keep(whole);
        this.#leastBytes = leastDataUrlBytes;
      } else {
        // Once more, for an image within it.
        this.#isPlain = true;
        this.#skeleton.keep(whole.subarray(0, offset));
        this.#scan(raw);
      }
      return;
    }
    this.#dataUrlMark.reset();
    this.#skeleton.keep(whole.subarray(0, offset));
    if (this.#skeleton.imageCount >= this.#mostImages) this.#isSurplus = true;
    else {
      const image = new Base64Image(this.#createSink(), head, this.#maxImageBytes);
      this.#image = new StringImage(image, this.#isInner, this.#hasEscapes);
      this.#isInner = false;
      this.#scan(raw.subarray(head.length));
    }
  }

  #readImage(image: StringImage, bytes: Buffer, at: number): number {
    const reached = image.read(bytes, at);
    if (image.state === "broken") this.#giveUp(image);
    if (image.state !== "whole") return reached;
    this.#skeleton.addImage(image.image, image.isInner);
    this.#leave(image);
    if (image.isInner) return reached;
    this.#skeleton.keep(Buffer.of(quote));
    this.#inString = false;
    return reached + 1;
  }

  /** Not an image, or cut short: the string is kept as the text that it was, in one line. */
  #giveUp(image: StringImage): void {
    this.#skeleton.addText(image.image);
    this.#leave(image);
    this.#isUndecoded = true;
  }

  #leave(image: StringImage): void {
    this.#skeleton.keep(Buffer.from(image.escape, "latin1"));
    this.#hasEscapes = image.hasEscapes;
    this.#image = undefined;
    this.#isPlain = true;
  }
}

/** What a scanner has read; `undefined` if it is not JSON. */
export async function documentOf(scanner: JsonScanner): Promise<unknown> {
  try {
    return await scanner.end();
  } catch (error) {
    // Too deep to be looked at is as good as no JSON.
    if (!(isError(error) && ["SyntaxError", "RangeError"].includes(error.name))) throw error;
    return undefined;
  }
}
