import { owned, type Take } from "./body";
import { lateZlib } from "./late-zlib";
import { type ByteSink, ZlibSink } from "./zlib-sink";

const trailerBytes = 8;

/** Bits of a header's flags (RFC 1952). */
const hasChecksum = 2;
const hasExtra = 4;
const hasName = 8;
const hasComment = 16;

/**
 * Decompresses gzip: one member, or several in a row. What follows the last is not looked at: Node's own
 * `Gunzip` takes any byte but zero there for another member, and loses all that it had decompressed over it.
 */
export class GunzipSink implements ByteSink {
  readonly #next: ByteSink;
  #state: "header" | "data" | "trailer" | "ended" = "header";
  /** Bytes that are not for zlib: parts of a header or a trailer. */
  #waiting: Buffer = Buffer.alloc(0);
  #member: Inflating | undefined;
  #hasSourceEnded = false;

  constructor(next: ByteSink) {
    this.#next = next;
  }

  readonly take: Take = (chunk, isBorrowed) => {
    if (this.#state === "ended") throw new Error("What was compressed has ended");
    if (this.#state === "data") return this.#member?.take(owned(chunk, isBorrowed));
    this.#waiting = Buffer.concat([this.#waiting, chunk]);
    return this.#advance();
  };

  readonly end = (): void => {
    this.#hasSourceEnded = true;
    if (this.#state === "data") this.#member?.end();
    else if (this.#state !== "ended") this.#endBetween();
  };

  readonly fail = (error: unknown): void => {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#member?.fail(error);
    this.#next.fail(error);
  };

  /** After a member, its trailer may be missing: all that was compressed is there. */
  #endBetween(): void {
    if (this.#member === undefined && this.#waiting.length > 0) {
      this.fail(zlibError("Z_BUF_ERROR", "unexpected end of file"));
    } else this.#finish();
  }

  #finish(): void {
    this.#state = "ended";
    this.#next.end();
  }

  /** Reads a trailer and a header, as soon as they are there. */
  #advance(): Promise<void> | undefined {
    if (this.#state === "trailer") {
      if (this.#waiting.length < trailerBytes) return undefined;
      if (!this.#member?.isDescribedBy(this.#waiting)) {
        this.fail(zlibError("Z_DATA_ERROR", "incorrect data check"));
        return undefined;
      }
      this.#waiting = this.#waiting.subarray(trailerBytes);
      this.#state = "header";
    }
    const headerBytes = headerLength(this.#waiting);
    if (headerBytes !== undefined) return this.#inflate(this.#waiting.subarray(headerBytes));
    if (hasMagic(this.#waiting) && this.#waiting.length <= mostHeaderBytes) return undefined;
    if (this.#member !== undefined) this.#finish();
    else this.fail(zlibError("Z_DATA_ERROR", "incorrect header check"));
    return undefined;
  }

  #inflate(first: Buffer): Promise<void> | undefined {
    this.#state = "data";
    const onEnd = (rest: Buffer) => {
      this.#state = "trailer";
      this.#waiting = rest;
      this.#advance();
      if (this.#hasSourceEnded) this.end();
    };
    const { take } = this.#next;
    const member = new Inflating({ take, end: this.end, fail: this.fail }, onEnd);
    this.#member = member;
    const taken = first.length === 0 ? undefined : member.take(first);
    if (this.#hasSourceEnded) member.end();
    return taken;
  }
}

function zlibError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** The data of one member. */
class Inflating {
  readonly #stream = lateZlib().createInflateRaw();
  readonly #sink: ZlibSink;
  /** What was given to zlib, and may not have been read by it. */
  readonly #given: Buffer[] = [];
  /** What was given before that. */
  #forgottenBytes = 0;
  #checksum = 0;
  #byteLength = 0;

  constructor(next: ByteSink, onEnd: (rest: Buffer) => void) {
    const take: Take = (piece, isBorrowed) => {
      this.#checksum = lateZlib().crc32(piece, this.#checksum);
      this.#byteLength += piece.byteLength;
      return next.take(piece, isBorrowed);
    };
    this.#sink = new ZlibSink(this.#stream, {
      take,
      end: () => onEnd(this.#rest()),
      fail: next.fail,
    });
  }

  take(chunk: Buffer): Promise<void> | undefined {
    for (let [first] = this.#given; first !== undefined; [first] = this.#given) {
      if (this.#readBytes < first.length) break;
      this.#forgottenBytes += first.length;
      this.#given.shift();
    }
    this.#given.push(chunk);
    return this.#sink.take(chunk, false);
  }

  end(): void {
    this.#sink.end();
  }

  fail(error: unknown): void {
    this.#sink.fail(error);
  }

  /** Whether checksum and length are those of a trailer. */
  isDescribedBy(trailer: Buffer): boolean {
    return (
      trailer.readUInt32LE(0) === this.#checksum &&
      trailer.readUInt32LE(4) === this.#byteLength % 2 ** 32
    );
  }

  /** How much zlib has read of what is not forgotten. */
  get #readBytes(): number {
    return this.#stream.bytesWritten - this.#forgottenBytes;
  }

  /** What was given, and is no part of the data. */
  #rest(): Buffer {
    return Buffer.concat(this.#given).subarray(this.#readBytes);
  }
}

/** A longer one is none: it would be held in memory. */
const mostHeaderBytes = 64 * 1024;

/** Whether bytes are those that a header begins with, as far as they have come. */
function hasMagic(bytes: Buffer): boolean {
  return Buffer.of(0x1f, 0x8b, 8).subarray(0, bytes.length).equals(bytes.subarray(0, 3));
}

/** How long a header is, once all of it has come. */
function headerLength(bytes: Buffer): number | undefined {
  if (!hasMagic(bytes) || bytes.length < 10) return undefined;
  const flags = bytes.readUInt8(3);
  let at = 10;
  if (flags & hasExtra) {
    if (bytes.length < at + 2) return undefined;
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const flag of [hasName, hasComment]) {
    if (!(flags & flag)) continue;
    const end = bytes.indexOf(0, at);
    if (end === -1) return undefined;
    at = end + 1;
  }
  if (flags & hasChecksum) at += 2;
  return at <= bytes.length ? at : undefined;
}
