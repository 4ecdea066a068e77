import { randomBytes } from "node:crypto";
import type { DecodedImage, ImageSink } from "../media/decoded-image";
import { isError } from "../realm";
import { Base64Image, isBase64Letter } from "./base64-image";
import { isImageBase64 } from "./image-text";
import { backslash, dataUrlHead, nextMark, quote, unescaped, withoutEscapes } from "./json-escapes";
import { parseJson } from "./parse-json";

/** A shorter string may be an image as well, and is left in the document. */
const leastStringBytes = 32;

/** So much of a data URL tells what it holds. */
const leastDataUrlBytes = 192;

/** What stands before an image within a longer text: in Markdown, CSS or HTML. */
const dataUrlMark = Buffer.from(";base64,");

/** So much of base64 within a text tells whether it is an image. */
const leastInnerBytes = 64;

/** So much of a document is looked at in one go. */
const windowBytes = 64 * 1024;

/** The start of a document that is no JSON, as far as it is shown. */
export const shownCharacters = 5_000;

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
 * So much of images may be strings in the end, because it is not strict base64 (its lines are broken, it is
 * of the URL's alphabet): that is in memory several times over.
 */
const mostUndecodedBytes = 64 * 1024 * 1024;

/**
 * Reads a JSON document whose images are base64 strings, without ever holding such a string: its
 * contents go from the socket's bytes through a decoder into a sink, and a token takes its place in
 * a skeleton of the document, which is small and goes through `JSON.parse`. So the syntax is checked
 * to the end, and the result is that of {@link parseJson}, save that a long string which is the base64 of
 * an image, alone or in a data URL, is a {@link DecodedImage}. Of an image within a longer string, behind
 * `;base64,` or in JSON that is a string itself, a few words are left there; it is among {@link images}.
 */
export class JsonScanner {
  readonly #createSink: () => ImageSink;
  readonly #decodesImages: boolean;
  readonly #maxImageBytes: number;
  readonly #mostImages: number;
  readonly #maxOtherBytes: number;
  readonly #otherBytesBefore: number;
  /** The document's own bytes, and what was taken out between them. */
  readonly #skeleton: (Buffer | Base64Image)[] = [];
  readonly #found: Base64Image[] = [];
  /** Those of them that are within a longer text. */
  readonly #inner = new Set<Base64Image>();
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
  /** How much of {@link dataUrlMark} its last bytes are. */
  #matched = 0;
  /** What is looked at, or decoded, is within a longer text: it ends where its base64 does. */
  #isInner = false;
  /** It is one image more than is taken. */
  #isSurplus = false;
  /** How long the skeleton is, and how much of it are images that could not be decoded. */
  #keptBytes = 0;
  #undecodedBytes = 0;
  /** The byte before was a backslash that escapes the next. */
  #isEscaped = false;
  #image: Base64Image | undefined;
  /** An escape within an image, as far as it has come. */
  #escape = "";
  /** There has been one in an image: its writer escapes slashes, one in 64 letters. */
  #hasEscapes = false;

  constructor(createSink: () => ImageSink, options: ScanOptions = {}) {
    this.#createSink = createSink;
    this.#decodesImages = options.decodesImages ?? true;
    this.#maxImageBytes = options.maxImageBytes ?? Number.POSITIVE_INFINITY;
    this.#mostImages = options.mostImages ?? Number.POSITIVE_INFINITY;
    this.#maxOtherBytes = options.maxOtherBytes ?? Number.POSITIVE_INFINITY;
    this.#otherBytesBefore = options.otherBytesBefore ?? 0;
  }

  /** How many bytes of the document are no image. */
  get otherBytes(): number {
    return this.#keptBytes - this.#undecodedBytes;
  }

  /** The images that are whole, also where the document breaks after them. */
  get images(): readonly DecodedImage[] {
    return this.#found.flatMap((image) => image.decoded ?? []);
  }

  /** The start of the document, to be shown. */
  get start(): string {
    const end = this.#skeleton.findIndex((piece) => piece instanceof Base64Image);
    return textOf(end === -1 ? this.#skeleton : this.#skeleton.slice(0, end));
  }

  /** What has come after the last image that is whole, as far as a few fields go. */
  get rest(): string {
    const from = 1 + this.#skeleton.findLastIndex((piece) => piece instanceof Base64Image);
    return textOf(this.#skeleton.slice(from, from + 64));
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
    return this.#image?.sink.ready?.();
  }

  /**
   * The document.
   *
   * @throws SyntaxError if it is no JSON.
   */
  async end(): Promise<unknown> {
    if (this.#image !== undefined) this.#giveUp(this.#image);
    if (!this.#decodesImages) for (const image of this.#found) image.giveUp();
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
    for (const piece of this.#skeleton) {
      if (!(piece instanceof Base64Image)) pieces.push(piece);
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
    await this.#image?.sink.discard();
    for (const piece of this.#skeleton) {
      if (piece instanceof Base64Image && piece.decoded === undefined) await piece.sink.discard();
    }
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
        this.#keep(bytes.subarray(from, at));
        from = at;
        // Those were lent: it copies them.
        this.#tryImage();
      } else at = this.#readOutside(bytes, at, from);
    }
    if (from < bytes.length) this.#keep(Buffer.from(bytes.subarray(from)));
  }

  #keep(bytes: Buffer): void {
    this.#skeleton.push(bytes);
    this.#keptBytes += bytes.length;
    this.#checkBytes();
  }

  #checkBytes(): void {
    if (this.#otherBytesBefore + this.otherBytes > this.#maxOtherBytes) {
      throw new Error(`The answer has more than ${this.#maxOtherBytes} bytes beside its images`);
    }
    if (this.#undecodedBytes > mostUndecodedBytes) {
      throw new Error(`Its images are no strict base64, and more than ${mostUndecodedBytes} bytes`);
    }
  }

  #readOutside(bytes: Buffer, at: number, from: number): number {
    const found = bytes.indexOf(quote, at);
    if (found === -1) return bytes.length;
    this.#inString = true;
    this.#isPlain = false;
    this.#isUndecoded = false;
    this.#isInner = false;
    this.#matched = 0;
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
      this.#matched = 0;
      // JSON within the string: one of its own strings may begin.
      if (bytes[at] === quote && !this.#isUndecoded) this.#beginInner(at + 1, from);
      return at + 1;
    }
    const { end: stopAt, stop } = nextMark(bytes, at);
    // No more of a text than has to be looked at: behind it another image may begin.
    const most = this.#isInner ? this.#leastBytes - this.#stringBytes : stopAt;
    const end = Math.min(stopAt, at + most);
    if (this.#isInner || (this.#isPlain && !this.#isUndecoded)) {
      const markEnd = this.#dataUrlMarkEnd(bytes, at, end);
      if (markEnd !== undefined) {
        this.#beginInner(markEnd, from);
        return markEnd;
      }
    }
    this.#stringBytes += end - at;
    if (this.#isUndecoded) this.#undecodedBytes += end - at;
    if (end < stopAt || stop === undefined) return end;
    // What ends the string, or escapes, is for the decoder to see.
    if (this.#stringBytes >= this.#leastBytes && !this.#isPlain) return end;
    this.#isEscaped = stop === backslash;
    this.#inString = this.#isEscaped;
    return end + 1;
  }

  /** Where the next {@link dataUrlMark} ends, a part of which may have come before. */
  #dataUrlMarkEnd(bytes: Buffer, start: number, end: number): number | undefined {
    let at = start;
    if (this.#matched > 0) {
      while (at < end && this.#matched < dataUrlMark.length) {
        if (bytes[at] !== dataUrlMark[this.#matched]) break;
        this.#matched += 1;
        at += 1;
      }
      if (this.#matched < dataUrlMark.length && at === end) return undefined;
      const isWhole = this.#matched === dataUrlMark.length;
      this.#matched = 0;
      if (isWhole) return at;
    }
    const text = bytes.subarray(at, end);
    const found = text.indexOf(dataUrlMark);
    if (found !== -1) return at + found + dataUrlMark.length;
    // Its first character stands in it once.
    const rest = text.subarray(Math.max(0, text.length - dataUrlMark.length + 1));
    const begun = rest.lastIndexOf(dataUrlMark.subarray(0, 1));
    const last = begun === -1 ? undefined : rest.subarray(begun);
    if (last?.equals(dataUrlMark.subarray(0, last.length))) this.#matched = last.length;
    return undefined;
  }

  /** Goes on past the end of a string that nobody takes, or past the next escape. */
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
      this.#keep(Buffer.of(quote));
    }
    return end + 1;
  }

  /** The string is not short. If it begins an image, its text leaves the skeleton and comes once more, for a decoder. */
  #tryImage(): void {
    const { piece, offset } = this.#mark;
    // Only bytes have come since the string began.
    const whole = Buffer.concat(this.#skeleton.splice(piece).filter(Buffer.isBuffer));
    const raw = whole.subarray(offset);
    const start = raw.toString("latin1", 0, 1024);
    const [head = ""] = this.#isInner ? [] : (dataUrlHead.exec(start) ?? []);
    if (!isImageBase64(withoutEscapes(start.slice(head.length)))) {
      if (this.#isInner) {
        this.#skeleton.push(whole);
        this.#isInner = false;
        this.#isPlain = true;
      } else if (start.startsWith("data:") && start.length < leastDataUrlBytes) {
        this.#skeleton.push(whole);
        this.#leastBytes = leastDataUrlBytes;
      } else {
        // Once more, for an image within it.
        this.#isPlain = true;
        this.#skeleton.push(whole.subarray(0, offset));
        this.#keptBytes -= raw.length;
        this.#scan(raw);
      }
      return;
    }
    this.#matched = 0;
    this.#skeleton.push(whole.subarray(0, offset));
    this.#keptBytes -= raw.length;
    if (this.#found.length >= this.#mostImages) this.#isSurplus = true;
    else {
      this.#image = new Base64Image(this.#createSink(), head, this.#maxImageBytes);
      if (this.#isInner) this.#inner.add(this.#image);
      this.#isInner = false;
      this.#scan(raw.subarray(head.length));
    }
  }

  /** Goes on to the end of the image, of the bytes or of an escape, or to where it is no image. */
  #readImage(image: Base64Image, bytes: Buffer, at: number): number {
    if (this.#escape !== "") return this.#readEscape(image, bytes, at);
    if (this.#inner.has(image)) return this.#readInner(image, bytes, at);
    const found = bytes.indexOf(quote, at);
    const end = found === -1 ? bytes.length : found;
    // Few have escapes, and a decoder stumbles over the first: only then is each looked for.
    let reached = this.#hasEscapes ? at : image.add(bytes, at, end);
    if (reached < end) {
      const escapeAt = bytes.subarray(reached, end).indexOf(backslash);
      const stop = escapeAt === -1 ? end : reached + escapeAt;
      if (this.#hasEscapes || stop < end) reached = image.add(bytes, reached, stop);
      if (reached < stop) {
        this.#giveUp(image);
        return reached;
      }
      if (stop < end) {
        this.#hasEscapes = true;
        this.#escape = "\\";
        return stop + 1;
      }
    }
    if (found === -1) return end;
    if (!image.end()) {
      this.#giveUp(image);
      return end;
    }
    this.#skeleton.push(image);
    this.#keep(Buffer.of(quote));
    this.#found.push(image);
    this.#image = undefined;
    this.#inString = false;
    return end + 1;
  }

  /** As {@link #readImage}, to where an image within a text ends: the text goes on. */
  #readInner(image: Base64Image, bytes: Buffer, at: number): number {
    let end = at;
    while (end < bytes.length && isBase64Letter(bytes[end] ?? 0)) end += 1;
    const reached = image.add(bytes, at, end);
    if (reached < end) this.#giveUp(image);
    else if (bytes[end] === backslash) {
      this.#escape = "\\";
      return end + 1;
    } else if (end < bytes.length) this.#endInner(image);
    return reached;
  }

  #endInner(image: Base64Image): void {
    if (!image.end()) {
      this.#giveUp(image);
      return;
    }
    this.#skeleton.push(image);
    this.#found.push(image);
    this.#image = undefined;
    this.#isPlain = true;
    this.#keep(Buffer.from(this.#escape, "latin1"));
    this.#escape = "";
  }

  #readEscape(image: Base64Image, bytes: Buffer, at: number): number {
    this.#escape += bytes.toString("latin1", at, at + 1);
    if (this.#escape.length < (this.#escape[1] === "u" ? 6 : 2)) return at + 1;
    const character = unescaped(this.#escape);
    const isBase64 = character !== undefined && /^[A-Za-z0-9+/=]$/.test(character);
    const isTaken = isBase64 && image.add(Buffer.from(character), 0, 1) === 1;
    if (isTaken) this.#escape = "";
    else if (this.#inner.has(image)) this.#endInner(image);
    else this.#giveUp(image);
    return at + 1;
  }

  /** It is no image, or broke off: the string goes into the skeleton as the text that it was. */
  #giveUp(image: Base64Image): void {
    this.#skeleton.push(image);
    this.#keptBytes += image.textBytes;
    this.#undecodedBytes += image.textBytes;
    this.#keep(Buffer.from(this.#escape, "latin1"));
    this.#escape = "";
    this.#image = undefined;
    this.#isPlain = true;
    this.#isUndecoded = true;
  }
}

/** The text of pieces of a skeleton, as far as it is shown. */
function textOf(pieces: readonly (Buffer | Base64Image)[]): string {
  // Four bytes a character at most: what is shorter than it may be was not cut.
  const bytes = Buffer.concat(pieces.filter(Buffer.isBuffer)).subarray(0, 4 * shownCharacters);
  return bytes.toString("utf8").slice(0, shownCharacters);
}

/** What a scanner has read; `undefined` where it is no JSON. */
export async function documentOf(scanner: JsonScanner): Promise<unknown> {
  try {
    return await scanner.end();
  } catch (error) {
    // Too deep to be looked at is as good as no JSON.
    if (!(isError(error) && ["SyntaxError", "RangeError"].includes(error.name))) throw error;
    return undefined;
  }
}
