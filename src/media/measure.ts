import { isError } from "../realm";
import { sniff } from "./format";
import { measureAvif } from "./formats/avif";
import type { PixelSize } from "./formats/exif";
import { measureGif } from "./formats/gif";
import { measureJpeg } from "./formats/jpeg";
import { measurePng } from "./formats/png";
import { measureSvg } from "./formats/svg";
import { measureWebp } from "./formats/webp";

/** What an image's own bytes say about it. */
export interface MediaInfo {
  readonly mediaType: string;
  /** Pixels as a browser shows them: cropped and turned as the file says. */
  readonly width: number | undefined;
  readonly height: number | undefined;
}

type Measure = (bytes: Buffer) => PixelSize | undefined;

const measures: Readonly<Record<string, Measure>> = {
  "image/png": measurePng,
  "image/jpeg": measureJpeg,
  "image/webp": measureWebp,
  "image/gif": measureGif,
  "image/avif": measureAvif,
  "image/svg+xml": measureSvg,
};

/**
 * The type of an image, and its size where that can be told; `undefined` for bytes of no known type.
 * Time is linear in the number of bytes, whatever stands in them.
 */
export function mediaInfo(bytes: Uint8Array): MediaInfo | undefined {
  const media = sniff(bytes);
  if (media === undefined) return undefined;
  const { mediaType } = media;
  const { width, height } = sizeOf(bytes, measures[mediaType]) ?? {};
  return { mediaType, width, height };
}

function sizeOf(bytes: Uint8Array, measure: Measure | undefined): PixelSize | undefined {
  try {
    const size = measure?.(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined;
  } catch (error) {
    // The file ends before its size, or points to where it has no bytes.
    if (isError(error) && error.name === "RangeError") return undefined;
    throw error;
  }
}
