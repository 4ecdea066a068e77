import pRetry from "p-retry";
import type { Dispatcher } from "undici";
import { type Body, bodyOf } from "./body";
import { abortSignalOf, type Clock, Ending, type EndSignal, sleep, within } from "./clock";
import { unpacked } from "./content-encoding";
import { type DecodedImage, type ImageSink, MemorySink } from "./decoded-image";
import {
  dispatch,
  type ExchangeEnds,
  flatHeaders,
  NotSentError,
  type OpenAnswer,
  opened,
  type ReadAnswer,
} from "./dispatch";
import { readJson } from "./json-body";
import { LentReads } from "./lent-reads";
import {
  assertPublicHost,
  BlockedAddressError,
  createGuardedLookup,
  urlProblem,
} from "./network-guard";
import { onceLoaded } from "./once";
import type { Answer } from "./provider";

/** One HTTP request, ready to go. */
export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** How long an exchange may take, and who may end it. */
export interface ExchangeLimits {
  readonly timeoutMs: number;
  readonly signal?: EndSignal | undefined;
  /** Once it has aborted the exchange does not begin; one that is under way goes on. */
  readonly stop?: EndSignal | undefined;
  /** It asks after a job, and may wait for a connection. */
  readonly isPoll?: boolean | undefined;
  /** Whether images in a large answer may stand in it decoded. */
  readonly decodesImages?: boolean | undefined;
  /** Where they go; into memory where this is left out. */
  readonly createSink?: (() => ImageSink) | undefined;
  /** How many images were asked for: one more is kept, and no others. */
  readonly n?: number | undefined;
  /** As the adapter's. */
  readonly isPartial?: ((type: string) => boolean) | undefined;
}

/** An answer, with the start of a body that is not JSON, and the images that came in one. */
export interface HttpAnswer extends Answer {
  readonly text?: string | undefined;
  readonly images: readonly DecodedImage[];
}

/** The exchange gave no answer. */
export class TransportFault extends Error {
  override readonly name = "TransportFault";
  /** False only where it is certain that no connection was made, so that nothing can have been sent. */
  readonly sent: boolean;
  /** The time that ran out, if that is what happened. */
  declare readonly timeoutMs?: number;
  /** Those that came whole before the answer broke off. */
  readonly images: readonly DecodedImage[];

  constructor(
    message: string,
    facts: {
      sent: boolean;
      timeoutMs?: number;
      cause?: unknown;
      images?: readonly DecodedImage[];
    },
  ) {
    super(message, { cause: facts.cause });
    this.sent = facts.sent;
    this.images = facts.images ?? [];
    if (facts.timeoutMs !== undefined) this.timeoutMs = facts.timeoutMs;
  }
}

/** A download that did not end in an image. */
export class DownloadFault extends Error {
  override readonly name = "DownloadFault";
  declare readonly status?: number;
  /** Asking for the same URL again may go better. */
  readonly transient: boolean;
  declare readonly retryAfterMs?: number | undefined;

  constructor(
    message: string,
    facts: {
      transient: boolean;
      status?: number;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    },
  ) {
    super(message, { cause: facts.cause });
    this.transient = facts.transient;
    if (facts.status !== undefined) this.status = facts.status;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
  }

  /** The URL was good once and is no longer. */
  get expired(): boolean {
    return this.status === 403 || this.status === 404 || this.status === 410;
  }
}

export interface TransportOptions {
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly dispatcher?: Dispatcher | undefined;
  readonly clock: Clock;
  /** A wait between two downloads that reaches past it is not begun. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly allowPrivateNetwork: boolean;
  /** The host of the provider's own base URL, which may stand on a private address. */
  readonly trustedHostname: string;
  readonly maxAnswerBytes: number;
  readonly maxDownloadBytes: number;
}

/** What becomes of a download; once `end` has aborted nobody waits for it. */
export type Read<Value> = (body: Body, end: EndSignal) => Promise<Value>;

