import type { DecodedImage, ImageSink } from "../media/decoded-image";
import { EventStreamParser } from "./event-stream";
import { documentOf, JsonScanner, type ScanOptions, shownCharacters } from "./json-scanner";

/** How the events of a stream are read. */
export interface EventStreamOptions extends ScanOptions {
  readonly mostImages: number;
  /** Whether an event of that type shows a picture that a later one completes: it is let go of. */
  readonly isPartial: (type: string) => boolean;
  /** Whether an event of that type has a picture whole. */
  readonly isCompleted: (type: string) => boolean;
  /** How many of these are awaited. */
  readonly asked: number;
}

/** What an event takes at least, however little it holds. */
const eventBytes = 64;

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
  /** One piece is read after the other, though a disk may be slow. */
  #reading: Promise<void> = Promise.resolve();

  constructor(createSink: () => ImageSink, options: EventStreamOptions) {
    this.#createSink = createSink;
    this.#options = options;
  }

  /** The images that are whole, also those of an event that breaks off after them. */
  get images(): readonly DecodedImage[] {
    return this.#isPartial(this.#parser.type, typeField.exec(this.#scanner?.start ?? "")?.[1])
      ? this.#images
      : [...this.#images, ...(this.#scanner?.images ?? [])];
  }

  /** As many pictures as were asked for have been completed. */
  get isDone(): boolean {
    return this.#completed >= this.#options.asked;
  }

  /** The start of the stream, to be shown. */
  get start(): string {
    return this.#start.toString("utf8").slice(0, shownCharacters);
  }

  /** Takes the next bytes, which are only lent. */
  write(chunk: Uint8Array): Promise<void> {
    const bytes = Buffer.from(chunk);
    if (this.#start.length < 4 * shownCharacters) {
      const start = Buffer.concat([this.#start, bytes]);
      this.#start = Buffer.from(start.subarray(0, 4 * shownCharacters));
    }
    this.#reading = this.#reading.then(() => this.#read(this.#parser.parse(bytes)));
    return this.#reading;
  }

  /** What the events hold, in order; what is no JSON, such as `[DONE]`, is left out. */
  async end(): Promise<readonly unknown[]> {
    await this.#reading;
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
        await this.#scanner.write(part.data);
      }
    }
  }

  #createScanner(): JsonScanner {
    return new JsonScanner(this.#createSink, {
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
    const data = await documentOf(scanner);
    this.#scanner = undefined;
    await scanner.discard();
    const own = typeof data === "object" && data !== null && "type" in data ? data.type : undefined;
    if (this.#isOf(this.#options.isCompleted, type, own)) this.#completed += 1;
    if (this.#isPartial(type, own)) {
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
