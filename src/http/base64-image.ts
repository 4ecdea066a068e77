import { DecodedImage, type ImageSink } from "../media/decoded-image";
import { ImageInspection } from "../media/image-inspection";

const dash = 0x2d;
const underscore = 0x5f;
/** What pads base64. */
export const equalsSign = 0x3d;

/** How much base64 is decoded at once; a multiple of four. */
const pieceBytes = 64 * 1024;

/** How many bytes are kept to say what an image is. */
const headBytes = 64;

/** An image in a response is larger than the client takes. */
export class ImageTooLargeError extends Error {
  override readonly name = "ImageTooLargeError";

  constructor(maxBytes: number) {
    super(`An image in the response is larger than ${maxBytes} bytes (\`maxDownloadBytes\`)`);
  }
}

/** Decodes the base64 of an image as it comes, as long as it is strictly so. */
export class Base64Image {
  readonly sink: ImageSink;
  readonly #maxBytes: number;
  /** What stands before the base64 in a data URL, as it came. */
  readonly #before: string;
  /** The last characters, up to four: only what nothing follows may be padded. */
  #rest = "";
  #byteLength = 0;
  #head: Buffer = Buffer.alloc(0);
  readonly #inspection = new ImageInspection();
  #decoded: DecodedImage | undefined;

  constructor(sink: ImageSink, before: string, maxBytes: number) {
    this.sink = sink;
    this.#before = before;
    this.#maxBytes = maxBytes;
  }

  /** How long its text is, as far as it has come. */
  get textBytes(): number {
    return this.#before.length + Math.ceil(this.#byteLength / 3) * 4 + this.#rest.length;
  }

  /** The image, once it is whole. */
  get decoded(): DecodedImage | undefined {
    return this.#decoded;
  }

  /** Takes base64 from `start` to `end`, and gives how far it has come: to `end`, if all of it is. */
  add(bytes: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#rest !== "") {
      const taken = Math.min(4 - this.#rest.length, end - at);
      const quartet = this.#rest + bytes.toString("latin1", at, at + taken);
      if (at + taken < end) {
        if (/[-_]/.test(quartet) || !this.#decode(quartet)) return at;
        this.#rest = "";
      } else if (quartet.includes("\\")) return at;
      else this.#rest = quartet;
      at += taken;
    }
    // Of the URL alphabet, which a decoder takes as well.
    const letters = bytes.subarray(at, end);
    const isOther = letters.includes(dash) || letters.includes(underscore);
    while (end - at > 4) {
      const length = Math.min((end - at - 1) & ~3, pieceBytes);
      if (isOther || !this.#decode(bytes.toString("latin1", at, at + length))) return at;
      at += length;
    }
    if (at < end) {
      const rest = bytes.toString("latin1", at, end);
      if (rest.includes("\\")) return at;
      this.#rest = rest;
    }
    return end;
  }

  /** True if it ends as strict base64 does, and is an image. */
  end(): boolean {
    const last = Buffer.from(this.#rest, "base64");
    // Whatever a decoder forgives would not come back the same.
    if (last.toString("base64") !== this.#rest) return false;
    this.#take(last);
    this.sink.end?.();
    this.#inspection.end();
    this.#rest = "";
    const { isTruncated } = this.#inspection;
    this.#decoded = new DecodedImage(this.sink, this.#byteLength, this.#head, isTruncated);
    return true;
  }

  /** Whole as it is, it is a string like any other. */
  giveUp(): void {
    this.#decoded = undefined;
  }

  /**
   * The string as it came, but for escapes and the ends of lines within it: what is decoded is strict base64,
   * so that encoding gives it back.
   */
  async text(): Promise<Buffer> {
    const decoded = await this.sink.read();
    return Buffer.from(this.#before + decoded.toString("base64") + this.#rest, "latin1");
  }

  /** Decodes whole quartets; false where they are not, or are padded. */
  #decode(text: string): boolean {
    const byteLength = (text.length / 4) * 3;
    const room = this.sink.reserve(byteLength);
    if (room.write(text, "base64") !== byteLength) return false;
    this.#took(room.subarray(0, byteLength));
    return true;
  }

  #take(bytes: Buffer): void {
    this.sink.reserve(bytes.length).set(bytes);
    this.#took(bytes);
  }

  #took(bytes: Buffer): void {
    if (this.#head.length < headBytes) {
      this.#head = Buffer.concat([this.#head, bytes]).subarray(0, headBytes);
    }
    this.#byteLength += bytes.length;
    this.#inspection.push(bytes);
    this.sink.commit(bytes.length);
    if (this.#byteLength > this.#maxBytes) throw new ImageTooLargeError(this.#maxBytes);
  }
}

/** Whether a byte is a letter of base64, of either alphabet. */
export function isBase64Letter(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x2f && byte <= 0x39) ||
    [0x2b, equalsSign, dash, underscore].includes(byte)
  );
}

/** How long the lines of base64 are where it is broken into lines: 64 or 76 letters. */
const shortestLine = 60;
const longestLine = 128;

/** Where base64 stands in a text: in one line or in many, up to what pads it. */
export class Base64Lines {
  #length = 0;
  /** A line has ended: the next letters begin another. */
  #isBroken = false;
  #isPadded = false;

  /** Nothing but more of what pads it may follow. */
  get isPadded(): boolean {
    return this.#isPadded;
  }

  /** So many letters have come, the last of them this one. */
  take(count: number, last: number | undefined): void {
    this.#length = (this.#isBroken ? 0 : this.#length) + count;
    this.#isBroken = false;
    this.#isPadded = last === equalsSign;
  }

  /** Whether it goes on behind the end of a line that stands here. */
  passBreak(): boolean {
    const isLine = this.#length >= shortestLine && this.#length <= longestLine;
    if (!isLine || this.#isPadded) return false;
    this.#isBroken = true;
    return true;
  }

  /** It has ended: others may begin. */
  reset(): void {
    this.#length = 0;
    this.#isBroken = false;
    this.#isPadded = false;
  }
}