/** Who may end a download, and who hears of its repetitions. */
export interface DownloadOptions {
  readonly signal?: EndSignal | undefined;
  readonly onRetry?: ((delayMs: number, error: unknown) => void) | undefined;
}

type Route = "provider" | "poll" | "stranger";

/** One call in, one answer out: over undici or `fetch`, with time-outs, limits and the network guard. */
export class Transport {
  readonly #options: TransportOptions;
  /** Where the last call went: the creates of a client all go to one place. */
  #last = { url: "", origin: "", path: "" };

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** Has at hand what sends: once something has been sent it may be too late to load it. */
  async prepare(): Promise<void> {
    const { fetch, dispatcher } = this.#options;
    if (fetch === undefined && dispatcher === undefined) {
      await Promise.all([pools.provider(), pools.poll()]);
    }
  }

  /**
   * Sends once and reads the answer. Redirects are not followed: they would carry the key away.
   *
   * @throws {@link TransportFault} if there is no answer; the signal's reason if it aborts.
   */
  async exchange(request: HttpRequest, limits: ExchangeLimits): Promise<HttpAnswer> {
    const { clock, maxAnswerBytes, maxDownloadBytes, fetch, dispatcher } = this.#options;
    const timer = new Timer(clock, limits.timeoutMs, limits.signal);
    let head: Pick<OpenAnswer, "status" | "headers"> | undefined;
    const images: DecodedImage[] = [];
    /** Those that were there when nobody waited any longer. */
    let handedOut: readonly DecodedImage[] | undefined;
    const read = async (answer: OpenAnswer): Promise<HttpAnswer> => {
      const { status, headers } = answer;
      head = { status, headers };
      try {
        const read = await readJson(unpacked(answer.body, headers["content-encoding"]), {
          maxBytes: maxAnswerBytes,
          contentLength: unpackedLength(headers),
          createSink: limits.createSink ?? inMemory(headers),
          decodesImages: limits.decodesImages ?? false,
          maxImageBytes: maxDownloadBytes,
          mostImages: (limits.n ?? Number.POSITIVE_INFINITY) + 1,
          isPartial: limits.isPartial,
          images,
        });
        return { status, headers, ...read, images, receivedAt: clock.now() };
      } finally {
        if (handedOut !== undefined) {
          for (const each of images) if (!handedOut.includes(each)) void each.sink.discard();
        }
      }
    };
    try {
      const route = limits.isPoll ? "poll" : "provider";
      const ends = { signal: timer, stop: limits.stop };
      const answering = this.#send(request, route, ends, read);
      // What is the caller's own, or a disk, may be deaf to the signal: nobody waits for it.
      const isDeaf = (fetch ?? dispatcher ?? limits.createSink) !== undefined;
      const answer = await (isDeaf ? within(clock, answering, { signal: timer }) : answering);
      // What was packed has ended; what follows it may have no end.
      if (fetch !== undefined || "content-encoding" in answer.headers)
        timer.abort(notReadFurther());
      return answer;
    } catch (error) {
      // A body that was not read to its end would keep its connection.
      timer.abort(notReadFurther());
      const came = [...images];
      handedOut = came;
      // Images that came whole were paid for, whoever has left meanwhile.
      if (came.length === 0) limits.signal?.throwIfAborted();
      // The status alone says no; that its explanation broke off changes nothing.
      if (head !== undefined && head.status >= 400) {
        return { images: came, body: undefined, receivedAt: clock.now(), ...head };
      }
      if (timer.expired) {
        const { timeoutMs } = limits;
        const facts = { sent: true, timeoutMs, images: came };
        throw new TransportFault(`No answer within ${timeoutMs} ms`, facts);
      }
      const facts = { sent: !neverConnected(error), cause: error, images: came };
      throw new TransportFault(messageOf(error), facts);
    } finally {
      timer.stop();
    }
  }

