import * as types from "node:util/types";

/**
 * Classes across realms. In Jest and in contexts of `node:vm` this code has an `Error` and a `Uint8Array`
 * of its own, while what Node itself and the caller hand over is of another: `instanceof` says no there,
 * and an expected `EEXIST` would not be recognised and would end a call.
 */

/** Whether a value is an error, of whichever realm. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}

/** The code of an error of Node's, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return isError(error) && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

/** Whether a value holds bytes, of whichever realm. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** Whether a value is bytes as callers hold them, of whichever realm. */
export function isBytes(value: unknown): value is Uint8Array | ArrayBuffer {
  return types.isUint8Array(value) || types.isArrayBuffer(value);
}

/**
 * Bytes in memory that no other thread shares, which is what `Response`, `fetch` and `Blob` take: a plain
 * `Uint8Array` is none of their bodies by the DOM's types of TypeScript 5.9.
 */
export type ImageBytes = Uint8Array & { readonly buffer: ArrayBuffer };

/** Whether no other thread sees the memory of bytes. */
export function isUnshared(bytes: Uint8Array): bytes is ImageBytes {
  return types.isArrayBuffer(bytes.buffer);
}

/** The same memory as this realm's class, which others tell by `instanceof`; a copy of what threads share. */
export function asUint8Array(bytes: Uint8Array | ArrayBuffer): ImageBytes {
  if (!isUint8Array(bytes) || !isUnshared(bytes)) return new Uint8Array(bytes);
  if (bytes instanceof Uint8Array) return bytes;
  const { buffer, byteOffset, byteLength } = bytes;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Whether a value is a Blob or a File, of whichever realm. */
export function isBlob(value: unknown): value is Blob {
  if (value instanceof Blob) return true;
  return ["Blob", "File"].includes(tagOf(value)) && hasMethod(value, "arrayBuffer");
}

/** Whether a value is a URL, of whichever realm. */
export function isURL(value: unknown): value is URL {
  return value instanceof URL || tagOf(value) === "URL";
}

/** Whether a value is an AbortSignal, of whichever realm. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  if (value instanceof AbortSignal) return true;
  return tagOf(value) === "AbortSignal" && hasMethod(value, "addEventListener");
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

function hasMethod(value: unknown, name: string): boolean {
  return (
    typeof value === "object" && value !== null && typeof Reflect.get(value, name) === "function"
  );
}
