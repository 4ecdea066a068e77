import { DecodedImage, type ImageSink } from "../media/decoded-image";
import { ImageInspection } from "../media/image-inspection";
import { ImageTooLargeError } from "./base64-image";
import { type Body, kept } from "./body";
import { beginsEventStream, streamHeadBytes } from "./event-stream";
import { EventStreamBody } from "./event-stream-body";
import { beginsImage } from "./image-text";
import { documentOf, JsonScanner } from "./json-scanner";
import { shownCharacters } from "./json-skeleton";
import { parseJson } from "./parse-json";

/** How a body is read as JSON. */
export interface JsonReading {
  readonly maxBytes: number;
  /** How long it is, where that was said; `NaN` where it was not. */
  readonly contentLength: number;
  /** Where images go. */
  readonly createSink: () => ImageSink;
  /** Whether images stand in the document decoded, or stay the strings that they are. */
  readonly decodesImages: boolean;
  /** The largest image, in bytes. */
  readonly maxImageBytes: number;
  /** How many images are kept. */
  readonly mostImages: number;
  /** Whether a server-sent event of that type shows a picture that a later one completes. */
  readonly isPartial: ((type: string) => boolean) | undefined;
  /** Whether a server-sent event of that type has a picture whole. */
  readonly isCompleted?: ((type: string) => boolean) | undefined;
  /** How many such events are awaited. */
  readonly asked?: number | undefined;
  /** Resolves when it is time to do without the rest of a stream whose pictures have all come. */
  readonly afterLast?: (() => Promise<void>) | undefined;
  /** Is shown each such event, whose images are let go of once it has settled. */
  readonly onPartial?: ((event: unknown) => Promise<void>) | undefined;
  /** Takes the images that came whole, whatever becomes of the rest. */
  readonly images: DecodedImage[];
}

/** A body: what it says, or else how it begins. */
export interface JsonBody {
  /** As {@link Answer.body} says. */
  readonly body: unknown;
  /** What the events of a stream hold, where it is one. */
  readonly events?: readonly unknown[];
  readonly partials?: number;
  readonly text?: string;
}

/** A body that is looked at as it comes. */
interface PieceReader {
  /** The images that are whole. */
  readonly images: readonly DecodedImage[];
  /** It is a stream, whose events are read as they come, however small. */
  readonly isStream?: true;
  /** Takes the next bytes, which are only lent, and may ask to wait before more come. */
  write(bytes: Uint8Array): Promise<void> | undefined;
  /** All that is awaited has come. */
  readonly isDone?: boolean;
  end(): Promise<JsonBody>;
  /** Lets go of whatever is not a whole image. */
  discard(): Promise<void>;
}

/** Below this, whatever is in it is text: two copies of it are no matter. */
const smallBytes = 64 * 1024;

/** The stream goes on, and nobody reads it further. */
class NothingMoreError extends Error {
  override readonly name = "NothingMoreError";
}

/** Smaller pieces are joined before they are looked at. */
const tinyBytes = 1024;

/**
 * All that is no image, in a body that is not small. A gzip of 57 KB may hold 60 MB of small objects, which
 * are two gigabytes once parsed.
 */
const maxOtherBytes = 2 * 1024 * 1024;

/** Reads a body as JSON; images in a large one go to sinks as they come. */
export async function readJson(from: Body, reading: JsonReading): Promise<JsonBody> {
  const { maxBytes, contentLength, images } = reading;
  let whole: JsonBody | undefined;
  const small: Buffer[] = [];
  let reader: PieceReader | undefined;
  const tiny: Buffer[] = [];
  let tinyLength = 0;
  let byteLength = 0;
  let isOver = false;
  const take = (chunk: Uint8Array, isLent: boolean): Promise<void> | undefined => {
    if (isOver) throw new NothingMoreError();
    byteLength += chunk.byteLength;
    if (byteLength > maxBytes) {
      throw new Error(`The answer is larger than ${maxBytes} bytes (\`maxAnswerBytes\`)`);
    }
    if (isLent && chunk.byteLength === contentLength && contentLength <= smallBytes) {
      // All of it in one piece, as most are: it is read where it lies.
      whole = parsed(chunk);
      if (whole.body !== undefined) return undefined;
    }
    if (reader === undefined) {
      small.push(kept(chunk, isLent));
      // A stream may stay open when its picture is there, however small that is.
      if (byteLength <= smallBytes && !beginsStream(chunk)) return undefined;
      const first = Buffer.concat(small.splice(0));
      reader = readerOf(first, reading);
      return watched(reader, give(reader, first));
    }
    const isRead = reader.isStream || chunk.byteLength >= tinyBytes;
    if (tiny.length === 0 && isRead) return watched(reader, give(reader, chunk));
    // A drip of single bytes would leave as many pieces.
    tiny.push(kept(chunk, isLent));
    tinyLength += chunk.byteLength;
    return tinyLength >= tinyBytes ? flush(reader) : undefined;
  };
  /** All that is awaited is there: the rest may come for a while, or never. */
  let endWait: (() => void) | undefined;
  const enough = new Promise<void>((resolve) => {
    endWait = resolve;
  });
  const watched = (by: PieceReader, taken: Promise<void> | undefined) =>
    taken?.then(() => {
      if (by.isDone) void reading.afterLast?.().then(endWait);
    });
  /** Whether what has come is a stream of events: its beginning alone tells. */
  const beginsStream = (latest: Uint8Array): boolean => {
    if (byteLength - latest.byteLength >= streamHeadBytes) return false;
    const [first = latest, second] = small;
    return beginsEventStream(second === undefined ? first : Buffer.concat(small));
  };
  const give = (to: PieceReader, bytes: Uint8Array): Promise<void> | undefined => {
    const isReady = to.write(bytes);
    // At once: whoever gives up on the rest does not wait for the end of this.
    handOver(to);
    return isReady?.then(() => handOver(to));
  };
  const handOver = (by: PieceReader) => {
    const whole = by.images;
    if (whole.length !== images.length) images.splice(0, images.length, ...whole);
  };
  const flush = (to: PieceReader): Promise<void> | undefined => {
    tinyLength = 0;
    return give(to, Buffer.concat(tiny.splice(0)));
  };
  /** It is no JSON, or broke off. */
  const readSmall = (text?: string): PieceReader => {
    const all = Buffer.concat(small.splice(0));
    tiny.push(all);
    const made = readerOf(all, reading, text);
    reader = made;
    return made;
  };
  try {
    const arriving = from.each(take).catch((error: unknown) => {
      // That it broke off after the last picture is no matter.
      if (reader?.isDone !== true) throw error;
    });
    await Promise.race([arriving, enough]);
    isOver = true;
    if (reader === undefined) {
      const [first = Buffer.alloc(0), second] = small;
      const read = whole ?? parsed(second === undefined ? first : Buffer.concat(small));
      if (read.body !== undefined) return read;
      whole = read;
    }
    const last = reader ?? readSmall(whole?.text);
    await flush(last);
    return await last.end();
  } catch (error) {
    try {
      // What came whole in it was paid for all the same.
      await flush(reader ?? readSmall());
    } catch {
      // The first error is the one that is told.
    }
    throw error;
  } finally {
    if (reader !== undefined) {
      handOver(reader);
      await reader.discard();
      handOver(reader);
    }
  }
}

