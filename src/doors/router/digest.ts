import { createHash } from "node:crypto";
import type { ImageRequest } from "../../index";

/**
 * Tells the requests of one key apart: by their fields, and by those inputs that are at hand. Files and
 * Blobs are told apart by the journal of the client that has the order, which reads them.
 */
export function digestOf(request: ImageRequest): string {
  return createHash("sha256").update(JSON.stringify(request, plain)).digest("hex");
}

/** The same value gives the same text, in whichever order its keys were written. */
function plain(this: Readonly<Record<string, unknown>>, name: string): unknown {
  // As it was before its `toJSON`: a Buffer's lists its bytes one by one.
  const value = this[name];
  if (value instanceof URL) return value.href;
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return digestOfBytes(new Uint8Array(buffer, byteOffset, byteLength));
  }
  if (value instanceof ArrayBuffer) return digestOfBytes(new Uint8Array(value));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  // The place of a file is another on another machine.
  if (Object.getOwnPropertySymbols(value).length > 0 || "bytes" in value) return "an image";
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function digestOfBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
