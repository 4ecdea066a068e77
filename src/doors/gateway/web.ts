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

/** A request of web standards. */
export class WebIncoming implements Incoming {
  readonly method: string;
  readonly path: string;
  readonly request: GatewayRequest;
  readonly #request: Request;

  constructor(request: Request) {
    const { method, url, headers } = request;
    this.#request = request;
    this.method = method;
    this.path = new URL(url).pathname;
    // Not the request itself: whoever read its body would leave nothing.
    this.request = { method, url, headers };
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined;
  }

  async *body(): AsyncIterable<Uint8Array> {
    const { body } = this.#request;
    // Not by its own iterator, which Safari's and some frameworks' streams have not.
    const reader = body?.getReader();
    for (;;) {
      const { done = true, value } = (await reader?.read()) ?? {};
      if (value !== undefined) yield value;
      if (done) return;
    }
  }

  async text(maxBytes: number): Promise<string | undefined> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of this.body()) {
      length += piece.byteLength;
      if (length > maxBytes) return undefined;
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString("utf8");
  }

  onLeave(callback: () => void): void {
    const { signal } = this.#request;
    if (signal.aborted) callback();
    else signal.addEventListener("abort", callback, { once: true });
  }
}

/** A reply as a `Response`. It is received when all of its body was read. */
export function responseOf({ status, headers, body, onEnd }: Reply): Response {
  const length = isComplete(body) ? { "content-length": String(lengthOf(body)) } : {};
  const texts = textsOf(body);
  const encoder = new TextEncoder();
  let isOpen = true;
  const close = (isDelivered: boolean) => {
    if (isOpen) onEnd?.(isDelivered);
    isOpen = false;
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { value, done } = await texts.next();
          if (value !== undefined) controller.enqueue(encoder.encode(value));
          if (done !== true) return;
          controller.close();
          close(true);
        } catch (error) {
          close(false);
          throw error;
        }
      },
      async cancel() {
        close(false);
        await texts.return?.(undefined);
      },
    },
    // Nothing is read ahead: what nobody asked for has not been received.
    { highWaterMark: 0 },
  );
  return new Response(stream, { status, headers: { ...headers, ...length } });
}

async function* textsOf(
  body: readonly Piece[] | AsyncIterable<Piece>,
): AsyncGenerator<string, void, undefined> {
  for await (const piece of body) {
    if (isFile(piece)) yield* base64Of(piece);
    else yield textOf(piece);
  }
}