  /**
   * Fetches what a stranger's URL leads to, at most five redirects away, and hands it to `read`,
   * anew at each attempt. Repeated by itself after network errors, 408, 425, 429 and 5xx.
   *
   * @throws {@link DownloadFault}; the signal's reason if it aborts.
   */
  async download<Value>(
    url: string,
    read: Read<Value>,
    { signal, onRetry }: DownloadOptions = {},
  ): Promise<Value> {
    const { clock, timeoutMs } = this.#options;
    const deadlineAt = clock.now() + timeoutMs;
    return repeat({
      attempt: () => this.#downloadOnce(url, read, signal),
      again: (error, attempt) => {
        if (!(error instanceof DownloadFault) || !error.transient || attempt >= 5) return undefined;
        const delayMs = waitMs(error.retryAfterMs, backoffMs(attempt, 10_000));
        return clock.now() + delayMs < deadlineAt ? delayMs : undefined;
      },
      wait: (delayMs, error) => {
        onRetry?.(delayMs, error);
        return sleep(clock, delayMs, signal ?? new Ending());
      },
    });
  }

  async #downloadOnce<Value>(
    url: string,
    read: Read<Value>,
    signal: EndSignal | undefined,
  ): Promise<Value> {
    const timer = new Timer(this.#options.clock, this.#options.attemptTimeoutMs, signal);
    const reading = async () =>
      read(this.#guardedBody(await this.#follow(url, timer), timer), timer);
    try {
      const { clock, timeoutMs } = this.#options;
      // Silence is one limit; a drip that never falls silent has this one.
      const onDeadline = () =>
        new DownloadFault(`It did not end within ${timeoutMs} ms`, { transient: false });
      const deadlineAt = clock.now() + timeoutMs;
      const value = await within(clock, reading(), { signal: timer, deadlineAt, onDeadline });
      // As above, of a download that was packed.
      timer.abort(notReadFurther());
      return value;
    } catch (error) {
      // A body that was not read to its end would keep its connection.
      timer.abort(notReadFurther());
      signal?.throwIfAborted();
      if (error instanceof DownloadFault) throw error;
      if (error instanceof BlockedAddressError || !isNetworkFault(error, timer)) {
        throw new DownloadFault(messageOf(error), { transient: false, cause: error });
      }
      const message = timer.expired
        ? `Nothing came for ${this.#options.attemptTimeoutMs} ms`
        : messageOf(error);
      throw new DownloadFault(message, { transient: true, cause: error });
    } finally {
      timer.stop();
    }
  }

  async #follow(first: string, timer: Timer): Promise<OpenAnswer> {
    let url = first;
    for (let hops = 0; hops <= 5; hops += 1) {
      const route = await this.#routeTo(url);
      const request = { method: "GET", url, headers: { accept: "image/*, */*;q=0.1" } } as const;
      // Its own end, so that a redirect whose body stalls lets go of its connection.
      const hop = new Ending();
      const onAbort = () => hop.abort(timer.reason);
      if (timer.aborted) onAbort();
      timer.addEventListener("abort", onAbort);
      const answer = await this.#send(request, route, { signal: hop }, opened);
      timer.restart();
      const { status, headers } = answer;
      const location = status >= 300 && status < 400 ? headers.location : undefined;
      if (location === undefined) {
        if (status >= 200 && status < 300) return answer;
        await discard(answer.body, hop, this.#options.clock);
        throw new DownloadFault(`HTTP ${status}`, {
          status,
          transient: status === 408 || status === 425 || status === 429 || status >= 500,
          retryAfterMs: waitOf(headers["retry-after"], this.#options.clock.now()),
        });
      }
      await discard(answer.body, hop, this.#options.clock);
      if (!URL.canParse(location, url)) break;
      url = new URL(location, url).href;
    }
    throw new DownloadFault("It leads through more than five redirects, or to no URL", {
      transient: false,
    });
  }

  /** Whether the guard watches the way to a URL. */
  async #routeTo(text: string): Promise<Route> {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new DownloadFault("It is not an http(s) URL", { transient: false });
    }
    const { allowPrivateNetwork, trustedHostname } = this.#options;
    if (allowPrivateNetwork || url.hostname === trustedHostname) return "provider";
    const problem = urlProblem(url);
    if (problem !== undefined) throw new DownloadFault(problem, { transient: false });
    // Our own pool looks at the address as it connects; others resolve names out of our sight.
    if (this.#resolvesElsewhere()) await assertPublicHost(url);
    return "stranger";
  }

  #resolvesElsewhere(): boolean {
    const { fetch, dispatcher } = this.#options;
    return fetch !== undefined || dispatcher !== undefined || hasProxy();
  }

  #guardedBody({ headers, body }: OpenAnswer, timer: Timer): Body {
    const limit = this.#options.maxDownloadBytes;
    const encoding = headers["content-encoding"];
    const expected = Number(headers["content-length"] ?? Number.NaN);
    return {
      each: async (take) => {
        let length = 0;
        if (expected > limit) throw tooLarge(limit);
        await unpacked(body, encoding).each((chunk, isLent) => {
          timer.restart();
          length += chunk.byteLength;
          if (length > limit) throw tooLarge(limit);
          return take(chunk, isLent);
        });
        if (encoding === undefined && length < expected) {
          throw new DownloadFault(`It broke off after ${length} of ${expected} bytes`, {
            transient: true,
          });
        }
      },
    };
  }

  #send<Value>(
    request: HttpRequest,
    route: Route,
    ends: ExchangeEnds,
    read: ReadAnswer<Value>,
  ): Promise<Value> {
    const { fetch, dispatcher } = this.#options;
    if (ends.stop?.aborted) throw new NotSentError();
    if (fetch !== undefined) {
      return sendWithFetch(fetch, request, abortSignalOf(ends.signal)).then(read);
    }
    const target = this.#targetOf(request);
    if (dispatcher !== undefined) {
      return sendWith(dispatcher, target, abortSignalOf(ends.signal)).then(read);
    }
    return pools[route]().then(({ pool, reads }) => dispatch(pool, target, ends, read, reads));
  }

  #targetOf({ method, url, headers, body }: HttpRequest): Dispatcher.DispatchOptions {
    if (this.#last.url !== url) {
      const { origin, pathname, search } = new URL(url);
      this.#last = { url, origin, path: pathname + search };
    }
    const { origin, path } = this.#last;
    return {
      origin,
      path,
      method,
      headers,
      body: body ?? null,
      // An image takes minutes: our own timers decide, not undici's 300 s.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
  }
}

