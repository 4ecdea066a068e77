import { isOnItsSide, type PixelSize, turned } from "./exif";
import type { Walk } from "./walk";

const signatureBytes = 8;
const longestChunk = 0x7fff_ffff;

/** `CgBI` comes first in what Xcode makes of a PNG. */
const firstTypes: readonly string[] = ["IHDR", "CgBI"];

/** To the last byte of IEND, through chunks of a length, a type, data and a checksum. */
export function* walkPng(): Walk {
  yield { skip: signatureBytes };
  for (let isFirst = true; ; isFirst = false) {
    const header = yield { take: 8 };
    const length = header.readUInt32BE(0);
    const type = header.toString("latin1", 4);
    if (!isChunk(length, type) || (isFirst && !firstTypes.includes(type))) return "unknown";
    yield { skip: length + 4 };
    if (type === "IEND") return "complete";
  }
}

function isChunk(length: number, type: string): boolean {
  return length <= longestChunk && /^[A-Za-z]{4}$/.test(type);
}

/**
 * The size in IHDR, turned as the first `eXIf` says if that comes before the pixels: Chromium 156
 * ignores one behind them, as it has laid out the picture by then.
 *
 * @throws RangeError if the file ends before the pixels.
 */
export function measurePng(bytes: Buffer): PixelSize | undefined {
  let size: PixelSize | undefined;
  for (let at = signatureBytes; ; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.subarray(at + 4, at + 8).toString("latin1");
    const data = at + 8;
    if (data > bytes.length) throw new RangeError("The file ends within a chunk's name");
    if (type === "IHDR") {
      size ??= { width: bytes.readUInt32BE(data), height: bytes.readUInt32BE(data + 4) };
    } else if (size === undefined && type !== "CgBI") return undefined;
    // What follows a broken chunk cannot be found; the size stands all the same.
    if (type === "IDAT" || !isChunk(length, type)) return size;
    at = data + length + 4;
    if (type === "eXIf" && size !== undefined && at <= bytes.length) {
      return turned(size, isOnItsSide(bytes.subarray(data, data + length)));
    }
  }
}
