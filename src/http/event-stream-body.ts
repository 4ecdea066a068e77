import { type DecodedImage, type ImageSink, MemorySink } from "../media/decoded-image";
import { carriageReturn, EventStreamParser, lineFeed } from "./event-stream";
import { documentOf, JsonScanner, type ScanOptions } from "./json-scanner";
import { shownCharacters } from "./json-skeleton";

/** How the events of a stream are read. */
export interface EventStreamOptions extends ScanOptions {
  readonly mostImages: number;
  /**
   * Whether an event of that type shows a picture that a later one completes: it is let go of. Absent where
   * no event does.
   */
  readonly isPartial?: ((type: string) => boolean) | undefined;
  /** A field that such an event alone has: it tells of one that names no type. */
  readonly partialField?: string | undefined;
  /** Whether an event of that type has a picture whole. */
  readonly isCompleted: (type: string) => boolean;
  /** How many of these are awaited. */
  readonly asked: number;
  /**
   * Is shown each such event, whose images are let go of once it has settled; of one that broke off, each
   * image that is whole.
   */
  readonly onPartial?: ((event: unknown) => Promise<void>) | undefined;
}

/** Smaller pieces are joined before they are looked at, as long as they end no line. */
const tinyBytes = 1024;

/** What an event takes at least, however little it holds. */
const eventBytes = 64;

/** And a line of its data: millions of empty ones would keep a core busy for a minute. */
const lineBytes = 16;

/** What a document says of its own type, where no line before it does. */
const typeField = /"type"\s*:\s*"([^"]*)"/;

/**
 * What an event shows. One that broke off before it told its type, as some write it last, is a sketch as
 * likely as the picture: the picture must not be reported as received.
 */
type EventKind = "partial" | "completed" | "other" | "untold";

/**
 * Reads a stream of server-sent events that hold JSON. The images in them are decoded as they come, one
 * event after the other, and none is held as a string.
 */
export class EventStreamBody {
  readonly #createSink: () => ImageSink;
  readonly #options: EventStreamOptions;
  readonly #parser = new EventStreamParser();
  /** The data of the present event. */
  #scanner: JsonScanner | undefined;
  readonly #events: unknown[] = [];
  readonly #images: DecodedImage[] = [];
  #completed = 0;
  #otherBytes = 0;
  #start: Buffer = Buffer.alloc(0);
  #partials = 0;
  readonly #tiny: Buffer[] = [];
  #tinyLength = 0;
  /** One piece is read after the other, though a disk may be slow. */
  #reading: Promise<void> = Promise.resolve();

  constructor(createSink: () => ImageSink, options: EventStreamOptions) {
    this.#createSink = createSink;
    this.#options = options;
  }

  /** The images that are whole, also those of an event that breaks off after them. */
  get images(): readonly DecodedImage[] {
    const scanner = this.#scanner;
    const found = scanner?.images ?? [];
    if (scanner === undefined || found.length === 0) return this.#images;
    const kind = this.#kindOf(this.#parser.type, scanner);
    return isSketch(kind) ? this.#images : [...this.#images, ...found];
  }

  /** As many pictures as were asked for have been completed. */
  get isDone(): boolean {
    return this.#completed >= this.#options.asked;
  }

  /** How many events have shown a picture that was not done. */
  get partials(): number {
    return this.#partials;
  }

  /** The start of the stream, to be shown. */
  get start(): string {
    return this.#start.toString("utf8").slice(0, shownCharacters);
  }