function parsed(bytes: Uint8Array): JsonBody {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  try {
    return { body: parseJson(text) };
  } catch {
    // What a body that is not JSON means is for the adapter to say.
    return { body: undefined, text: text.slice(0, shownCharacters) };
  }
}

/** How a page of HTML begins, or any other XML. A warning of PHP's before the JSON, `<br />`, does not. */
const pageStart = /^[\s\ufeff]*<(!doctype|!--|\?xml|html|head|body|svg)/i;

/** Comments, as a cache writes them, before what is no page. */
const commentsBeforeJson = /^[\s\ufeff]*(<!--([^-]|-(?!->))*-->\s*)+[{[]/;

/** Whether a body is a page for people, whose images are logos: nobody paid for those. */
function beginsPage(head: Buffer): boolean {
  const start = head.toString("utf8", 0, 1024);
  return pageStart.test(start) && !commentsBeforeJson.test(start);
}

/**
 * What reads a body that begins like that.
 *
 * @param text how it is shown if it is no JSON, where that is known already.
 */
function readerOf(head: Buffer, reading: JsonReading, text?: string): PieceReader {
  const { createSink, onPartial, isPartial = () => false, isCompleted = () => false } = reading;
  const { asked = Number.POSITIVE_INFINITY } = reading;
  const options = { ...reading, maxOtherBytes };
  if (beginsPage(head))
    return jsonReader(new JsonScanner(createSink, { ...options, mostImages: 0 }), text);
  if (beginsImage(head)) return imageReader(createSink(), reading.maxImageBytes);
  return beginsEventStream(head)
    ? eventReader(
        new EventStreamBody(createSink, { ...options, isPartial, onPartial, isCompleted, asked }),
      )
    : jsonReader(new JsonScanner(createSink, options), text);
}

function jsonReader(scanner: JsonScanner, text: string | undefined): PieceReader {
  return {
    get images() {
      return scanner.images;
    },
    write: (bytes) => scanner.write(bytes),
    end: async () => {
      const body = await documentOf(scanner);
      return body === undefined ? { body, text: text ?? scanner.start } : { body };
    },
    discard: () => scanner.discard(),
  };
}

function eventReader(stream: EventStreamBody): PieceReader {
  return {
    get images() {
      return stream.images;
    },
    isStream: true,
    write: (bytes) => stream.write(bytes),
    end: async () => {
      const events = await stream.end();
      const { partials, start: text } = stream;
      const body = events.findLast(tellsError) ?? events.at(-1);
      return body === undefined ? { body: {}, text, events, partials } : { body, events, partials };
    },
    get isDone() {
      return stream.isDone;
    },
    discard: () => stream.discard(),
  };
}

function tellsError(event: unknown): boolean {
  const { error, type }: { error?: unknown; type?: unknown } = Object(event);
  return type === "error" || (error !== undefined && error !== null);
}

/** For a body that is an image itself. */
function imageReader(sink: ImageSink, maxImageBytes: number): PieceReader {
  const images: DecodedImage[] = [];
  const inspection = new ImageInspection();
  let head: Buffer = Buffer.alloc(0);
  let byteLength = 0;
  return {
    images,
    write: (bytes) => {
      byteLength += bytes.byteLength;
      if (byteLength > maxImageBytes) throw new ImageTooLargeError(maxImageBytes);
      if (head.length < 64) head = Buffer.concat([head, bytes]).subarray(0, 64);
      inspection.push(bytes);
      sink.reserve(bytes.byteLength).set(bytes);
      sink.commit(bytes.byteLength);
      return sink.ready?.();
    },
    end: async () => {
      sink.end?.();
      inspection.end();
      const image = new DecodedImage(sink, byteLength, head, inspection.isTruncated);
      images.push(image);
      return { body: undefined, text: image.toJSON() };
    },
    discard: async () => {
      if (images.length === 0) await sink.discard();
    },
  };
}
