import { isError } from "../../realm";

const orientationTag = 0x0112;
const shortType = 3;

/**
 * Whether a TIFF block (what EXIF is) turns the picture on its side, as browsers read it: the first
 * orientation of the first directory, if it is one SHORT.
 *
 * @throws RangeError if the block ends before the answer.
 */
function readTurn(tiff: Buffer): boolean {
  const order = tiff.toString("latin1", 0, 2);
  const isLittle = order === "II";
  if (!isLittle && order !== "MM") return false;
  const short = (at: number) => (isLittle ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const long = (at: number) => (isLittle ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at));
  if (short(2) !== 42) return false;
  const directory = long(4);
  const count = short(directory);
  for (let index = 0; index < count; index += 1) {
    const entry = directory + 2 + 12 * index;
    if (short(entry) !== orientationTag) continue;
    const orientation = short(entry + 8);
    const isValid = short(entry + 2) === shortType && long(entry + 4) === 1;
    return isValid && orientation >= 5 && orientation <= 8;
  }
  return false;
}

/** As {@link readTurn}; a block that is broken turns nothing. */
export function isOnItsSide(tiff: Buffer): boolean {
  try {
    return readTurn(tiff);
  } catch (error) {
    if (isError(error) && error.name === "RangeError") return false;
    throw error;
  }
}

/** A picture's size in pixels, as browsers show it. */
export interface PixelSize {
  readonly width: number;
  readonly height: number;
}

/** The size once the picture is turned, where it is. */
export function turned({ width, height }: PixelSize, isTurned: boolean): PixelSize {
  return isTurned ? { width: height, height: width } : { width, height };
}
