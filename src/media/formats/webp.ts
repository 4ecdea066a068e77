import type { PixelSize } from "./exif";
import type { Walk } from "./walk";

/** "WEBP", and the header of a first chunk: no file says that it is shorter. */
const leastSaid = 12;

/** To where its own header says that it ends. */
export function* walkWebp(): Walk {
  const said = (yield { take: 12 }).readUInt32LE(4);
  // Left open by a writer that could not go back, or nonsense.
  if (said < leastSaid || said > 0xffff_fff6) return "unknown";
  yield { skip: said - 4 };
  return "complete";
}

/**
 * The size of the picture or of its canvas. Chromium 156 does not turn a WebP by its EXIF.
 *
 * @throws RangeError if the file ends before it.
 */
export function measureWebp(bytes: Buffer): PixelSize | undefined {
  const data = 20;
  switch (bytes.toString("latin1", 12, 16)) {
    case "VP8 ":
      // The two bits above each are a scaling that nobody applies.
      return {
        width: bytes.readUInt16LE(data + 6) & 0x3fff,
        height: bytes.readUInt16LE(data + 8) & 0x3fff,
      };
    case "VP8L": {
      const bits = bytes.readUInt32LE(data + 1);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case "VP8X":
      return {
        width: bytes.readUIntLE(data + 4, 3) + 1,
        height: bytes.readUIntLE(data + 7, 3) + 1,
      };
    default:
      return undefined;
  }
}
