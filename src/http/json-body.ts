import { type Body, owned } from "./body";
import { beginsEventStream, streamHeadBytes } from "./event-stream";
import { shownCharacters } from "./json-skeleton";
import { parseJson } from "./parse-json";
import { type JsonBody, type JsonReading, type PieceReader, readerOf } from "./piece-reader";

/** Smaller bodies are parsed whole: copying them twice is cheap. */
const smallBytes = 64 * 1024;

/** The stream continues, but the rest is not read. */
class NothingMoreError extends Error {
  override readonly name = "NothingMoreError";
}

/** Smaller pieces are joined before they are looked at. */
const tinyBytes = 1024;

/** Reads a body as JSON; images in a large one go to sinks as they come. */
export function readJson(from: Body, reading: JsonReading): Promise<JsonBody> {
  return new BodyReader(reading).read(from);
}

/** Takes the pieces of one body: whole where that is small, and otherwise by what reads one of its kind. */
class BodyReader {
  readonly #reading: JsonReading;
  /** What came in one piece. */
  #whole: JsonBody | undefined;
  /** What has come, as long as it is small. */
  readonly #small: Buffer[] = [];
  #reader: PieceReader | undefined;
  readonly #tiny: Buffer[] = [];
  #tinyLength = 0;
  #byteLength = 0;
  #isOver = false;
  /** All that is awaited is there: the rest may come for a while, or never. */
  #onEnough: () => void = () => {};

  constructor(reading: JsonReading) {
    this.#reading = reading;
  }

  async read(from: Body): Promise<JsonBody> {
    try {
      await this.#arrival(from);
      this.#isOver = true;
      if (this.#reader === undefined) {
        const read = this.#whole ?? parsed(this.#smallBytes());
        if (read.body !== undefined) return read;
        this.#whole = read;
      }
      const last = this.#reader ?? this.#readSmall(this.#whole?.text);
      await this.#flush(last);
      return await last.end();
    } catch (error) {
      try {
        // What came whole in it was paid for all the same.
        await this.#flush(this.#reader ?? this.#readSmall());
      } catch {
        // The first error is the one that is told.
      }
      throw error;
    } finally {
      const reader = this.#reader;
      if (reader !== undefined) {
        this.#handOver(reader);
        await reader.discard();
        this.#handOver(reader);
      }
    }
  }

  /** Until all has come, or enough of it. */
  #arrival(from: Body): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onEnough = resolve;
      from
        .each((chunk, isBorrowed) => this.#take(chunk, isBorrowed))
        .then(resolve, (error: unknown) => {
          // Breaking off after the last image is harmless.
          if (this.#reader?.isDone === true) resolve();
          else reject(error);
        });
    });
  }

  #take(chunk: Uint8Array, isBorrowed: boolean): Promise<void> | undefined {
    if (this.#isOver) throw new NothingMoreError();
    const { maxBytes, contentLength } = this.#reading;
    this.#byteLength += chunk.byteLength;
    if (this.#byteLength > maxBytes) {
      throw new Error(`The response is larger than ${maxBytes} bytes (\`maxAnswerBytes\`)`);
    }
    if (isBorrowed && chunk.byteLength === contentLength && contentLength <= smallBytes) {
      // All of it in one piece, as most are: it is read where it lies.
      this.#whole = parsed(chunk);
      if (this.#whole.body !== undefined) return undefined;
    }
    const reader = this.#reader;
    if (reader === undefined) {
      this.#small.push(owned(chunk, isBorrowed));
      // A stream may stay open when its picture is there, however small that is.
      if (this.#byteLength <= smallBytes && !this.#beginsStream(chunk)) return undefined;
      const first = Buffer.concat(this.#small.splice(0));
      const made = readerOf(first, this.#reading);
      this.#reader = made;
      return this.#watched(made, this.#give(made, first));
    }
    const isRead = reader.isStream || chunk.byteLength >= tinyBytes;
    if (this.#tiny.length === 0 && isRead) return this.#watched(reader, this.#give(reader, chunk));
    // Join tiny chunks: one byte at a time would leave a buffer per byte.
    this.#tiny.push(owned(chunk, isBorrowed));
    this.#tinyLength += chunk.byteLength;
    return this.#tinyLength >= tinyBytes ? this.#flush(reader) : undefined;
  }

  #watched(by: PieceReader, taken: Promise<void> | undefined): Promise<void> | undefined {
    return taken?.then(() => {
      if (by.isDone) void this.#reading.afterLast?.().then(this.#onEnough);
    });
  }

  /** Whether what has come is a stream of events: its beginning alone tells. */
  #beginsStream(latest: Uint8Array): boolean {
    if (this.#byteLength - latest.byteLength >= streamHeadBytes) return false;
    return beginsEventStream(this.#smallBytes());
  }

  #smallBytes(): Buffer {
    const [first = Buffer.alloc(0), second] = this.#small;
    return second === undefined ? first : Buffer.concat(this.#small);
  }

  #give(to: PieceReader, bytes: Uint8Array): Promise<void> | undefined {
    const isReady = to.write(bytes);
    // Immediately: a caller that abandons the rest does not wait for this.
    this.#handOver(to);
    return isReady?.then(() => this.#handOver(to));
  }

  #handOver(by: PieceReader): void {
    const whole = by.images;
    const { images } = this.#reading;
    if (whole.length !== images.length) images.splice(0, images.length, ...whole);
  }

  #flush(to: PieceReader): Promise<void> | undefined {
    this.#tinyLength = 0;
    return this.#give(to, Buffer.concat(this.#tiny.splice(0)));
  }

  /** Not JSON, or cut short. */
  #readSmall(text?: string): PieceReader {
    const all = Buffer.concat(this.#small.splice(0));
    this.#tiny.push(all);
    const made = readerOf(all, this.#reading, text);
    this.#reader = made;
    return made;
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
