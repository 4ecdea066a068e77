import { type PixelSize, turned } from "./exif";
import type { Step, Walk } from "./walk";

/** Boxes that are looked into, and what stands in them before the first of their own. */
const containers: ReadonlyMap<string, number> = new Map([
  ["meta", 4],
  ["moov", 0],
  ["trak", 0],
  ["mdia", 0],
  ["minf", 0],
  ["stbl", 0],
]);

/** How far a walk has come, and which bytes the file says that it has. */
interface Extents {
  at: number;
  /** The end of the last piece of a still picture. */
  itemsEnd: number;
  /** Where the last run of frames of a sequence begins: the box around it holds all of them. */
  lastChunkAt: number;
  isSequence: boolean;
  hasItems: boolean;
  hasTracks: boolean;
}

type Part<Value> = Generator<Step, Value, Buffer>;

/**
 * To the last byte that the file refers to: an ISO base media file does not say how long it is, but
 * `iloc` says where the pieces of its pictures lie, and the sample tables where its frames do.
 */
export function* walkAvif(): Walk {
  const extents: Extents = {
    ...{ at: 0, itemsEnd: 0, lastChunkAt: 0 },
    ...{ isSequence: false, hasItems: false, hasTracks: false },
  };
  for (;;) {
    if (!(yield* walkBox(extents, Number.POSITIVE_INFINITY))) return "unknown";
    const { at, itemsEnd, lastChunkAt, isSequence, hasItems, hasTracks } = extents;
    const isKnown = isSequence ? hasTracks : hasItems;
    if (isKnown && (!isSequence || at > lastChunkAt)) {
      yield { skip: Math.max(0, itemsEnd - at) };
      return "complete";
    }
  }
}

/** Passes one box; false where it is none. */
function* walkBox(extents: Extents, limit: number): Part<boolean> {
  const start = extents.at;
  const header = yield* take(extents, 8);
  const type = header.toString("latin1", 4);
  let size = header.readUInt32BE(0);
  if (size === 1) size = Number((yield* take(extents, 8)).readBigUInt64BE(0));
  const end = start + size;
  if (end < extents.at || end > limit || !/^[\x20-\x7e]{4}$/.test(type)) return false;
  const inset = containers.get(type);
  if (type === "ftyp" && end >= extents.at + 4) {
    extents.isSequence = (yield* take(extents, 4)).toString("latin1") === "avis";
  } else if (type === "iloc") {
    if (!(yield* readItems(extents, end))) return false;
  } else if (type === "stco" || type === "co64") {
    if (!(yield* readChunks(extents, end, type === "co64" ? 8 : 4))) return false;
  } else if (inset !== undefined && end >= extents.at + inset) {
    yield* skip(extents, inset);
    while (extents.at + 8 <= end) if (!(yield* walkBox(extents, end))) return false;
    extents.hasItems ||= type === "meta";
    extents.hasTracks ||= type === "moov";
  }
  if (extents.at > end) return false;
  yield* skip(extents, end - extents.at);
  return true;
}

function* take(extents: Extents, length: number): Part<Buffer> {
  extents.at += length;
  return yield { take: length };
}

function* skip(extents: Extents, length: number): Part<void> {
  extents.at += length;
  yield { skip: length };
}

/** A number of 0, 2, 4 or 8 bytes. */
function* number(extents: Extents, length: number): Part<number> {
  if (length === 0) return 0;
  const bytes = yield* take(extents, length);
  return length === 8 ? Number(bytes.readBigUInt64BE(0)) : bytes.readUIntBE(0, length);
}

