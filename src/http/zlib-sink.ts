import type { Transform } from "node:stream";
import { owned, type Take } from "./body";

/** Takes the bytes of a body, and hears how it ends. */
export interface ByteSink {
  /** Throws, or rejects, where nothing more is taken. */
  readonly take: Take;
  readonly end: () => void;
  readonly fail: (error: unknown) => void;
}

/** Decompresses by one of zlib's streams. */
export class ZlibSink implements ByteSink {
  readonly #stream: Transform;
  readonly #next: ByteSink;
  #hasBegun = false;
  /** Why nothing more is taken. */
  #refusal: { readonly reason: unknown } | undefined;
  /** Resumes the producer. */
  #goOn: (() => void) | undefined;
  /** The last piece is still being taken. */
  #taking: Promise<void> | undefined;

  constructor(stream: Transform, next: ByteSink) {
    this.#stream = stream;
    this.#next = next;
    stream.on("data", (piece: Buffer) => this.#give(piece));
    stream.on("drain", () => this.#release());
    stream.on("error", (error) => this.fail(error));
    // Also where bytes follow the end of what was compressed (`processCallback` of Node's lib/zlib.js).
    stream.once("end", () => {
      if (this.#taking === undefined) this.#finish();
      else this.#taking.then(() => this.#finish(), this.fail);
    });
  }

  readonly take: Take = (chunk, isBorrowed) => {
    if (this.#refusal !== undefined) throw this.#refusal.reason;
    this.#hasBegun ||= chunk.byteLength > 0;
    if (this.#stream.write(owned(chunk, isBorrowed))) return undefined;
    return new Promise((resolve) => {
      this.#goOn = resolve;
    });
  };

  readonly end = (): void => {
    if (this.#refusal !== undefined) return;
    // An empty body is as empty decompressed.
    if (this.#hasBegun) this.#stream.end();
    else this.#finish();
  };

  readonly fail = (error: unknown): void => {
    if (this.#refusal !== undefined) return;
    this.#refusal = { reason: error };
    this.#stream.destroy();
    this.#release();
    this.#next.fail(error);
  };

  #give(piece: Buffer): void {
    try {
      this.#taking = this.#next.take(piece, false);
      if (this.#taking === undefined) return;
      this.#stream.pause();
      this.#taking.then(() => this.#stream.resume(), this.fail);
    } catch (error) {
      this.fail(error);
    }
  }

  #finish(): void {
    if (this.#refusal !== undefined) return;
    this.#refusal = { reason: new Error("What was compressed has ended") };
    this.#stream.destroy();
    this.#release();
    this.#next.end();
  }

  #release(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }
}