async function sendWith(
  dispatcher: Dispatcher,
  target: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<OpenAnswer> {
  const { statusCode: status, headers, body } = await dispatcher.request({ ...target, signal });
  return { status, headers: flatHeaders(headers), body: bodyOf(body) };
}

async function sendWithFetch(
  fetch: typeof globalThis.fetch,
  { method, url, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<OpenAnswer> {
  const options: RequestInit = { method, headers, signal, redirect: "manual" };
  const response = await fetch(url, body === undefined ? options : { body, ...options });
  // fetch has decoded the body, unless there is a coding that it does not know; the length no longer holds.
  const { "content-encoding": encoding, ...rest } = Object.fromEntries(response.headers);
  if (encoding !== undefined) delete rest["content-length"];
  const received = unpacked(bodyOf(response.body ?? empty()), encoding, true);
  return { status: response.status, headers: rest, body: received };
}

async function* empty(): AsyncIterable<Uint8Array> {}

// ---- the shared pool ----

const connectFailures = new WeakSet<object>();

interface Pool {
  readonly pool: Dispatcher;
  readonly reads?: LentReads;
}

/** One pool for all clients of a process, made at the first send: a client a tenant costs nothing. */
const pools: Readonly<Record<Route, () => Promise<Pool>>> = {
  provider: onceLoaded(() => createPool("provider")),
  poll: onceLoaded(() => createPool("poll")),
  stranger: onceLoaded(() => createPool("stranger")),
};

/**
 * How many polls are at one origin at once; the rest wait for their turn, however many jobs there
 * are. A create never waits: its time-out runs, and while it queued nobody could say whether it left.
 */
const mostPolls = 128;

async function createPool(route: Route): Promise<Pool> {
  const { Agent, buildConnector, EnvHttpProxyAgent } = await import("undici");
  const connections = route === "poll" ? mostPolls : null;
  if (hasProxy()) return { pool: new EnvHttpProxyAgent({ connections }) };
  const lookup = route === "stranger" ? { lookup: createGuardedLookup() } : {};
  const reads = new LentReads();
  // Its own port is not used: that of each origin is.
  const connector = buildConnector({ port: 0, onread: reads.onread, ...lookup });
  const pool = new Agent({
    connections,
    // One answer after the other on each socket: so a piece with the end of one holds no other's head.
    pipelining: 1,
    connect(options, callback) {
      connector(options, (...[error, socket]: Parameters<typeof callback>) => {
        if (error === null) callback(null, socket);
        else {
          connectFailures.add(error);
          callback(error, null);
        }
      });
    },
  });
  return { pool, reads };
}

function hasProxy(): boolean {
  const { env } = process;
  return Boolean(env.https_proxy || env.HTTPS_PROXY || env.http_proxy || env.HTTP_PROXY);
}

// ---- what went wrong ----

/** Codes of errors that come before anything can have been sent. */
const connectCodes =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|UND_ERR_INVALID_ARG|CERT_.*|ERR_TLS_CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*)$/;

function neverConnected(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  if (connectFailures.has(error)) return true;
  if (error instanceof BlockedAddressError || error instanceof NotSentError) return true;
  // An open connection can die of the same codes.
  if ("syscall" in error && (error.syscall === "read" || error.syscall === "write")) return false;
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every(neverConnected);
  }
  if ("code" in error && connectCodes.test(String(error.code))) return true;
  return "cause" in error && neverConnected(error.cause);
}

/** Network errors have codes, or come wrapped as a `TypeError` by fetch; anything else is a reader's own. */
function isNetworkFault(error: unknown, timer: Timer): boolean {
  if (timer.expired) return true;
  if (blockedBy(error) !== undefined) return false;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return (
    /^(UND_ERR|ECONN|EPIPE|Z_BUF_ERROR|ENOTFOUND|EAI_|ETIMEDOUT|EHOST|ENET)/.test(code) ||
    error instanceof TypeError
  );
}

function blockedBy(error: unknown): BlockedAddressError | undefined {
  if (error instanceof BlockedAddressError) return error;
  return error instanceof Error && error.cause !== undefined ? blockedBy(error.cause) : undefined;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // fetch says "fetch failed" and keeps what happened in the cause.
  const inner = error.cause instanceof Error ? error.cause : error;
  const code = "code" in inner && typeof inner.code === "string" ? inner.code : undefined;
  // What undici 7 says of a status 100 (`onHeadersComplete` of lib/dispatcher/client-h1.js).
  if (code === "UND_ERR_SOCKET" && inner.message === "bad response") {
    return "The server sent a 100 Continue that nobody had asked for, which ended the connection";
  }
  return inner.message || code || inner.name;
}

function tooLarge(limit: number): DownloadFault {
  return new DownloadFault(`It is larger than ${limit} bytes (\`maxDownloadBytes\`)`, {
    transient: false,
  });
}

// ---- bodies ----

const notReadFurther = () => new Error("It is not read any further");

/** How long a body is, where that is said of what is read: `NaN` otherwise. */
function unpackedLength(headers: Readonly<Record<string, string>>): number {
  return headers["content-encoding"] === undefined ? Number(headers["content-length"]) : Number.NaN;
}

/** How many bytes of images fit into an answer of that length. */
function base64Bytes(headers: Readonly<Record<string, string>>): number {
  const length = unpackedLength(headers);
  return length > 0 ? Math.min(Math.ceil(length / 4) * 3, mostExpected) : 0;
}

/** The first image may be all of the answer. */
function inMemory(headers: Readonly<Record<string, string>>): () => ImageSink {
  let expectedBytes = base64Bytes(headers);
  return () => {
    const sink = new MemorySink(expectedBytes);
    expectedBytes = 0;
    return sink;
  };
}

/** No answer is taken at its word for more: it may never come. */
const mostExpected = 48 * 1024 * 1024;

/** Reads the rest of a small body so that its connection can serve again; that of a large or slow one is ended. */
async function discard(body: Body, end: Ending, clock: Clock): Promise<void> {
  let length = 0;
  const rest = body.each((chunk) => {
    length += chunk.byteLength;
    if (length > 16_384) throw notReadFurther();
    return undefined;
  });
  // Whatever happens to a body that nobody wants is no concern of ours.
  await within(clock, rest, { deadlineAt: clock.now() + 1_000 }).catch(() => {});
  end.abort(notReadFurther());
}

/** `Retry-After` in milliseconds, given in seconds or as a date. */
function waitOf(header: string | undefined, now: number): number | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const seconds = Number(header);
  const waitMs = Number.isNaN(seconds) ? Date.parse(header) - now : seconds * 1000;
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
}