  /** Takes the next bytes, which are only lent; without any, reads what has waited for more. */
  write(chunk: Uint8Array): Promise<void> {
    const bytes = Buffer.from(chunk);
    if (this.#start.length < 4 * shownCharacters) {
      const start = Buffer.concat([this.#start, bytes]);
      this.#start = Buffer.from(start.subarray(0, 4 * shownCharacters));
    }
    this.#tiny.push(bytes);
    this.#tinyLength += bytes.length;
    const endsLine = bytes.includes(lineFeed) || bytes.includes(carriageReturn);
    // Join tiny chunks: one byte at a time would leave a buffer per byte.
    if (bytes.length > 0 && this.#tinyLength < tinyBytes && !endsLine) return this.#reading;
    const [first = bytes, second] = this.#tiny;
    const waiting = second === undefined ? first : Buffer.concat(this.#tiny);
    this.#tiny.length = 0;
    this.#tinyLength = 0;
    this.#reading = this.#reading.then(() => this.#read(this.#parser.parse(waiting)));
    return this.#reading;
  }

  /** What the events hold, in order; what is no JSON, such as `[DONE]`, is left out. */
  async end(): Promise<readonly unknown[]> {
    await this.write(Buffer.alloc(0));
    await this.#read(this.#parser.end());
    return this.#events;
  }

  /** Lets go of whatever is not a whole image. */
  async discard(): Promise<void> {
    // The reader was already given that error.
    await this.#reading.catch(() => {});
    const { images } = this;
    const sketches = this.#scanner?.images.filter((each) => !images.includes(each)) ?? [];
    await this.#showAll(sketches, sketches);
    await this.#scanner?.discard();
  }

  async #read(parts: ReturnType<EventStreamParser["parse"]>): Promise<void> {
    for (const part of parts) {
      if ("type" in part) await this.#endEvent(part.type);
      else {
        this.#scanner ??= this.#createScanner();
        if (part.data.length < lineBytes) this.#countLine();
        await this.#scanner.write(part.data);
      }
    }
  }

  #countLine(): void {
    this.#otherBytes += lineBytes;
    const { maxOtherBytes = Number.POSITIVE_INFINITY } = this.#options;
    if (this.#otherBytes > maxOtherBytes) {
      const fault = `The response has more than ${maxOtherBytes} bytes beside its images`;
      throw new Error(`${fault}, at ${lineBytes} for each short line`);
    }
  }

  #createScanner(): JsonScanner {
    // An image that will be discarded is not written to disk.
    const isPartial = this.#options.isPartial?.(this.#parser.type) === true;
    const createSink = isPartial ? () => new MemorySink() : this.#createSink;
    return new JsonScanner(createSink, {
      ...this.#options,
      mostImages: this.#options.mostImages - this.#images.length,
      otherBytesBefore: this.#otherBytes,
    });
  }

  async #endEvent(type: string): Promise<void> {
    const scanner = this.#scanner;
    if (scanner === undefined) return;
    const { images, otherBytes } = scanner;
    this.#otherBytes += otherBytes + eventBytes;
    const data = withType(type, await documentOf(scanner), scanner.start);
    const whole = data === undefined ? undefined : { type: Object(data).type };
    const kind = this.#kindOf(type, scanner, whole);
    this.#scanner = undefined;
    await scanner.discard();
    if (kind === "completed") this.#completed += 1;
    if (isSketch(kind) && (data ?? images[0]) !== undefined) {
      this.#partials += 1;
      await this.#showAll(data === undefined ? images : [data], images);
      return;
    }
    // A picture that is whole is kept, though the rest of its event is no JSON.
    this.#images.push(...images);
    if (data !== undefined) this.#events.push(data);
  }

  /** Of pictures that are not done. */
  async #showAll(events: readonly unknown[], images: readonly DecodedImage[]): Promise<void> {
    for (const event of events) await this.#options.onPartial?.(event);
    for (const each of images) await each.sink.discard();
  }

  /** @param whole what an event says itself that has come whole. */
  #kindOf(line: string, { start, rest }: JsonScanner, whole?: { type: unknown }): EventKind {
    const { isPartial, isCompleted, partialField } = this.#options;
    // Some tell what it is before the picture, and some, who sort their fields, after it.
    const texts = [start, rest];
    const own = whole === undefined ? texts.map((text) => typeField.exec(text)?.[1]) : [whole.type];
    const types = [line, ...own].flatMap((type) => (typeof type === "string" && type) || []);
    if (isPartial !== undefined && types.some((type) => isPartial(type))) return "partial";
    if (types.some((type) => isCompleted(type))) return "completed";
    if (partialField !== undefined) {
      // In a string its quotes would be escaped. Some write null where there is none.
      const mark = new RegExp(`"${partialField}"\\s*:\\s*\\d`);
      if (texts.some((text) => mark.test(text))) return "partial";
    }
    const isTold = isPartial === undefined || whole !== undefined || types.length > 0;
    return isTold ? "other" : "untold";
  }
}

function isSketch(kind: EventKind): boolean {
  return kind === "partial" || kind === "untold";
}

/**
 * What an event holds, under the type that stands before it where it names none itself. An error is under
 * `error`, where some leave it bare, or in plain words.
 */
function withType(line: string, data: unknown, text: string): unknown {
  if (data === undefined) return line === "error" ? { type: line, error: text } : undefined;
  if (typeof data !== "object" || data === null || Array.isArray(data)) return data;
  const { type = line || undefined, ...rest }: { type?: unknown } = data;
  if (type === undefined) return data;
  return type !== "error" || "error" in rest ? { type, ...rest } : { type, error: rest };
}
