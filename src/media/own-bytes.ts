import { type ImageBytes, isUnshared } from "../realm";

/**
 * Bytes in memory of their own, copied where they lie in anything larger: a view on Node's pool would show
 * whoever takes its `buffer` what else is in there, and that pool cannot be transferred to a worker.
 */
export function ownBytes(bytes: Uint8Array): ImageBytes {
  const { byteLength } = bytes;
  if (isUnshared(bytes) && bytes.buffer.byteLength === byteLength) return bytes;
  const own = Buffer.isBuffer(bytes)
    ? Buffer.allocUnsafeSlow(byteLength)
    : new Uint8Array(byteLength);
  own.set(bytes);
  return own;
}

/** All of these behind each other, in memory of their own. */
export function joined(pieces: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  // `Buffer.concat` takes small ones from the pool.
  const whole = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
