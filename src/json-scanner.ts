import { randomBytes } from "node:crypto";
import { DecodedImage, type ImageSink } from "./decoded-image";
import { ImageInspection } from "./image-inspection";
import { sniff } from "./media";

const quote = 0x22;
const backslash = 0x5c;
const dash = 0x2d;
const underscore = 0x5f;

/** A shorter string is not worth a detour. */
const longStringBytes = 1024;

/** How much base64 is decoded at once; a multiple of four. */
const pieceBytes = 64 * 1024;

/** The start of a document that is no JSON, as far as it is shown. */
export const shownCharacters = 5_000;

/** What stands before the base64 in a data URL. Some escape the slash of the media type. */
const dataUrlHead = /^data:(?:[ !#-+\--[\]-~]|\\\/){0,100};base64,/i;

/**
 * Reads a JSON document whose images are base64 strings, without ever holding such a string: its
 * contents go from the socket's bytes through a decoder into a sink, and a token takes its place in
 * a skeleton of the document, which is small and goes through `JSON.parse`. So the syntax is checked
 * to the end, and the result is that of `JSON.parse`, save that a long string which is the base64 of
 * an image, alone or in a data URL, is a {@link DecodedImage}.
 */
export class JsonScanner {
  readonly #createSink: () => ImageSink;
  /** The document's own bytes, and what was taken out between them. */
  readonly #skeleton: (Buffer | Base64Image)[] = [];
  readonly #found: Base64Image[] = [];
  #inString = false;
  /** Where in the skeleton the contents of the present string begin. */
  #mark = { piece: 0, offset: 0 };
  #stringBytes = 0;
  /** The present string is known not to be an image. */
  #isPlain = false;
  /** The byte before was a backslash that escapes the next. */
  #isEscaped = false;
  #image: Base64Image | undefined;
  /** An escape within an image, as far as it has come. */
  #escape = "";
  /** There has been one in an image: its writer escapes slashes, one in 64 letters. */
  #hasEscapes = false;

  constructor(createSink: () => ImageSink) {
    this.#createSink = createSink;
  }

  /** The images that are whole, also where the document breaks after them. */
  get images(): readonly DecodedImage[] {
    return this.#found.flatMap((image) => image.decoded ?? []);
  }

  /** How many strings have turned out to be images so far. */
  get imageCount(): number {
    return this.#found.length;
  }

  /** The start of the document, to be shown. */
  get start(): string {
    const end = this.#skeleton.findIndex((piece) => piece instanceof Base64Image);
    const pieces = end === -1 ? this.#skeleton : this.#skeleton.slice(0, end);
    // Four bytes a character at most: what is shorter than it may be was not cut.
    const bytes = Buffer.concat(pieces.filter(Buffer.isBuffer)).subarray(0, 4 * shownCharacters);
    return bytes.toString("utf8").slice(0, shownCharacters);
  }

  /** Takes the next bytes, which are only lent, and may ask to wait before more come. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    const bytes = Buffer.isBuffer(chunk)
      ? chunk
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    // In windows: after each of many escapes the search for a quote begins anew.
    if (bytes.length <= pieceBytes) this.#scan(bytes);
    else {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        this.#scan(bytes.subarray(at, at + pieceBytes));
      }
    }
    return this.#image?.sink?.ready?.();
  }

  /**
   * The document.
   *
   * @throws SyntaxError if it is no JSON.
   */
  async end(): Promise<unknown> {
    if (this.#image !== undefined) this.#giveUp(this.#image);
    const seen = new Set<DecodedImage>();
    const document = await this.#parsed(seen);
    const unseen = this.#found.filter(({ decoded }) => decoded !== undefined && !seen.has(decoded));
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
      else {
        const token = `${secret}:${images.size}`;
        images.set(token, piece.decoded);
        pieces.push(Buffer.from(token));
      }
    }
    const text = Buffer.concat(pieces).toString("utf8");
    if (images.size === 0) return JSON.parse(text);
    return JSON.parse(text, (_, value: unknown) => {
      const image = typeof value === "string" ? images.get(value) : undefined;
      if (image === undefined) return value;
      seen.add(image);
      return image;
    });
  }

  /** Lets go of whatever is not a whole image. */
  async discard(): Promise<void> {
    await this.#image?.sink?.discard();
    for (const piece of this.#skeleton) {
      if (piece instanceof Base64Image && piece.decoded === undefined) await piece.sink?.discard();
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
      } else if (this.#inString) {
        at = this.#readString(bytes, at);
        if (this.#isPlain || this.#stringBytes < longStringBytes || !this.#inString) continue;
        this.#skeleton.push(bytes.subarray(from, at));
        from = at;
        // Those were lent: it copies them.
        this.#tryImage();
      } else at = this.#readOutside(bytes, at, from);
    }
    if (from < bytes.length) this.#skeleton.push(Buffer.from(bytes.subarray(from)));
  }

  #readOutside(bytes: Buffer, at: number, from: number): number {
    const found = bytes.indexOf(quote, at);
    if (found === -1) return bytes.length;
    this.#inString = true;
    this.#isPlain = false;
    this.#stringBytes = 0;
    this.#mark = { piece: this.#skeleton.length, offset: found + 1 - from };
    return found + 1;
  }

  /** Goes on past the end of the string, past the next escape, or to where it turns out to be long. */
  #readString(bytes: Buffer, at: number): number {
    if (this.#isEscaped) {
      this.#isEscaped = false;
      this.#stringBytes += 1;
      return at + 1;
    }
    const { end, stop } = nextMark(bytes, at);
    this.#stringBytes += end - at;
    if (stop === undefined) return end;
    // What ends the string, or escapes, is for the decoder to see.
    if (this.#stringBytes >= longStringBytes && !this.#isPlain) return end;
    this.#isEscaped = stop === backslash;
    this.#inString = this.#isEscaped;
    return end + 1;
  }

  /** The string is long. Its text leaves the skeleton and comes once more, for a decoder. */
  #tryImage(): void {
    const { piece, offset } = this.#mark;
    // Only bytes have come since the string began.
    const whole = Buffer.concat(this.#skeleton.splice(piece).filter(Buffer.isBuffer));
    this.#skeleton.push(whole.subarray(0, offset));
    const raw = whole.subarray(offset);
    const [head = ""] = dataUrlHead.exec(raw.toString("latin1", 0, 128)) ?? [];
    this.#image = new Base64Image(this.#createSink, head);
    this.#scan(raw.subarray(head.length));
  }

  /** Goes on to the end of the image, of the bytes or of an escape, or to where it is no image. */
  #readImage(image: Base64Image, bytes: Buffer, at: number): number {
    if (this.#escape !== "") return this.#readEscape(image, bytes, at);
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
    this.#skeleton.push(image, Buffer.of(quote));
    this.#found.push(image);
    this.#image = undefined;
    this.#inString = false;
    return end + 1;
  }

  #readEscape(image: Base64Image, bytes: Buffer, at: number): number {
    this.#escape += bytes.toString("latin1", at, at + 1);
    if (this.#escape.length < (this.#escape[1] === "u" ? 6 : 2)) return at + 1;
    const character = unescaped(this.#escape);
    const isBase64 = character !== undefined && /^[A-Za-z0-9+/=]$/.test(character);
    const isTaken = isBase64 && image.add(Buffer.from(character), 0, 1) === 1;
    if (isTaken) this.#escape = "";
    else this.#giveUp(image);
    return at + 1;
  }

  /** It is no image, or broke off: the string goes into the skeleton as the text that it was. */
  #giveUp(image: Base64Image): void {
    this.#skeleton.push(image, Buffer.from(this.#escape, "latin1"));
    this.#escape = "";
    this.#image = undefined;
    this.#isPlain = true;
  }
}

/** The next quote or backslash, if there is one. */
function nextMark(bytes: Buffer, at: number): { end: number; stop?: number } {
  const quoteAt = bytes.indexOf(quote, at);
  const limit = quoteAt === -1 ? bytes.length : quoteAt;
  const escapeAt = bytes.subarray(at, limit).indexOf(backslash);
  if (escapeAt !== -1) return { end: at + escapeAt, stop: backslash };
  return quoteAt === -1 ? { end: limit } : { end: limit, stop: quote };
}

/** What an escape of JSON stands for; `undefined` where it is none. */
function unescaped(sequence: string): string | undefined {
  try {
    const character: unknown = JSON.parse(`"${sequence}"`);
    return typeof character === "string" ? character : undefined;
  } catch {
    // The document is no JSON, and `JSON.parse` says so in the end.
    return undefined;
  }
}

/** How many bytes are kept to say what an image is, and how much base64 is needed for that. */
const headBytes = 64;
const signatureLetters = 24;

/** Decodes base64 as it comes, as long as it is that of an image, and strictly so. */
class Base64Image {
  readonly #createSink: () => ImageSink;
  #sink: ImageSink | undefined;
  /** What stands before the base64 in a data URL, as it came. */
  readonly #before: string;
  /** The last characters, up to four: only what nothing follows may be padded. */
  #rest = "";
  #byteLength = 0;
  #head: Buffer = Buffer.alloc(0);
  readonly #inspection = new ImageInspection();
  #decoded: DecodedImage | undefined;

  constructor(createSink: () => ImageSink, before: string) {
    this.#createSink = createSink;
    this.#before = before;
  }

  /** Made once it is known to be an image: many a long string is none. */
  get sink(): ImageSink | undefined {
    return this.#sink;
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
      const most = this.#sink === undefined ? signatureLetters : pieceBytes;
      const length = Math.min((end - at - 1) & ~3, most);
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
    if (last.toString("base64") !== this.#rest || this.#sink === undefined) return false;
    this.#sink.reserve(last.length).set(last);
    this.#sink.commit(last.length);
    this.#sink.end?.();
    this.#inspection.push(last);
    this.#inspection.end();
    this.#byteLength += last.length;
    this.#rest = "";
    const { isTruncated } = this.#inspection;
    this.#decoded = new DecodedImage(this.#sink, this.#byteLength, this.#head, isTruncated);
    return true;
  }

  /** Whole as it is, it is a string like any other. */
  giveUp(): void {
    this.#decoded = undefined;
  }

  /** The string as it came: what is decoded is strict base64, so that encoding gives it back. */
  async text(): Promise<Buffer> {
    const decoded = (await this.#sink?.read()) ?? this.#head;
    return Buffer.from(this.#before + decoded.toString("base64") + this.#rest, "latin1");
  }

  /** Decodes whole quartets; false where they are not, or are padded, or begin no image. */
  #decode(text: string): boolean {
    if (this.#sink === undefined) return this.#decodeHead(text);
    const byteLength = (text.length / 4) * 3;
    const room = this.#sink.reserve(byteLength);
    if (room.write(text, "base64") !== byteLength) return false;
    if (this.#head.length < headBytes) {
      this.#head = Buffer.concat([this.#head, room.subarray(0, byteLength)]).subarray(0, headBytes);
    }
    this.#byteLength += byteLength;
    this.#inspection.push(room.subarray(0, byteLength));
    this.#sink.commit(byteLength);
    return true;
  }

  /** The first few letters, until they say what it is. */
  #decodeHead(text: string): boolean {
    const decoded = Buffer.from(text, "base64");
    if (decoded.length !== (text.length / 4) * 3) return false;
    const head = Buffer.concat([this.#head, decoded]);
    const isKnown = head.length >= (signatureLetters / 4) * 3;
    if (isKnown && sniff(head) === undefined) return false;
    this.#head = head;
    this.#byteLength = head.length;
    if (!isKnown) return true;
    this.#sink = this.#createSink();
    this.#sink.reserve(head.length).set(head);
    this.#sink.commit(head.length);
    this.#inspection.push(head);
    return true;
  }
}
