import { type Body, kept } from "./body";
import type { DecodedImage, ImageSink } from "./decoded-image";
import { JsonScanner, shownCharacters } from "./json-scanner";
import { isError } from "./realm";

/** How a JSON body is read. */
export interface JsonReading {
  readonly maxBytes: number;
  /** How long it is, where that was said; `NaN` where it was not. */
  readonly contentLength: number;
  /** Where images go; left out, they stay the strings that they are. */
  readonly createSink: (() => ImageSink) | undefined;
  /** Takes the images that came whole, whatever becomes of the rest. */
  readonly images: DecodedImage[];
}

/** A body: what it says, or else how it begins. */
export interface JsonBody {
  /** `undefined` where it is not JSON. */
  readonly body: unknown;
  readonly text?: string;
}

/** Below this, whatever is in it is text: two copies of it are no matter. */
const smallBytes = 64 * 1024;

/** Smaller pieces are joined before they are looked at. */
const tinyBytes = 1024;

/** Reads a body as JSON; images in a large one go to sinks as they come, where there are any. */
export async function readJson(
  from: Body,
  { maxBytes, contentLength, createSink, images }: JsonReading,
): Promise<JsonBody> {
  let whole: JsonBody | undefined;
  const small: Buffer[] = [];
  let scanner: JsonScanner | undefined;
  const tiny: Buffer[] = [];
  let tinyLength = 0;
  let byteLength = 0;
  const take = (chunk: Uint8Array, isLent: boolean): Promise<void> | undefined => {
    byteLength += chunk.byteLength;
    if (byteLength > maxBytes) {
      throw new Error(`The answer is larger than ${maxBytes} bytes (\`maxAnswerBytes\`)`);
    }
    if (isLent && chunk.byteLength === contentLength && contentLength <= smallBytes) {
      // All of it in one piece, as most are: it is read where it lies.
      whole = parsed(chunk);
      if (whole.body !== undefined) return undefined;
    }
    if (scanner === undefined) small.push(kept(chunk, isLent));
    if (byteLength <= smallBytes || createSink === undefined) return undefined;
    if (scanner === undefined) {
      scanner = new JsonScanner(createSink);
      return scan(scanner, Buffer.concat(small.splice(0)));
    }
    if (tiny.length === 0 && chunk.byteLength >= tinyBytes) return scan(scanner, chunk);
    // A drip of single bytes would leave as many pieces.
    tiny.push(kept(chunk, isLent));
    tinyLength += chunk.byteLength;
    return tinyLength >= tinyBytes ? flush(scanner) : undefined;
  };
  const scan = (into: JsonScanner, bytes: Uint8Array): Promise<void> | undefined => {
    const isReady = into.write(bytes);
    // At once: whoever gives up on the rest does not wait for the end of this.
    if (into.imageCount > images.length) images.splice(0, images.length, ...into.images);
    return isReady;
  };
  const flush = (into: JsonScanner): Promise<void> | undefined => {
    tinyLength = 0;
    return scan(into, Buffer.concat(tiny.splice(0)));
  };
  try {
    await from.each(take);
    const [first = Buffer.alloc(0), second] = small;
    if (scanner === undefined) {
      const read = whole ?? parsed(second === undefined ? first : Buffer.concat(small));
      if (read.body !== undefined) small.length = 0;
      return read;
    }
    await flush(scanner);
    return await scannedBy(scanner);
  } finally {
    if (scanner !== undefined) void flush(scanner);
    else if (small.length > 0 && createSink !== undefined) {
      // It broke off, or is no JSON: what came whole in it was paid for all the same.
      scanner = new JsonScanner(createSink);
      scanner.write(Buffer.concat(small));
    }
    images.splice(0, images.length, ...(scanner?.images ?? []));
    if (scanner !== undefined) await scanner.discard();
  }
}

function parsed(bytes: Uint8Array): JsonBody {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  try {
    return { body: JSON.parse(text) };
  } catch {
    // What a body that is not JSON means is for the adapter to say.
    return { body: undefined, text: text.slice(0, shownCharacters) };
  }
}

async function scannedBy(scanner: JsonScanner): Promise<JsonBody> {
  try {
    return { body: await scanner.end() };
  } catch (error) {
    // Too deep for a reviver is as good as no JSON.
    if (!(isError(error) && ["SyntaxError", "RangeError"].includes(error.name))) throw error;
    return { body: undefined, text: scanner.start };
  }
}
