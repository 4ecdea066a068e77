import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { GatewayRequest } from "./authorize";
import {
  type Incoming,
  isComplete,
  isFile,
  lengthOf,
  type Piece,
  type Reply,
  textOf,
} from "./exchange";
import { base64Of } from "./pictures";

/**
 * What `authorize` is shown. A class, as a literal with getters is a slow object, and what they hold, the
 * request, waits for a full collection.
 */
class NodeRequest implements GatewayRequest {
  readonly method: string;
  readonly #message: IncomingMessage;
  #headers: Headers | undefined;

  constructor(message: IncomingMessage) {
    this.#message = message;
    this.method = message.method ?? "GET";
  }

  get url(): string {
    const { socket, headers, url } = this.#message;
    const scheme = "encrypted" in socket ? "https" : "http";
    return `${scheme}://${headers.host ?? "localhost"}${url ?? "/"}`;
  }

  /** Made when somebody looks: it costs as much as all the rest of a request. */
  get headers(): Headers {
    this.#headers ??= headersOf(this.#message);
    return this.#headers;
  }
}

/** A request of `node:http`. */
export class NodeIncoming implements Incoming {
  readonly method: string;
  readonly path: string;
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(message: IncomingMessage, response: ServerResponse) {
    this.#message = message;
    this.#response = response;
    this.method = message.method ?? "GET";
    [this.path = "/"] = (message.url ?? "/").split("?");
  }

  get request(): GatewayRequest {
    return new NodeRequest(this.#message);
  }

  header(name: string): string | undefined {
    const value = this.#message.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  body(): AsyncIterable<Uint8Array> {
    // The message's own iterator destroys it where it is left early. What is still to come would then never be
    // read, and the next request on the connection would wait until the server ends it.
    const message = this.#message;
    return { [Symbol.asyncIterator]: () => message.iterator({ destroyOnReturn: false }) };
  }

  /** By events: an iterator costs as much as the parsing of a small body. */
  text(maxBytes: number): Promise<string | undefined> {
    const message = this.#message;
    return new Promise((resolve, reject) => {
      const pieces: Uint8Array[] = [];
      let length = 0;
      message.on("data", (piece: Uint8Array) => {
        length += piece.byteLength;
        if (length <= maxBytes) pieces.push(piece);
        else resolve(undefined);
      });
      message.on("end", () => resolve(Buffer.concat(pieces).toString("utf8")));
      message.on("error", reject);
    });
  }

  onLeave(callback: () => void): void {
    const response = this.#response;
    if (response.closed) callback();
    else response.once("close", () => response.writableFinished || callback());
  }
}

function headersOf({ headersDistinct }: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  return headers;
}

/** Writes a reply, and says to its order whether all of it was taken. */
export async function writeReply(reply: Reply, response: ServerResponse): Promise<void> {
  const { body, status, headers, onEnd } = reply;
  // Handed over to the system: what is lost after that, nobody here can see.
  response.once("close", () => onEnd?.(response.writableFinished));
  if (response.closed) {
    onEnd?.(false);
    return;
  }
  try {
    if (!isComplete(body)) {
      response.writeHead(status, headers);
      for await (const piece of body) await writePiece(piece, response);
      response.end();
      return;
    }
    response.writeHead(status, Object.assign({}, headers, { "content-length": lengthOf(body) }));
    if (!body.some(isFile)) {
      response.end(body.map((piece) => (isFile(piece) ? "" : textOf(piece))).join(""));
      return;
    }
    for (const piece of body) await writePiece(piece, response);
    response.end();
  } catch (error) {
    // Neither a file that cannot be read nor a caller who has left may look like an end.
    response.destroy();
    if (!(error instanceof Gone)) throw error;
  }
}

async function writePiece(piece: Piece, response: ServerResponse): Promise<void> {
  if (!isFile(piece)) await write(textOf(piece), "utf8", response);
  else for await (const part of base64Of(piece)) await write(part, "latin1", response);
}

async function write(text: string, encoding: BufferEncoding, response: ServerResponse) {
  if (response.closed || response.destroyed) throw new Gone();
  if (response.write(text, encoding)) return;
  const leaving = new AbortController();
  const left = once(response, "close", { signal: leaving.signal }).catch(() => {});
  await Promise.race([once(response, "drain", { signal: leaving.signal }).catch(() => {}), left]);
  leaving.abort();
}

/** The caller has left while the reply was written. */
class Gone extends Error {}
