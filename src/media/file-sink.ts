import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { AbortSignalLike } from "../async/clock";
import { makeDirectory } from "../files/directories";
import { type ImageSink, MemorySink } from "./decoded-image";
import { writeBeside } from "./write-beside";

const blockBytes = 256 * 1024;

/** Blocks that were written, to be filled again by whichever image comes next, while any is on its way. */
const freeBlocks: Buffer[] = [];
let openFiles = 0;

/** How many are pooled: four megabytes. */
const mostFreeBlocks = 16;

/**
 * An image on its way into a directory, under a temporary name until it is moved. If the
 * disk fails, the image was paid for all the same: it goes on in memory.
 */
export class FileSink implements ImageSink {
  readonly directory: string;
  #path: string;
  /** Open until it is moved or not wanted: if its name is cleared away meanwhile, the bytes are there. */
  #file: FileHandle | undefined;
  #block: Buffer = Buffer.alloc(0);
  #used = 0;
  /** Blocks on their way to the disk. */
  readonly #full: Buffer[] = [];
  #onDisk = 0;
  #writing: Promise<void> | undefined;
  #isMoved = false;
  #memory: MemorySink | undefined;
  /** Why the rest went on in memory. */
  diskError: unknown;

  constructor(directory: string) {
    this.directory = directory;
    this.#path = join(directory, `.${randomUUID()}.part`);
  }

  reserve(length: number): Buffer {
    if (this.#memory !== undefined) return this.#memory.reserve(length);
    if (this.#block.length - this.#used < length) {
      this.#passOn();
      this.#block = takeBlock(length);
    }
    return this.#block.subarray(this.#used);
  }

  commit(length: number): void {
    if (this.#memory === undefined) this.#used += length;
    else this.#memory.commit(length);
  }

  ready(): Promise<void> | undefined {
    return this.#full.length > 1 ? this.#writing : undefined;
  }

  end(): void {
    this.#passOn();
    this.#start();
  }

  async read(): Promise<Buffer<ArrayBuffer>> {
    await this.#ended();
    if (this.#memory !== undefined) return this.#memory.read();
    // A file is made for the first byte.
    if (this.#onDisk === 0) return Buffer.alloc(0);
    return this.#file === undefined ? readFile(this.#path) : this.#readBack(this.#file);
  }

  async #readBack(file: FileHandle): Promise<Buffer<ArrayBuffer>> {
    const bytes = Buffer.allocUnsafeSlow(this.#onDisk);
    await readAll(file, bytes, 0);
    return bytes;
  }

  /** The SHA-256 of what was taken, once it has ended. */
  async digest(): Promise<string> {
    await this.#ended();
    const hash = createHash("sha256");
    if (this.#file === undefined) hash.update(await this.read());
    else for await (const piece of piecesOf(this.#file, this.#onDisk)) hash.update(piece);
    return hash.digest("hex");
  }

  async toMemory(): Promise<void> {
    await this.#ended();
    if (this.#memory !== undefined || this.#isMoved) return;
    await this.#goOnInMemory();
  }

  async moveTo(path: string, end?: AbortSignalLike): Promise<boolean> {
    await this.#ended();
    end?.throwIfAborted();
    // From then on the file belongs to the caller.
    if (this.#memory !== undefined || this.#isMoved) return false;
    try {
      await rename(this.#path, path);
    } catch (error) {
      const file = this.#file;
      if (file === undefined) throw error;
      if (!(await this.#writeAnew(file, path))) return false;
    }
    this.#path = path;
    this.#isMoved = true;
    await this.#close();
    return true;
  }

  /** Its directory was cleared away: the bytes go into one that is made anew. */
  async #writeAnew(file: FileHandle, path: string): Promise<boolean> {
    try {
      await makeDirectory(dirname(path));
      await writeBeside(dirname(path), path, piecesOf(file, this.#onDisk));
      await rm(this.#path, { force: true });
      return true;
    } catch (error) {
      this.diskError = error;
      await this.#goOnInMemory();
      return false;
    }
  }

  async discard(): Promise<void> {
    this.#full.length = 0;
    this.#used = 0;
    // Errors of a discarded file do not matter.
    await this.#ended().catch(() => {});
    await this.#close().catch(() => {});
    if (!this.#isMoved) await rm(this.#path, { force: true }).catch(() => {});
  }

  async #ended(): Promise<void> {
    this.end();
    await this.#writing;
  }

  /** The block goes to the disk. */
  #passOn(): void {
    if (this.#used === 0) return;
    this.#full.push(this.#block.subarray(0, this.#used));
    this.#block = Buffer.alloc(0);
    this.#used = 0;
    this.#start();
  }

  #start(): void {
    this.#writing ??= this.#write();
    // Readers get the error; unread, it must not end the process.
    this.#writing.catch(() => {});
  }

  async #write(): Promise<void> {
    try {
      for (let [next] = this.#full; next !== undefined; [next] = this.#full) {
        this.#file ??= await this.#open();
        // At its place: one that was written in part is written again.
        await writeAt(this.#file, next, this.#onDisk);
        this.#onDisk += next.length;
        this.#full.shift();
        release(next.buffer);
      }
    } catch (error) {
      this.diskError = error;
      await this.#goOnInMemory();
    }
    this.#writing = undefined;
  }

  async #close(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    openFiles -= 1;
    if (openFiles === 0) freeBlocks.length = 0;
    await file.close();
  }

  async #open(): Promise<FileHandle> {
    await makeDirectory(this.directory);
    const file = await open(this.#path, "wx+");
    openFiles += 1;
    return file;
  }

  /** Saving it says later what is wrong with the disk. */
  async #goOnInMemory(): Promise<void> {
    const memory = new MemorySink(this.#onDisk);
    try {
      const written = memory.reserve(this.#onDisk).subarray(0, this.#onDisk);
      if (this.#file !== undefined) await readAll(this.#file, written, 0);
      memory.commit(written.length);
    } catch (error) {
      await this.#close().catch(() => {});
      throw error;
    }
    for (const bytes of [...this.#full.splice(0), this.#block.subarray(0, this.#used)]) {
      bytes.copy(memory.reserve(bytes.length));
      memory.commit(bytes.length);
    }
    this.#memory = memory;
    this.#block = Buffer.alloc(0);
    this.#used = 0;
    // Neither matters any more: the image is in memory.
    await this.#close().catch(() => {});
    await rm(this.#path, { force: true }).catch(() => {});
  }
}

function takeBlock(length: number): Buffer {
  if (length > blockBytes) return Buffer.allocUnsafeSlow(length);
  return freeBlocks.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
}

function release(memory: ArrayBufferLike): void {
  const isUsual = memory.byteLength === blockBytes;
  if (isUsual && freeBlocks.length < mostFreeBlocks) freeBlocks.push(Buffer.from(memory));
}

/** What is in a file, in memory that is filled anew for each piece. */
async function* piecesOf(file: FileHandle, length: number): AsyncGenerator<Buffer> {
  const block = Buffer.allocUnsafeSlow(Math.min(blockBytes, length));
  for (let at = 0; at < length; at += block.length) {
    const piece = block.subarray(0, length - at);
    await readAll(file, piece, at);
    yield piece;
  }
}

async function readAll(file: FileHandle, into: Buffer, position: number): Promise<void> {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at);
    if (bytesRead === 0) throw new Error("The file is shorter than what was written");
    at += bytesRead;
  }
}

/** Writes all of it: a single write may take less. */
async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}
