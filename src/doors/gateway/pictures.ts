import { randomUUID } from "node:crypto";
import { mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";
import { makeDirectory, syncDirectory } from "../../files/directories";
import type { GeneratedImage } from "../../index";
import type { Picture } from "./ends";
import type { PictureFile } from "./exchange";

/** A picture up to this size waits in memory. */
export const mostBytesInMemory = 256 * 1024;

const pieceBytes = 256 * 1024;

/** Where pictures wait. */
export class Spool {
  readonly #given: string | undefined;
  #directory: Promise<string> | undefined;

  constructor(directory: string | undefined) {
    this.#given = directory === undefined ? undefined : resolve(directory);
  }

  /** The directory, made when it is first needed. */
  directory(): Promise<string> {
    this.#directory ??= this.#make().catch((error: unknown) => {
      this.#directory = undefined;
      throw error;
    });
    return this.#directory;
  }

  async #make(): Promise<string> {
    if (this.#given === undefined) return mkdtemp(join(tmpdir(), "gpt-image-gateway-"));
    await makeDirectory(this.#given);
    return this.#given;
  }

  /**
   * Checks a picture whole, and keeps it where it belongs.
   *
   * @param isKept on the disk whatever its size: it waits for long, or must outlive the process.
   * @throws the image's own error where it cannot be had.
   */
  async keep(image: GeneratedImage, isKept: boolean): Promise<Picture> {
    const { url, revisedPrompt } = image;
    // A file elsewhere is somebody else's, and must not go with the order.
    if (image.file !== undefined && dirname(image.file) === (await this.directory())) {
      // Before a record names it: a power cut leaves a file as long as it was, and without its bytes.
      if (isKept) await this.#sync(image.file);
      const { size: byteLength } = await stat(image.file);
      const outputFormat = formatOf(extname(image.file).slice(1));
      const stored = { file: image.file, byteLength };
      return { url, revisedPrompt, outputFormat, size: undefined, stored };
    }
    const bytes = await image.bytes();
    // Bytes of no known type were paid for all the same.
    const info = await image.info().catch(() => undefined);
    const { mediaType, width, height } = info ?? {};
    const told = {
      url,
      revisedPrompt,
      outputFormat: formatOf(mediaType?.replace(/^image\/|\+xml$/g, "")),
      size: width === undefined || height === undefined ? undefined : `${width}x${height}`,
    };
    if (!isKept && bytes.byteLength <= mostBytesInMemory) return Object.assign(told, { bytes });
    return Object.assign(told, { stored: await this.#write(bytes, isKept) });
  }

  async #write(bytes: Uint8Array, isKept: boolean): Promise<PictureFile> {
    const path = join(await this.directory(), `picture-${randomUUID()}.bin`);
    const file = await open(path, "wx");
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        const piece = bytes.subarray(at, at + pieceBytes);
        const { bytesWritten } = await file.write(piece);
        at += bytesWritten;
      }
      if (isKept) await file.sync();
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    if (isKept) await this.#syncNames();
    return { file: path, byteLength: bytes.byteLength };
  }

  async #sync(path: string): Promise<void> {
    // Windows syncs no file that is open for reading alone.
    const file = await open(path, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#syncNames();
  }

  /** The records may be in another directory, or in none. */
  async #syncNames(): Promise<void> {
    await syncDirectory(await this.directory());
  }

  /** The place of a file by its name: a record from anywhere must not lead out of the directory. */
  async placeOf(name: string): Promise<string> {
    return join(await this.directory(), basename(name));
  }

  /** Removes what nobody waits for any more. */
  async discard(pictures: readonly Picture[]): Promise<void> {
    for (const picture of pictures) {
      if ("stored" in picture) await rm(picture.stored.file, { force: true });
    }
  }

  /** Removes a directory of its own. */
  async close(): Promise<void> {
    if (this.#given !== undefined || this.#directory === undefined) return;
    await rm(await this.#directory, { recursive: true, force: true });
  }
}

/** OpenAI's word for a format. */
function formatOf(word: string | undefined): string | undefined {
  if (word === undefined || word === "bin") return undefined;
  return word === "jpg" ? "jpeg" : word;
}

/**
 * What is read of a file at once: a multiple of three, so that no piece but the last is padded. Its 64 KB of
 * base64 stay below what V8 makes a large object of. Of pieces of 384 KB it keeps so many until it collects
 * them that eight replies at once took twice the memory, and more CPU.
 */
const readBytes = 48 * 1024;

/** A file as base64, in pieces that follow each other without a gap. */
export async function* base64Of({ file, byteLength }: PictureFile): AsyncIterable<string> {
  const handle = await open(file, "r");
  const block = Buffer.allocUnsafe(Math.min(readBytes, Math.max(3, byteLength)));
  try {
    for (let at = 0; at < byteLength; ) {
      const wanted = Math.min(block.byteLength, byteLength - at);
      let filled = 0;
      while (filled < wanted) {
        const { bytesRead } = await handle.read(block, filled, wanted - filled, at + filled);
        if (bytesRead === 0) throw new Error("A spooled picture is shorter than it was");
        filled += bytesRead;
      }
      at += filled;
      yield block.toString("base64", 0, filled);
    }
  } finally {
    await handle.close();
  }
}