/** A time-out that can be pushed on, and a caller's signal, in one. */
class Timer extends Ending {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #outer: EndSignal | undefined;
  #cancel: () => void = () => {};
  expired = false;

  constructor(clock: Clock, timeoutMs: number, outer: EndSignal | undefined) {
    super();
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#outer = outer;
    if (outer?.aborted) this.abort(outer.reason);
    else outer?.addEventListener("abort", this.#onAbort, { once: true });
    this.restart();
  }

  readonly #onAbort = () => this.abort(this.#outer?.reason);

  restart(): void {
    this.#cancel();
    this.#cancel = this.#clock.after(this.#timeoutMs, () => {
      this.expired = true;
      this.abort(new Error("The time is up"));
    });
  }

  stop(): void {
    this.#cancel();
    this.#outer?.removeEventListener("abort", this.#onAbort);
  }
}

// ---- repeating ----

/** An exchange that may be repeated, and who decides. */
export interface Repetition<Value> {
  attempt(number: number): Promise<Value>;
  /** The wait before the next attempt, in milliseconds, or `undefined` for no more. */
  again(error: unknown, attempt: number): number | undefined;
  wait(delayMs: number, error: unknown, attempt: number): Promise<void>;
}

/**
 * p-retry, with the decision and the clock in our hands: nothing is repeated that `again` does not
 * name. It is called in after the first attempt has failed, as few do.
 */
