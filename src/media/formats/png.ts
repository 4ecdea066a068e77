import { isOnItsSide, type PixelSize, turned } from "./exif";
import type { Walk } from "./walk";

const signatureBytes = 8;
const longestChunk = 0x7fff_ffff;

/** The names of chunks, as the numbers that stand there: a file has thousands, and they are read often. */
const nameOf = (letters: string) => Buffer.from(letters, "latin1").readUInt32BE(0);
const [ihdr, idat, iend, exif] = ["IHDR", "IDAT", "IEND", "eXIf"].map(nameOf);
/** Comes first in what Xcode makes of a PNG. */
const cgbi = nameOf("CgBI");

/** To the last byte of IEND, through chunks of a length, a type, data and a checksum. */
export function* walkPng(): Walk {
  yield { skip: signatureBytes };
  for (let isFirst = true; ; isFirst = false) {
    const header = yield { take: 8 };
    const length = header.readUInt32BE(0);
    const name = header.readUInt32BE(4);
    if (!isChunk(length, name) || (isFirst && name !== ihdr && name !== cgbi)) return "unknown";
    yield { skip: length + 4 };
    if (name === iend) return "complete";
  }
}

/** The last chunk, which is the same in every PNG: no data, its name, its checksum. */
const lastChunk = Buffer.from("0000000049454e44ae426082", "hex");

/** Whether a PNG ends with its last chunk and nothing behind it, as nearly all do: told without a walk. */
export function endsAsPng(bytes: Buffer): boolean {
  const at = bytes.length - lastChunk.length;
  return bytes[0] === 0x89 && at > signatureBytes && bytes.compare(lastChunk, 0, 12, at) === 0;
}

/** Whether the four bytes of its name are letters, and its length is none that PNG forbids. */
function isChunk(length: number, name: number): boolean {
  if (length > longestChunk) return false;
  for (let shift = 0; shift < 32; shift += 8) {
    const upper = (name >>> shift) & ~0x20 & 0xff;
    if (upper < 0x41 || upper > 0x5a) return false;
  }
  return true;
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
    const name = bytes.readUInt32BE(at + 4);
    const data = at + 8;
    if (name === ihdr) {
      size ??= { width: bytes.readUInt32BE(data), height: bytes.readUInt32BE(data + 4) };
    } else if (size === undefined && name !== cgbi) return undefined;
    // What follows a broken chunk cannot be found; the size stands all the same.
    if (name === idat || !isChunk(length, name)) return size;
    at = data + length + 4;
    if (name === exif && size !== undefined && at <= bytes.length) {
      return turned(size, isOnItsSide(bytes.subarray(data, data + length)));
    }
  }
}