/** Where the items lie (ISO/IEC 14496-12, 8.11.3). */
function* readItems(extents: Extents, end: number): Part<boolean> {
  const head = yield* take(extents, 6);
  const version = head.readUInt8(0);
  const sizes = head.readUInt16BE(4);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const indexBytes = version === 0 ? 0 : sizes & 15;
  const fieldBytes = [offsetBytes, lengthBytes, baseBytes, indexBytes];
  if (version > 2 || fieldBytes.some((each) => each > 8 || each % 4 > 0)) return false;
  const idBytes = version < 2 ? 2 : 4;
  let items = yield* number(extents, idBytes);
  for (; items > 0 && extents.at < end; items -= 1) {
    yield* skip(extents, idBytes);
    // Another method counts from `idat` or from another item, both within this file's own boxes.
    const method = version === 0 ? 0 : (yield* number(extents, 2)) & 15;
    const isElsewhere = (yield* number(extents, 2)) !== 0;
    const base = yield* number(extents, baseBytes);
    let pieces = yield* number(extents, 2);
    for (; pieces > 0 && extents.at < end; pieces -= 1) {
      yield* skip(extents, indexBytes);
      const offset = base + (yield* number(extents, offsetBytes));
      const length = yield* number(extents, lengthBytes);
      const isInFile = method === 0 && !isElsewhere;
      if (isInFile) extents.itemsEnd = Math.max(extents.itemsEnd, offset + length);
    }
  }
  return items === 0;
}

/** Where the runs of frames of a track begin. */
function* readChunks(extents: Extents, end: number, offsetBytes: number): Part<boolean> {
  yield* skip(extents, 4);
  let count = yield* number(extents, 4);
  for (; count > 0 && extents.at < end; count -= 1) {
    const offset = yield* number(extents, offsetBytes);
    extents.lastChunkAt = Math.max(extents.lastChunkAt, offset);
  }
  return count === 0;
}

interface Box {
  readonly type: string;
  /** Of what is in it. */
  readonly start: number;
  readonly end: number;
}

/** The boxes between two places; what follows a broken one cannot be found. */
function boxesIn(bytes: Buffer, start: number, end: number): Box[] {
  const boxes: Box[] = [];
  for (let at = start; at + 8 <= end; ) {
    let size = bytes.readUInt32BE(at);
    const isLong = size === 1;
    if (isLong) size = Number(bytes.readBigUInt64BE(at + 8));
    const header = isLong ? 16 : 8;
    const boxEnd = size === 0 ? end : at + size;
    if (boxEnd < at + header || boxEnd > end) break;
    boxes.push({ type: bytes.toString("latin1", at + 4, at + 8), start: at + header, end: boxEnd });
    at = boxEnd;
  }
  return boxes;
}

function childrenOf(bytes: Buffer, parent: Box | undefined, inset = 0): Box[] {
  return parent === undefined ? [] : boxesIn(bytes, parent.start + inset, parent.end);
}

const find = (boxes: readonly Box[], type: string) => boxes.find((box) => box.type === type);

/**
 * The size of the primary picture, or of the frames of a sequence, cropped and turned as its properties
 * say. Browsers on libavif (Chromium 156) take a crop (`clap`) that begins at the upper left corner and
 * show all of the picture for any other, and they leave EXIF alone.
 *
 * @throws RangeError if the file is broken.
 */
export function measureAvif(bytes: Buffer): PixelSize | undefined {
  const boxes = boxesIn(bytes, 0, bytes.length);
  const isSequence = bytes.toString("latin1", 8, 12) === "avis";
  const track = isSequence ? trackSize(bytes, find(boxes, "moov")) : undefined;
  return track ?? itemSize(bytes, find(boxes, "meta"));
}

function itemSize(bytes: Buffer, meta: Box | undefined): PixelSize | undefined {
  const boxes = childrenOf(bytes, meta, 4);
  const primary = find(boxes, "pitm");
  const groups = childrenOf(bytes, find(boxes, "iprp"));
  if (primary === undefined) return undefined;
  const id = idAt(bytes, primary.start + 4, bytes.readUInt8(primary.start) === 0 ? 2 : 4);
  const properties = childrenOf(bytes, find(groups, "ipco"));
  const indexes = groups.flatMap((box) =>
    box.type === "ipma" ? propertiesOf(bytes, box, id) : [],
  );
  const own = indexes.flatMap((index) => properties[index - 1] ?? []);
  const extent = find(own, "ispe");
  if (extent === undefined) return undefined;
  const width = bytes.readUInt32BE(extent.start + 4);
  const height = bytes.readUInt32BE(extent.start + 8);
  return transformed(bytes, { width, height }, own);
}

