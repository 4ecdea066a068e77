import type { ImageBytes } from "../realm";
import { joined } from "./own-bytes";

/** Where the bytes of an image go while the rest of its document is still on the way. */
export interface ImageSink {
  /** Memory for the next bytes, at least `length` of them. */
  reserve(length: number): Buffer;
  /** Takes the first `length` bytes of what was reserved last. */
  commit(length: number): void;
  /** The producer awaits this before the next chunk; absent if it need not wait. */
  ready?(): Promise<void> | undefined;
  /** Nothing follows. */
  end?(): void;
  /** Everything that was taken. */
  read(): Promise<Buffer & ImageBytes>;
  /** Where the bytes go into a file: the directory that it is in. */
  readonly directory?: string;
  /** Gives that file a name. False where the bytes are not in it after all. */
  moveTo?(path: string): Promise<boolean>;
  /** Takes the bytes back from that file, which goes: they are no image that may have a name. */
  toMemory?(): Promise<void>;
  /** Discards what was taken. */
  discard(): Promise<void>;
}

/** A base64 image of a JSON document, decoded on its way: stands where its string stood. */
export class DecodedImage {
  readonly sink: ImageSink;
  readonly byteLength: number;
  /** The first bytes, which say what it is. */
  readonly head: Uint8Array;
  /** Whether the file lacks its end. */
  readonly isTruncated: boolean;

  constructor(sink: ImageSink, byteLength: number, head: Uint8Array, isTruncated = false) {
    this.sink = sink;
    this.byteLength = byteLength;
    this.head = head;
    this.isTruncated = isTruncated;
  }

  toJSON(): string {
    return `<an image of ${this.byteLength} bytes>`;
  }
}

const firstBlockBytes = 64 * 1024;
const largestBlockBytes = 1024 * 1024;

/** An image in memory. */
export class MemorySink implements ImageSink {
  readonly #blocks: Buffer<ArrayBuffer>[] = [];
  #nextBytes: number;
  #block: Buffer<ArrayBuffer> = Buffer.alloc(0);
  #used = 0;

  /** @param expectedBytes how many will come, where that is known: one block holds them then. */
  constructor(expectedBytes = 0) {
    this.#nextBytes = Math.max(expectedBytes, firstBlockBytes);
  }

  reserve(length: number): Buffer {
    if (this.#block.length - this.#used < length) {
      this.#close();
      this.#block = Buffer.allocUnsafeSlow(Math.max(this.#nextBytes, length));
      this.#nextBytes = Math.min(2 * this.#nextBytes, largestBlockBytes);
    }
    return this.#block.subarray(this.#used);
  }

  commit(length: number): void {
    this.#used += length;
  }

  #close(): void {
    if (this.#used > 0) this.#blocks.push(this.#block.subarray(0, this.#used));
    this.#block = Buffer.alloc(0);
    this.#used = 0;
  }

  async read(): Promise<Buffer<ArrayBuffer>> {
    this.#close();
    const [first, second] = this.#blocks;
    if (first !== undefined && second === undefined) {
      const spare = first.buffer.byteLength - first.length;
      const isLittle = first.length > largestBlockBytes && spare < first.length / 10;
      if (spare === 0 || isLittle) {
        // Of eight images of 12 MB at once a copy would cost half as much memory and CPU again. What is
        // behind it in the block is nobody else's, and shows nothing.
        new Uint8Array(first.buffer, first.length).fill(0);
        return first;
      }
    }
    const whole = joined(this.#blocks);
    this.#blocks.splice(0, Number.POSITIVE_INFINITY, whole);
    return whole;
  }

  async discard(): Promise<void> {
    this.#blocks.length = 0;
    this.#block = Buffer.alloc(0);
    this.#used = 0;
  }
}
