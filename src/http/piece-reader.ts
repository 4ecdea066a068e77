import { DecodedImage, type ImageSink } from "../media/decoded-image";
import { ImageInspection } from "../media/image-inspection";
import { ImageTooLargeError } from "./base64-image";
import { beginsEventStream } from "./event-stream";
import { EventStreamBody } from "./event-stream-body";
import { beginsImage } from "./image-text";
import { documentOf, JsonScanner } from "./json-scanner";
import { shownCharacters } from "./json-skeleton";
import { isPlainText, TextScanner } from "./text-scanner";

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
  /** A field that such an event alone has. */
  readonly partialField?: string | undefined;
  /** Whether a server-sent event of that type has a picture whole. */
  readonly isCompleted?: ((type: string) => boolean) | undefined;
  /** How many such events are awaited. */
  readonly asked?: number | undefined;
  /** Resolves when it is time to do without the rest of a stream whose pictures have all come. */
  readonly afterLast?: (() => Promise<void>) | undefined;
  /** Is shown each such event, whose images are let go of once it has settled; images alone where it broke off. */
  readonly onPartial?: ((event: unknown) => Promise<void>) | undefined;
  /** Takes the images that came whole, whatever becomes of the rest. */
  readonly images: DecodedImage[];
}

/** A body: what it says, or else how it begins. */
export interface JsonBody {
  /** As {@link ProviderResponse.body} says. */
  readonly body: unknown;
  /** What the events of a stream hold, where it is one. */
  readonly events?: readonly unknown[];
  readonly partials?: number;
  readonly text?: string;
}

/** A body that is looked at as it comes. */
export interface PieceReader {
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

/**
 * All that is no image, in a body that is not small. A gzip of 57 KB may hold 60 MB of small objects, which
 * are two gigabytes once parsed.
 */
const maxOtherBytes = 2 * 1024 * 1024;

/** How a page of HTML begins, or any other XML. A warning of PHP's before the JSON, `<br />`, does not. */
const pageStart = /^[\s\ufeff]*<(!doctype|!--|\?xml|html|head|body|svg)/i;

/** Comments, as caches insert them, before a body that is not an HTML page. */
const commentsBeforeJson = /^[\s\ufeff]*(<!--([^-]|-(?!->))*-->\s*)+[{[]/;

/** Whether a body is an HTML page, whose images are logos that were not paid for. */
function beginsPage(head: Buffer): boolean {
  const start = head.toString("utf8", 0, 1024);
  return pageStart.test(start) && !commentsBeforeJson.test(start);
}

/**
 * What reads a body that begins like that.
 *
 * @param text how it is shown if it is no JSON, where that is known already.
 */
export function readerOf(head: Buffer, reading: JsonReading, text?: string): PieceReader {
  const { createSink, isCompleted = () => false } = reading;
  const { asked = Number.POSITIVE_INFINITY } = reading;
  const options = { ...reading, maxOtherBytes };
  if (beginsPage(head))
    return jsonReader(new JsonScanner(createSink, { ...options, mostImages: 0 }), text);
  if (beginsImage(head)) return imageReader(createSink(), reading.maxImageBytes);
  if (beginsEventStream(head)) {
    return eventReader(new EventStreamBody(createSink, { ...options, isCompleted, asked }));
  }
  return isPlainText(head)
    ? textReader(new TextScanner(createSink, options), text ?? shownStart(head))
    : jsonReader(new JsonScanner(createSink, options), text);
}

function shownStart(head: Buffer): string {
  return head.toString("utf8", 0, 4 * shownCharacters).slice(0, shownCharacters);
}

function textReader(scanner: TextScanner, text: string): PieceReader {
  return {
    get images() {
      return scanner.images;
    },
    write: (bytes) => scanner.write(bytes),
    end: async () => {
      await scanner.end();
      return { body: undefined, text };
    },
    discard: () => scanner.discard(),
  };
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
