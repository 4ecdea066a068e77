import { createHash } from "node:crypto";
import type { AbortSignalLike } from "../async/clock";
import { type Body, bytesOf } from "../http/body";
import { DownloadFault } from "../http/faults";
import { FileSink } from "../media/file-sink";
import type { Media } from "../media/format";
import { ImageInspection } from "../media/image-inspection";

/**
 * The download of one image over all its attempts. HTTP without a length cannot tell a broken download
 * from a whole one (nginx ends its response politely when its upstream dies), but most formats can: a
 * file without its end is fetched again. One that comes the same twice is all that there is.
 */
export class ImageDownload {
  /** Digests of the files that lacked their end. */
  readonly #truncated = new Set<string>();
  #isTruncated = false;

  /** The file was taken as it is, though it lacks its end. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /**
   * Reads an attempt into memory.
   *
   * @throws DownloadFault, to be tried again, if the end is missing.
   */
  async bytes(body: Body): Promise<Buffer<ArrayBuffer>> {
    const bytes = await bytesOf(body);
    const inspection = ImageInspection.of(bytes);
    if (inspection.isTruncated) {
      this.#acceptTruncated(createHash("sha256").update(bytes).digest("hex"), bytes.byteLength);
    }
    return bytes;
  }

  /**
   * Writes an attempt to the disk as it comes, under a name that nobody looks for until all of it is
   * there. Returns the path.
   *
   * @throws DownloadFault, to be tried again, if the end is missing or if it is no image; what the disk
   * says.
   */
  async save(
    body: Body,
    directory: string,
    pathFor: (media: Media | undefined) => string,
    end: AbortSignalLike,
  ): Promise<string> {
    const sink = new FileSink(directory);
    const inspection = new ImageInspection();
    let length = 0;
    try {
      await body.each((chunk) => {
        inspection.push(chunk);
        if (inspection.isText) throw notAnImage();
        if (sink.diskError !== undefined) throw sink.diskError;
        sink.reserve(chunk.byteLength).set(chunk);
        sink.commit(chunk.byteLength);
        length += chunk.byteLength;
        return sink.ready();
      });
      inspection.end();
      if (inspection.isEmpty || inspection.isText) throw notAnImage();
      if (inspection.isTruncated) this.#acceptTruncated(await sink.digest(), length);
      const path = pathFor(inspection.media);
      if (!(await sink.moveTo(path, end))) throw sink.diskError;
      return path;
    } finally {
      await sink.discard();
    }
  }

  #acceptTruncated(digest: string, length: number): void {
    if (!this.#truncated.has(digest)) {
      this.#truncated.add(digest);
      throw new DownloadFault(`The file ends early, after ${length} bytes`, { transient: true });
    }
    this.#isTruncated = true;
  }
}

/** An error page or a sentence came in place of the picture. */
export function notAnImage(): DownloadFault {
  return new DownloadFault("What came is not an image", { transient: true });
}
