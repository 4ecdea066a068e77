import type { OnReadOpts, Socket } from "node:net";
import { isUint8Array } from "../realm";

/** What a socket gives at most at once, as it does by itself. */
const blockBytes = 64 * 1024;

/**
 * How the sockets of a pool are read: all of them into one block of memory, over and over. By itself Node
 * takes a new block for each read, and of a few large responses at once they fill the memory before they
 * are collected.
 *
 * It goes well because a piece is used up before the next one is read. undici's parser takes all of it as
 * soon as it hears of it, and so does whoever takes a body, or copies. Copied for the parser is whatever may
 * hold a part of a head, of which it keeps what it has until the rest comes. (It does so with
 * trailers as well, but nobody here reads those.)
 *
 * It is here, too, that a sender is asked to wait, by not reading the socket. undici's own pause must not
 * be used: if the connection ends meanwhile, an assertion ends the process.
 *
 * @see https://nodejs.org/api/net.html#new-netsocketoptions `onread`
 * @see https://github.com/nodejs/undici/issues/5360 mended in undici 8, for Node 22
 */
export class SocketReads {
  /** For the sockets of the pool that this belongs to. */
  readonly onread: OnReadOpts;
  /** The one whose bytes are being handed on. */
  #socket: Socket | undefined;
  #isHeld = false;
  #isBorrowed = false;
  /** Those whose response has begun to come. */
  readonly #begun = new WeakSet<Socket>();
  /** Those that are in the middle of a body. */
  readonly #inBody = new WeakSet<Socket>();

  constructor() {
    const hand = (socket: Socket, piece: Buffer) => this.#hand(socket, piece);
    this.onread = {
      buffer: Buffer.allocUnsafeSlow(blockBytes),
      // Node calls it as the socket's own.
      callback(this: Socket, length: number, block: Uint8Array) {
        return hand(this, Buffer.from(block.buffer, block.byteOffset, length));
      },
    };
  }

  /** Whether what is being handed on will be written over; otherwise it is a copy. */
  get isBorrowed(): boolean {
    return this.#isBorrowed;
  }

  /** A piece of a body has been taken, and it goes on. */
  tookBody(): void {
    if (this.#socket !== undefined) this.#inBody.add(this.#socket);
  }

  /** The response is whole. */
  tookEnd(): void {
    if (this.#socket !== undefined) {
      this.#inBody.delete(this.#socket);
      this.#begun.delete(this.#socket);
    }
    this.#isHeld = false;
  }

  /** Asks the sender of what is being taken to wait; what this gives lets it go on. */
  hold(): (() => void) | undefined {
    const socket = this.#socket;
    this.#isHeld = true;
    return socket && (() => socket.resume());
  }

  /** Gives false if the socket is to be left alone for now. */
  #hand(socket: Socket, piece: Buffer): boolean {
    this.#socket = socket;
    this.#isHeld = false;
    const isFirst = !this.#begun.has(socket);
    this.#isBorrowed = isFirst ? holdsHead(piece) : this.#inBody.has(socket);
    this.#begun.add(socket);
    socket.push(this.#isBorrowed ? piece : Buffer.from(piece));
    // Now, and not in the next tick.
    socket.emit("readable");
    this.#socket = undefined;
    this.#isBorrowed = false;
    if (socket.readableLength === 0) return !this.#isHeld;
    // A parser that consumes part of it finds the rest later: it is not overwritten.
    const rest: unknown = socket.read();
    if (isUint8Array(rest)) socket.unshift(Buffer.from(rest));
    // From here on the end of the response is not known: copy what follows.
    this.#inBody.delete(socket);
    return socket.readableLength < socket.readableHighWaterMark;
  }
}

/** `HTTP/1.1 200`: one below 200 is followed by another head. */
const finalStatus = /^HTTP\/1\.\d [2-9]/;

/** Whether the first piece of a response holds all of its head. */
function holdsHead(piece: Buffer): boolean {
  return finalStatus.test(piece.toString("latin1", 0, 10)) && piece.includes("\r\n\r\n");
}
