import { Readable } from "node:stream";
import { joined } from "../media/own-bytes";
import { isBytes, isUint8Array } from "../realm";

/**
 * Takes the next piece. A borrowed one is valid until this returns: {@link owned} copies it. The
 * producer waits for the promise that this returns, where it returns one.
 */
export type Take = (chunk: Uint8Array, isBorrowed: boolean) => Promise<void> | undefined;

/** A piece that outlives the call that brought it. */
export function owned(chunk: Uint8Array, isBorrowed: boolean): Buffer {
  return isBorrowed
    ? Buffer.from(chunk)
    : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
}

/** The bytes of a response, as they come. */
export interface Body {
  /** Hands over each piece, and may be called once. Rejects with what `take` throws or rejects with, or with why it broke off. */
  each(take: Take): Promise<void>;
}

/** A body from a custom transport. */
export function bodyOf(chunks: AsyncIterable<unknown>): Body {
  return {
    each: (take) => (chunks instanceof Readable ? drained(chunks, take) : iterated(chunks, take)),
  };
}

/** A download's bytes, whose number its giver has limited, in memory of their own. */
export async function bytesOf(body: Body): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  await body.each((chunk, isBorrowed) => {
    chunks.push(owned(chunk, isBorrowed));
    return undefined;
  });
  return joined(chunks);
}

async function iterated(chunks: AsyncIterable<unknown>, take: Take): Promise<void> {
  for await (const chunk of chunks) await take(bytesIn(chunk), false);
}

/** A piece of a body, whatever a transport that is not ours makes of it. */
function bytesIn(chunk: unknown): Uint8Array {
  if (isUint8Array(chunk)) return chunk;
  if (ArrayBuffer.isView(chunk)) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  if (isBytes(chunk)) return new Uint8Array(chunk);
  if (typeof chunk === "string") return Buffer.from(chunk);
  throw new TypeError(`The transport gave ${typeof chunk} where bytes of a body were due`);
}

/** A stream's events cost a fraction of its iterator. */
function drained(chunks: Readable, take: Take): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    let isEnded = false;
    /** The end comes while the last piece is still being taken. */
    let taking: Promise<void> | undefined;
    const fail = (error: unknown) => {
      isEnded = true;
      chunks.destroy();
      reject(error);
    };
    const brokeOff = () => fail(chunks.errored ?? new Error("The response broke off"));
    if (chunks.readableEnded) {
      resolve();
      return;
    }
    if (chunks.destroyed) {
      brokeOff();
      return;
    }
    chunks.on("data", (chunk: unknown) => {
      try {
        taking = take(bytesIn(chunk), false);
        if (taking === undefined) return;
        chunks.pause();
        taking.then(() => chunks.resume(), fail);
      } catch (error) {
        fail(error);
      }
    });
    chunks.once("end", () => {
      isEnded = true;
      if (taking === undefined) resolve();
      else taking.then(resolve, reject);
    });
    chunks.on("error", fail);
    chunks.once("close", () => {
      if (!isEnded) brokeOff();
    });
  });
}
