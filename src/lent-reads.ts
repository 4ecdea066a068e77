import type { OnReadOpts, Socket } from "node:net";

/** What a socket gives at most at once, as it does by itself. */
const blockBytes = 64 * 1024;

let isPastHead = false;

/** Told by whoever takes an answer: what undici keeps of its head is no longer in what was lent. */
export function pastHead(): void {
  isPastHead = true;
}

/**
 * Lets each socket of a pool read into the same memory again and again. By itself Node takes a new block
 * for each read, and of a few large answers at once they fill the memory before they are collected.
 *
 * It goes well because undici's parser reads what has come before anything else can, and because whoever
 * takes the pieces of a body is done with one when he returns. Two things outlive that, and keep their
 * block: a head of which the rest is still to come, and what the parser leaves while its reader has asked
 * it to wait.
 *
 * @see https://nodejs.org/api/net.html#new-netsocketoptions `onread`
 */
export function lentReads(): OnReadOpts {
  /** The other block of a socket that was left unread once, and has been read since. */
  const spares = new WeakMap<Socket, Uint8Array>();
  let next: Uint8Array | undefined;
  return {
    /** Called once for a new socket, and then after each piece for the one that follows. */
    buffer() {
      const block = next ?? Buffer.allocUnsafeSlow(blockBytes);
      next = undefined;
      return block;
    },
    // Node calls it as the socket's own.
    callback(this: Socket, length: number, block: Uint8Array): boolean {
      const piece = block.subarray(0, length);
      if (this.readableLength > 0) {
        // It was asked to stop, and had this already.
        this.push(Buffer.from(piece));
        next = block;
        return false;
      }
      isPastHead = false;
      this.push(piece);
      // Now, and not in the next tick.
      this.emit("readable");
      if (this.readableLength > 0) {
        next = spares.get(this);
        spares.set(this, block);
        // Whoever reads it has the socket read again.
        return false;
      }
      if (isPastHead) next = block;
      return true;
    },
  };
}
