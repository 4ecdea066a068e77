import { isOnItsSide, type PixelSize, turned } from "./exif";
import type { Walk } from "./walk";

const endOfImage = 0xd9;
const startOfScan = 0xda;
const app1 = 0xe1;

/** SOI and TEM stand alone; whatever else a search for a marker finds has a length. */
function hasLength(code: number): boolean {
  return code !== 0xd8 && code !== 0x01;
}

/** Every start of a frame: baseline, progressive, lossless, arithmetic; not DHT, JPG and DAC between. */
function isFrame(code: number): boolean {
  return code >= 0xc0 && code <= 0xcf && code !== 0xc4 && code !== 0xc8 && code !== 0xcc;
}

/** To EOI, from marker to marker: one that stands in a thumbnail or a table is not the picture's. */
export function* walkJpeg(): Walk {
  for (;;) {
    const code = (yield { marker: true }).readUInt8(0);
    if (code === endOfImage) return "complete";
    if (!hasLength(code)) continue;
    const length = (yield { take: 2 }).readUInt16BE(0);
    if (length < 2) return "unknown";
    // The scan behind its header is passed over by the search for the next marker.
    yield { skip: length - 2 };
  }
}

/**
 * The size of the frame, turned as the first EXIF before the first scan says, wherever that stands:
 * so do libjpeg and the browsers on it.
 *
 * @throws RangeError if the file ends before the first scan.
 */
export function measureJpeg(bytes: Buffer): PixelSize | undefined {
  let size: PixelSize | undefined;
  let exif: Buffer | undefined;
  for (let at = 2; ; ) {
    const { code, end } = markerAfter(bytes, at);
    if (code === endOfImage) return undefined;
    at = end;
    if (!hasLength(code) || (code >= 0xd0 && code <= 0xd7)) continue;
    const length = bytes.readUInt16BE(at);
    if (length < 2) return undefined;
    if (isFrame(code)) {
      size ??= { height: bytes.readUInt16BE(at + 3), width: bytes.readUInt16BE(at + 5) };
    }
    // Behind the five letters and zero of its name comes a byte that may be anything.
    if (code === app1 && bytes.toString("latin1", at + 2, at + 7) === "Exif\0") {
      exif ??= bytes.subarray(at + 8, at + length);
    }
    if (code === startOfScan) return size && turned(size, exif !== undefined && isOnItsSide(exif));
    at += length;
  }
}

/** The next marker, past whatever is none and past what fills before it. */
function markerAfter(bytes: Buffer, start: number): { code: number; end: number } {
  for (let at = start; ; ) {
    const found = bytes.indexOf(0xff, at);
    at = found === -1 ? bytes.length : found;
    let code = 0xff;
    while (code === 0xff) {
      at += 1;
      code = bytes.readUInt8(at);
    }
    if (code !== 0) return { code, end: at + 1 };
  }
}
