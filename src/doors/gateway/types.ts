import type { IncomingMessage, ServerResponse } from "node:http";
import type { ImageClient } from "../../index";
import type { GatewayCaller, GatewayRefusal, GatewayRequest } from "./authorize";
import type { GatewayStore } from "./store";

/** What `authorize` gives. */
export type Authorized = string | GatewayCaller | GatewayRefusal | undefined;

/** Options of {@link createImageGateway}. */
export interface ImageGatewayOptions {
  /** The clients, by the names that callers give in `model`. A request without a `model` takes the only one. */
  readonly models: Readonly<Record<string, ImageClient>>;
  /**
   * Says who calls: a name of that caller, which no other has, alone or with the tags of its orders; or a
   * refusal; `undefined` is a 401. Orders
   * of one caller are never given to another. If it throws, or gives anything else, the response is a 500,
   * `onError` hears of it, and nothing is ordered.
   */
  authorize(request: GatewayRequest): Authorized | Promise<Authorized>;
  /**
   * Where orders outlive the process, such as `directoryStore("./.orders")`. One gateway at a time may
   * use a store, unless it has a lease, as `createPostgresGatewayStore` of `gpt-image-client/postgres`
   * has: then one orders, and the others wait to take over. Default: memory.
   */
  readonly store?: GatewayStore;
  /**
   * Milliseconds for which the same `Idempotency-Key` is given the same end, and for which a job can be
   * fetched. Default 24 hours, at most 24.8 days.
   */
  readonly keyTtlMs?: number;
  /**
   * Milliseconds for which an order that nobody has received is given to the next equal request.
   * Default 10 minutes.
   */
  readonly orphanTtlMs?: number;
  /** How many orders of one caller may be under way or unreceived; more are a 429. Default 16. */
  readonly maxOrdersPerCaller?: number;
  /** The largest body that is read, in bytes. Default 64 MiB. */
  readonly maxBodyBytes?: number;
  /** The largest file in a form, in bytes. Default 50 MiB. */
  readonly maxFileBytes?: number;
  /** The most parts of a form. Default 64. */
  readonly maxParts?: number;
  /**
   * Keeps JSON answers alive that take longer than so many milliseconds, by white space before them.
   * The status is a 200 from then on, and what fails later is an `{ "error": … }` under it. Default:
   * nothing is sent before the end.
   */
  readonly whitespaceEveryMs?: number;
  /**
   * A directory for pictures of more than 256 KiB while they wait. Default: the store's own, or else a
   * temporary one.
   */
  readonly spoolDirectory?: string;
  /**
   * Hears what went wrong inside and is nobody's response: the store, the spool, or `authorize` that
   * threw. What it throws is ignored. Default: each error is written to stderr, once.
   */
  readonly onError?: (error: unknown) => void;
}

/** OpenAI's images API over any client. */
export interface ImageGateway {
  /** For a router of web standards: Hono, Bun, Deno, a route of Next.js. */
  fetch(request: Request): Promise<Response>;
  /** For `http.createServer`, and for Express without a body parser before it. */
  listener(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Takes no more orders (503, nothing charged), and waits for those that are under way, for `timeoutMs`
   * at most (default 30,000). Another gateway that shares its store takes over then. The clients are
   * yours to close.
   */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
  /** `close` with its default. */
  [Symbol.asyncDispose](): Promise<void>;
}