const idAt = (bytes: Buffer, at: number, length: number) => bytes.readUIntBE(at, length);

/** Which of the properties are an item's, counted from 1 (ISO/IEC 23008-12, 9.3). */
function propertiesOf(bytes: Buffer, { start, end }: Box, id: number): number[] {
  const idBytes = bytes.readUInt8(start) === 0 ? 2 : 4;
  const indexBytes = bytes.readUInt8(start + 3) & 1 ? 2 : 1;
  const mask = indexBytes === 2 ? 0x7fff : 0x7f;
  const indexes: number[] = [];
  for (let at = start + 8; at + idBytes < end; ) {
    const isOwn = idAt(bytes, at, idBytes) === id;
    let count = bytes.readUInt8(at + idBytes);
    at += idBytes + 1;
    for (; count > 0; count -= 1, at += indexBytes) {
      if (isOwn) indexes.push(bytes.readUIntBE(at, indexBytes) & mask);
    }
  }
  return indexes;
}

/** Of the first track with pictures: that with their transparency has a handler of another kind. */
function trackSize(bytes: Buffer, moov: Box | undefined): PixelSize | undefined {
  for (const track of childrenOf(bytes, moov).filter(({ type }) => type === "trak")) {
    const boxes = childrenOf(bytes, track);
    const media = childrenOf(bytes, find(boxes, "mdia"));
    const head = find(boxes, "tkhd");
    const handler = find(media, "hdlr");
    if (head === undefined || handler === undefined) continue;
    if (bytes.toString("latin1", handler.start + 8, handler.start + 12) !== "pict") continue;
    const at = head.start + (bytes.readUInt8(head.start) === 0 ? 76 : 88);
    // In 16.16 fixed point.
    const size = { width: bytes.readUInt16BE(at), height: bytes.readUInt16BE(at + 4) };
    const tables = childrenOf(bytes, find(childrenOf(bytes, find(media, "minf")), "stbl"));
    const [entry] = childrenOf(bytes, find(tables, "stsd"), 8);
    return transformed(bytes, size, childrenOf(bytes, entry, 78));
  }
  return undefined;
}

function transformed(bytes: Buffer, size: PixelSize, properties: readonly Box[]): PixelSize {
  const clap = find(properties, "clap");
  const irot = find(properties, "irot");
  const cropped = clap === undefined ? size : croppedAt(bytes, clap.start, size);
  // Quarters of a turn.
  return turned(cropped, irot !== undefined && (bytes.readUInt8(irot.start) & 1) === 1);
}

/** A crop by the size and the centre of what is left, each a fraction. */
function croppedAt(bytes: Buffer, at: number, size: PixelSize): PixelSize {
  const [width, isLeft] = croppedEdge(bytes, at, at + 16, size.width);
  const [height, isTop] = croppedEdge(bytes, at + 8, at + 24, size.height);
  return isLeft && isTop ? { width, height } : size;
}

/** What is left of an edge, and whether it is whole pixels from the very first on. */
function croppedEdge(
  bytes: Buffer,
  lengthAt: number,
  centreAt: number,
  full: number,
): readonly [length: number, isFirst: boolean] {
  const length = bytes.readInt32BE(lengthAt) / bytes.readInt32BE(lengthAt + 4);
  const centre = bytes.readInt32BE(centreAt) / bytes.readInt32BE(centreAt + 4);
  const isWhole = Number.isInteger(length) && length > 0 && length <= full;
  return [length, isWhole && 2 * centre === length - full];
}
