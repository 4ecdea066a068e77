import { type Base64Image, Base64Lines, isBase64Letter } from "./base64-image";
import { backslash, quote, readInnerEscape, unescaped } from "./json-escapes";

/** The next byte is a part of this escape, whatever it is. */
const oddBackslashes = /^\\(\\\\)*$/;

/** Reads an image out of a string of JSON, some of whose letters may be escaped, as its bytes come. */
export class StringImage {
  readonly image: Base64Image;
  /** It is within a longer text, and ends where its base64 does. */
  readonly isInner: boolean;
  /** Whether it goes on, has ended, or is none. */
  state: "open" | "whole" | "broken" = "open";
  /** There has been an escape in an image: its writer escapes slashes, one in 64 letters. */
  hasEscapes: boolean;
  /** An escape, as far as it has come; in the end the one that is no part of it. */
  escape = "";
  /** Of an inner image, whose lines end by escapes. */
  readonly #lines = new Base64Lines();

  constructor(image: Base64Image, isInner: boolean, hasEscapes: boolean) {
    this.image = image;
    this.isInner = isInner;
    this.hasEscapes = hasEscapes;
  }

  /** Goes on to the end of it, of the bytes or of an escape, or to where it is no image. */
  read(bytes: Buffer, at: number): number {
    if (this.isInner) {
      return this.escape === "" ? this.#readInner(bytes, at) : this.#readInnerEscape(bytes, at);
    }
    return this.escape === "" ? this.#readWhole(bytes, at) : this.#readEscape(bytes, at);
  }

  /** Its string ends with the quote where this stops. */
  #readWhole(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(quote, at);
    const end = found === -1 ? bytes.length : found;
    // Few have escapes, and a decoder stumbles over the first: only then is each looked for.
    let reached = this.hasEscapes ? at : this.image.add(bytes, at, end);
    if (reached < end) {
      const escapeAt = bytes.subarray(reached, end).indexOf(backslash);
      const stop = escapeAt === -1 ? end : reached + escapeAt;
      if (this.hasEscapes || stop < end) reached = this.image.add(bytes, reached, stop);
      if (reached < stop) {
        this.state = "broken";
        return reached;
      }
      if (stop < end) {
        this.hasEscapes = true;
        this.escape = "\\";
        return stop + 1;
      }
    }
    if (found !== -1) this.#end();
    return end;
  }

  #readInner(bytes: Buffer, at: number): number {
    let end = at;
    while (end < bytes.length && isBase64Letter(bytes[end] ?? 0)) end += 1;
    const reached = this.#addInner(bytes, at, end);
    if (reached < end) this.state = "broken";
    else if (bytes[end] === backslash) {
      this.escape = "\\";
      return end + 1;
    } else if (end < bytes.length) this.#end();
    return reached;
  }

  #addInner(bytes: Buffer, at: number, end: number): number {
    if (end === at) return at;
    this.#lines.take(end - at, bytes[end - 1]);
    return this.image.add(bytes, at, end);
  }

  /** Goes on behind the escape of a letter, or of the end of a line; any other ends the image. */
  #readInnerEscape(bytes: Buffer, at: number): number {
    const next = this.escape + bytes.toString("latin1", at, at + 1);
    const read = readInnerEscape(next);
    if (read === "open") {
      this.escape = next;
      return at + 1;
    }
    if (read === "line break" && this.#lines.passBreak()) {
      this.escape = "";
      return at + 1;
    }
    const isLetter = typeof read === "number" && isBase64Letter(read);
    if (isLetter && this.#addInner(Buffer.of(read), 0, 1) === 1) {
      this.escape = "";
      return at + 1;
    }
    this.#end();
    if (!oddBackslashes.test(this.escape)) return at;
    this.escape = next;
    return at + 1;
  }

  #readEscape(bytes: Buffer, at: number): number {
    this.escape += bytes.toString("latin1", at, at + 1);
    if (this.escape.length < (this.escape[1] === "u" ? 6 : 2)) return at + 1;
    const character = unescaped(this.escape);
    const isBase64 = character !== undefined && /^[A-Za-z0-9+/=]$/.test(character);
    if (isBase64 && this.image.add(Buffer.from(character), 0, 1) === 1) this.escape = "";
    else this.state = "broken";
    return at + 1;
  }

  #end(): void {
    this.state = this.image.end() ? "whole" : "broken";
  }
}
