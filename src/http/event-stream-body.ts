import { type DecodedImage, type ImageSink, MemorySink } from "../media/decoded-image";
import { carriageReturn, EventStreamParser, lineFeed } from "./event-stream";
import { documentOf, JsonScanner, type ScanOptions } from "./json-scanner";
import { shownCharacters } from "./json-skeleton";

/** How the events of a stream are read. */
export interface EventStreamOptions extends ScanOptions {
  readonly mostImages: number;
  /** Whether an event of that type shows a picture that a later one completes: it is let go of. */
  readonly isPartial: (type: string) => boolean;
  /** Whether an event of that type has a picture whole. */
  readonly isCompleted: (type: string) => boolean;
  /** How many of these are awaited. */
  readonly asked: number;
  /** Is shown each such event, whose images are let go of once it has settled. */
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
    // Some name it before the picture, and some, who sort their fields, after it.
    const types = [scanner.start, scanner.rest].map((text) => typeField.exec(text)?.[1]);
    return this.#isPartial(this.#parser.type, ...types)
      ? this.#images
      : [...this.#images, ...found];
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
    // A drip of single bytes would leave as many pieces.
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
    // Whoever reads has heard of what went wrong there.
    await this.#reading.catch(() => {});
    const { images } = this;
    for (const each of this.#scanner?.images ?? []) {
      if (!images.includes(each)) await each.sink.discard();
    }
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
    // One that is no picture to be kept goes to no disk.
    const createSink = this.#isPartial(this.#parser.type)
      ? () => new MemorySink()
      : this.#createSink;
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
    this.#scanner = undefined;
    await scanner.discard();
    const own = typeof data === "object" && data !== null && "type" in data ? data.type : undefined;
    if (this.#isOf(this.#options.isCompleted, type, own)) this.#completed += 1;
    if (this.#isPartial(type, own)) {
      this.#partials += 1;
      if (data !== undefined) await this.#options.onPartial?.(data);
      for (const each of images) await each.sink.discard();
      return;
    }
    // A picture that is whole is kept, though the rest of its event is no JSON.
    this.#images.push(...images);
    if (data !== undefined) this.#events.push(data);
  }

  #isPartial(...types: readonly unknown[]): boolean {
    return this.#isOf(this.#options.isPartial, ...types);
  }

  #isOf(kind: (type: string) => boolean, ...types: readonly unknown[]): boolean {
    return types.some((type) => typeof type === "string" && kind(type));
  }
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
