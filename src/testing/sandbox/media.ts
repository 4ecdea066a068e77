export type PictureFormat = "png" | "jpeg" | "webp";

/** What the bytes say they are, whatever their name or header claims. */
export function formatOf(bytes: Buffer): PictureFormat | undefined {
  if (bytes.subarray(0, 8).toString("latin1") === "\x89PNG\r\n\x1a\n") return "png";
  if (bytes.subarray(0, 3).toString("latin1") === "\xff\xd8\xff") return "jpeg";
  const isRiff = bytes.subarray(0, 4).toString("latin1") === "RIFF";
  if (isRiff && bytes.subarray(8, 12).toString("latin1") === "WEBP") return "webp";
  return undefined;
}

interface Measure {
  readonly width: number;
  readonly height: number;
}

function measurePng(bytes: Buffer): Measure | undefined {
  if (bytes.byteLength < 26) return undefined;
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

function measureJpeg(bytes: Buffer): Measure | undefined {
  let position = 2;
  while (position + 9 <= bytes.byteLength) {
    const marker = bytes.readUInt8(position + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame)
      return { height: bytes.readUInt16BE(position + 5), width: bytes.readUInt16BE(position + 7) };
    position += 2 + bytes.readUInt16BE(position + 2);
  }
  return undefined;
}

function measureWebp(bytes: Buffer): Measure | undefined {
  if (bytes.byteLength < 30) return undefined;
  const kind = bytes.subarray(12, 16).toString("latin1");
  if (kind === "VP8X")
    return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
  if (kind === "VP8L") {
    const packed = bytes.readUInt32LE(21);
    return { width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1 };
  }
  return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
}

/** Width and height in pixels, read from the head of the file. */
export function measure(bytes: Buffer): Measure | undefined {
  const format = formatOf(bytes);
  if (format === "png") return measurePng(bytes);
  if (format === "jpeg") return measureJpeg(bytes);
  return format === "webp" ? measureWebp(bytes) : undefined;
}

/** Whether a PNG can be transparent anywhere: by its colour type, or by a tRNS chunk. */
export function hasAlpha(png: Buffer): boolean {
  const colourType = png.byteLength < 26 ? 0 : png.readUInt8(25);
  return colourType === 4 || colourType === 6 || png.includes("tRNS", 26, "latin1");
}
