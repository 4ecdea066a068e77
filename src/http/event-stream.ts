/** A part of a stream of server-sent events. */
export type EventPart =
  /** The next bytes of the present event's data: a part of the chunk that was given. */
  | { readonly data: Uint8Array }
  /** The event is whole. Its type is empty where the stream does not name one. */
  | { readonly type: string };

/** What ends a line, alone or together. */
export const lineFeed = 0x0a;
export const carriageReturn = 0x0d;
const colon = 0x3a;
const space = 0x20;

/** A longer name of a field is none that means anything here. */
const mostFieldBytes = 16;
const mostTypeBytes = 256;

/**
 * How a stream of events begins, after what a JSON document may have before it as well: not as a data URL,
 * nor as so much of one that it may become one with the next bytes.
 */
const streamStart =
  /^[\s\ufeff]*(?!data:([\w.+-]*(\/[\w.+-]*)?$|[\w.+-]+\/[\w.+-]+[;,]))((data|event|id|retry)(:|[\r\n])|:)/;

/** So much of a body tells whether it is one. */
export const streamHeadBytes = 256;

/** Whether a body is a stream of events, by its first bytes: no JSON begins like one. */
export function beginsEventStream(head: Uint8Array): boolean {
  return streamStart.test(Buffer.from(head.subarray(0, streamHeadBytes)).toString("utf8"));
}

/**
 * Reads a stream of server-sent events in whatever pieces it comes. The data of an event are handed on as
 * they come, so that the picture in them need never be in memory as text.
 *
 * It differs from the standard in one thing: an event that the stream ends in counts, since it was paid
 * for. The standard drops it.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class EventStreamParser {
  /** What the present line is: not known yet, the value of a field, or of no use. */
  #line: "field" | "data" | "event" | "other" = "field";
  /** Its field, as far as it has come. */
  #field = "";
  /** One space before the value is not part of it. */
  #isValueStart = false;
  /** One character a byte: a chunk may end within one. */
  #type = "";
  #hasData = false;
  /** A line feed belongs to the carriage return before it. */
  #skipsLineFeed = false;
  #isFirstLine = true;

  /** The type of the present event, as far as it has come. */
  get type(): string {
    return Buffer.from(this.#type, "latin1").toString("utf8");
  }

  /** Takes the next bytes. */
  *parse(chunk: Uint8Array): Generator<EventPart> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let nextReturn = bytes.indexOf(carriageReturn);
    let at = 0;
    while (at < bytes.length) {
      if (this.#skipsLineFeed) {
        this.#skipsLineFeed = false;
        if (bytes[at] === lineFeed) {
          at += 1;
          continue;
        }
      }
      // Searched for once in a chunk, as a rule: most streams have none.
      if (nextReturn !== -1 && nextReturn < at) nextReturn = bytes.indexOf(carriageReturn, at);
      const limit = nextReturn === -1 ? bytes.length : nextReturn;
      const found = bytes.subarray(at, limit).indexOf(lineFeed);
      const end = found === -1 ? limit : at + found;
      yield* this.#readLine(bytes.subarray(at, end));
      if (end < bytes.length) {
        this.#skipsLineFeed = end === nextReturn;
        yield* this.#endLine();
      }
      at = end + 1;
    }
  }

  /** Nothing follows. */
  *end(): Generator<EventPart> {
    yield* this.#endLine();
    yield* this.#dispatch();
  }

  /** Takes a part of a line, up to its end or that of the chunk. */
  *#readLine(part: Buffer): Generator<EventPart> {
    let rest = part;
    if (this.#line === "field") {
      const colonAt = rest.indexOf(colon);
      const length = colonAt === -1 ? rest.length : colonAt;
      const room = Math.max(0, mostFieldBytes - this.#field.length);
      this.#field += rest.toString("latin1", 0, Math.min(length, room));
      if (colonAt === -1) return;
      yield* this.#beginValue();
      rest = rest.subarray(colonAt + 1);
    }
    if (this.#isValueStart && rest.length > 0) {
      this.#isValueStart = false;
      if (rest[0] === space) rest = rest.subarray(1);
    }
    if (rest.length === 0) return;
    if (this.#line === "data") yield { data: rest };
    else if (this.#line === "event" && this.#type.length < mostTypeBytes) {
      this.#type += rest.toString("latin1");
    }
  }

  *#beginValue(): Generator<EventPart> {
    // As bytes: a byte order mark may stand before the first.
    const field = this.#isFirstLine ? this.#field.replace(/^(\xef\xbb\xbf)+/, "") : this.#field;
    this.#line = field === "data" || field === "event" ? field : "other";
    this.#isValueStart = true;
    if (field === "event") this.#type = "";
    if (field !== "data") return;
    // Several lines of data are one text.
    if (this.#hasData) yield { data: Buffer.of(lineFeed) };
    this.#hasData = true;
  }

  *#endLine(): Generator<EventPart> {
    const isEmpty = this.#line === "field" && this.#field === "";
    // A line that is a name alone has an empty value.
    if (this.#line === "field" && !isEmpty) yield* this.#beginValue();
    this.#line = "field";
    this.#field = "";
    this.#isValueStart = false;
    this.#isFirstLine = false;
    if (isEmpty) yield* this.#dispatch();
  }

  *#dispatch(): Generator<EventPart> {
    const { type } = this;
    this.#type = "";
    if (!this.#hasData) return;
    this.#hasData = false;
    yield { type };
  }
}
