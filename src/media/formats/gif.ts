import type { PixelSize } from "./exif";
import type { Walk } from "./walk";

const extension = 0x21;
const image = 0x2c;
const trailer = 0x3b;

/** The bytes of a colour table, by the flags that announce it. */
function tableBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0;
}

/** To the trailer, from block to block. */
export function* walkGif(): Walk {
  yield { skip: 10 };
  const [flags = 0] = yield { take: 1 };
  yield { skip: 2 + tableBytes(flags) };
  for (;;) {
    const [kind = 0] = yield { take: 1 };
    if (kind === trailer) return "complete";
    if (kind === image) {
      const descriptor = yield { take: 9 };
      yield { skip: tableBytes(descriptor.readUInt8(8)) + 1 };
    } else if (kind === extension) yield { skip: 1 };
    else return "unknown";
    for (let length = 1; length > 0; ) {
      [length = 0] = yield { take: 1 };
      yield { skip: length };
    }
  }
}

/**
 * The size of the screen, or more where the first frame reaches beyond it, as browsers have it.
 *
 * @throws RangeError if the file ends before its first frame.
 */
export function measureGif(bytes: Buffer): PixelSize | undefined {
  const width = bytes.readUInt16LE(6);
  const height = bytes.readUInt16LE(8);
  for (let at = 13 + tableBytes(bytes.readUInt8(10)); ; ) {
    const kind = bytes.readUInt8(at);
    if (kind === image) {
      return {
        width: Math.max(width, bytes.readUInt16LE(at + 1) + bytes.readUInt16LE(at + 5)),
        height: Math.max(height, bytes.readUInt16LE(at + 3) + bytes.readUInt16LE(at + 7)),
      };
    }
    if (kind !== extension) return undefined;
    at += 2;
    for (let length = 1; length > 0; at += length + 1) length = bytes.readUInt8(at);
  }
}
