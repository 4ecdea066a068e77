import type { GatewayRequest } from "./authorize";

/** A request, whichever server brought it. */
export interface Incoming {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** What `authorize` sees of it. */
  readonly request: GatewayRequest;
  /** @param name in lower case. */
  header(name: string): string | undefined;
  /** The body, to be read at most once. */
  body(): AsyncIterable<Uint8Array>;
  /** The same as text; `undefined` where it is longer. */
  text(maxBytes: number): Promise<string | undefined>;
  /** Calls back once if its caller leaves before the reply was written out. */
  onLeave(callback: () => void): void;
}

/** A piece of a body: text as it is, or a picture, of which the base64 is written. */
export type Piece = string | Uint8Array | PictureFile;

/** A picture on the disk. */
export interface PictureFile {
  readonly file: string;
  readonly byteLength: number;
}

/** What is answered. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A list is complete, and is sent with its length. */
  readonly body: readonly Piece[] | AsyncIterable<Piece>;
  /** Called once: whether all of it was written out. */
  readonly onEnd?: (isDelivered: boolean) => void;
}

/** A reply of JSON. */
export function jsonReply(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return { status, headers: { ...jsonType, ...headers }, body: [JSON.stringify(value)] };
}

// Without it `openai` hands the text over as it is.
const jsonType = { "content-type": "application/json" };

/** How many bytes a complete body has. */
export function lengthOf(body: readonly Piece[]): number {
  return body.reduce((sum, piece) => sum + lengthOfPiece(piece), 0);
}

function lengthOfPiece(piece: Piece): number {
  if (typeof piece === "string") return Buffer.byteLength(piece);
  return 4 * Math.ceil(piece.byteLength / 3);
}

export function isComplete(body: Reply["body"]): body is readonly Piece[] {
  return Array.isArray(body);
}

export function isFile(piece: Piece): piece is PictureFile {
  return typeof piece === "object" && "file" in piece;
}

/** A piece that is not on the disk, as it is written. */
export function textOf(piece: string | Uint8Array): string {
  if (typeof piece === "string") return piece;
  return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString("base64");
}