export async function repeat<Value>({ attempt, again, wait }: Repetition<Value>): Promise<Value> {
  const goesOn = async (reason: unknown, number: number) => {
    const delayMs = again(reason, number);
    if (delayMs !== undefined) await wait(delayMs, reason, number);
    return delayMs !== undefined;
  };
  try {
    return await attempt(1);
  } catch (error) {
    if (!(await goesOn(error, 1))) throw error;
  }
  try {
    return await pRetry(
      async (number) => {
        try {
          return await attempt(number + 1);
        } catch (error) {
          // p-retry takes TypeErrors for bugs and rethrows them before anyone is asked.
          throw new Attempt(error);
        }
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 0,
        shouldRetry: ({ error, attemptNumber }) =>
          goesOn(error instanceof Attempt ? error.reason : error, attemptNumber + 1),
      },
    );
  } catch (error) {
    throw error instanceof Attempt ? error.reason : error;
  }
}

class Attempt extends Error {
  readonly reason: unknown;

  constructor(reason: unknown) {
    super("attempt failed");
    this.reason = reason;
  }
}

/** What a provider asks for, unless it asks for less than a second: that would be a storm. */
export function waitMs(retryAfterMs: number | undefined, backoff: number): number {
  return retryAfterMs === undefined || retryAfterMs < 1_000 ? backoff : retryAfterMs;
}

/** 1 s, 2 s, 4 s …, up to a ceiling, each less a random part of up to a quarter. */
export function backoffMs(attempt: number, ceilingMs: number): number {
  const full = Math.min(ceilingMs, 1_000 * 2 ** (attempt - 1));
  return full * (1 - Math.random() / 4);
}
