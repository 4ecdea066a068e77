import type { Transform } from "node:stream";
import { type Body, owned, type Take } from "./body";
import { GunzipSink } from "./gunzip-sink";
import { beginsImage } from "./image-text";
import { lateZlib } from "./late-zlib";
import { type ByteSink, ZlibSink } from "./zlib-sink";

/** A sink for compressed bytes in front of the one for what was compressed. */
type Decoder = (next: ByteSink) => ByteSink;

/** curl's limit as well: each further one multiplies what a few bytes decompress to. */
const mostCodings = 5;

/**
 * A body as it was before a server compressed it, though nobody asked it to. It ends where what was compressed
 * ends: of bytes after that nobody takes any, and whoever brings them hears an error.
 *
 * A coding that is not known here, or more than five, is refused as the first bytes come, unless these
 * are plainly those of a text or an image: some servers name a character set, or what a storage did
 * (`aws-chunked`), and compressed nothing. One that is known is taken at its word, unless the first bytes are
 * those of a document or an image: a proxy over `fetch` that copies all headers has decompressed it.
 *
 * @param isPerhapsDone whether it may be decompressed already, as `fetch` does it, but not for each coding.
 */
export function decompressed(
  body: Body,
  contentEncoding: string | undefined,
  isPerhapsDone = false,
): Body {
  if (contentEncoding === undefined) return body;
  const codings = contentEncoding
    .toLowerCase()
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "" && each !== "identity");
  if (codings.length === 0) return body;
  const known = codings.flatMap((each) => decoderOf(each) ?? []);
  const isKnown = known.length === codings.length && codings.length <= mostCodings;
  // The one that was applied last is undone first.
  const decode: Decoder = isKnown
    ? (next) => known.reduce((sink, decoder) => decoder(sink), next)
    : (next) => refusing(contentEncoding, next);
  const isDone = isKnown && !isPerhapsDone ? beginsDocument : isPlain;
  return decodedBy(body, (next) =>
    byHead(64, next, (head) => (isDone(head) ? next : decode(next))),
  );
}

const gzipStart = Buffer.of(0x1f, 0x8b, 8);

/**
 * As {@link decompressed}, for a response in which no file may stand: a gzip that no header names is decompressed as
 * well. Whoever lost the header on the way did not lose what was paid for.
 */
export function decompressedResponse(body: Body, contentEncoding: string | undefined): Body {
  if (contentEncoding !== undefined) return decompressed(body, contentEncoding);
  return {
    each: (take) =>
      new Promise((resolve, reject) => {
        const next: ByteSink = { take, end: resolve, fail: reject };
        let sink: ByteSink | undefined;
        const takeFirst: Take = (chunk, isBorrowed) => {
          sink ??= gzipStart.equals(chunk.subarray(0, 3)) ? new GunzipSink(next) : next;
          return sink.take(chunk, isBorrowed);
        };
        body.each(takeFirst).then(
          () => (sink ?? next).end(),
          (error: unknown) => (sink ?? next).fail(error),
        );
      }),
  };
}

function decodedBy(body: Body, decode: Decoder): Body {
  return {
    each: (take) =>
      new Promise((resolve, reject) => {
        const sink = decode({ take, end: resolve, fail: reject });
        body.each(sink.take).then(sink.end, sink.fail);
      }),
  };
}

function decoderOf(coding: string): Decoder | undefined {
  switch (coding) {
    case "gzip":
    case "x-gzip":
      return (next) => new GunzipSink(next);
    case "deflate":
      // The standard means zlib's format, and some servers send the bare one.
      return (next) =>
        byHead(2, next, (head) =>
          zlibSink(isZlib(head) ? lateZlib().createInflate() : lateZlib().createInflateRaw(), next),
        );
    case "br":
      return (next) => zlibSink(lateZlib().createBrotliDecompress(), next);
    case "zstd": {
      // From Node 22.15 on.
      const create: unknown = Reflect.get(lateZlib(), "createZstdDecompress");
      if (typeof create !== "function") return undefined;
      // It makes what the others make; the types of Node 20 do not know it.
      return (next) => zlibSink(create() as Transform, next);
    }
    default:
      return undefined;
  }
}

function zlibSink(stream: Transform, next: ByteSink): ByteSink {
  return new ZlibSink(stream, next);
}

/** RFC 1950: the method is 8, and both bytes together are a multiple of 31. */
function isZlib(head: Buffer): boolean {
  const [first = 0, second = 0] = head;
  return (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0;
}

const documentStart = /^[\s\ufeff]*([{[<]|data:|event:)/;

/** Whether bytes begin as JSON, a page, a stream of events or an image does: compressed ones do not. */
function beginsDocument(head: Buffer): boolean {
  return isPlain(head) && (beginsImage(head) || documentStart.test(head.toString("utf8")));
}

const control = /(?![\t\n\r])\p{Cc}/u;

function isPlain(head: Buffer): boolean {
  if (beginsImage(head)) return true;
  try {
    // As a stream: the last character may be cut.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return !control.test(text);
  } catch {
    // Not UTF-8.
    return false;
  }
}

function refusing(contentEncoding: string, next: ByteSink): ByteSink {
  const take = () => {
    throw new Error(
      `It is compressed as ${JSON.stringify(contentEncoding)}, which is not known here`,
    );
  };
  return { ...next, take };
}

/** A sink chosen by the first bytes, once enough of them have arrived or the body has ended. */
function byHead(length: number, next: ByteSink, choose: (head: Buffer) => ByteSink): ByteSink {
  let head: Buffer = Buffer.alloc(0);
  let chosen: ByteSink | undefined;
  const open = (): { sink: ByteSink; taken: Promise<void> | undefined } => {
    chosen = choose(head);
    return { sink: chosen, taken: chosen.take(head, false) };
  };
  const take: Take = (chunk, isBorrowed) => {
    if (chosen !== undefined) return chosen.take(chunk, isBorrowed);
    head = Buffer.concat([head, owned(chunk, isBorrowed)]);
    return head.length < length ? undefined : open().taken;
  };
  const fail = (error: unknown) => (chosen ?? next).fail(error);
  const end = () => {
    if (chosen !== undefined) return chosen.end();
    if (head.length === 0) return next.end();
    try {
      const { sink, taken } = open();
      if (taken === undefined) sink.end();
      else taken.then(sink.end, sink.fail);
    } catch (error) {
      fail(error);
    }
  };
  return { take, end, fail };
}
