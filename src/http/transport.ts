import type { Dispatcher } from "undici";
import { type Clock, Ending, type EndSignal, sleep, within } from "../async/clock";
import { backoffMs, repeatAfter, waitMs } from "../async/retry";
import { Timer } from "../async/timer";
import { type DecodedImage, type ImageSink, MemorySink } from "../media/decoded-image";
import type { Answer, HttpRequest } from "./answer";
import type { Body } from "./body";
import {
  type RequestDispatcher,
  sendWithDispatcher,
  sendWithFetch,
  tellsOfSending,
} from "./caller-transport";
import { unpacked, unpackedAnswer } from "./content-encoding";
import {
  dispatch,
  type ExchangeEnds,
  NotSentError,
  type OpenAnswer,
  opened,
  type ReadAnswer,
} from "./dispatch";
import {
  DownloadFault,
  isNetworkFault,
  messageOf,
  neverConnected,
  ProxyError,
  TransportFault,
  tooLarge,
} from "./faults";
import { readJson } from "./json-body";
import { loadUndici, type Undici } from "./load-undici";
import { assertPublicHost, urlProblem } from "./network-guard";
import { poolFor, type Route } from "./pools";
import { type EnvironmentProxy, proxyFor } from "./proxy-environment";
import { userAgent } from "./user-agent";

/** How long a stream whose pictures have all come may take to end, so that its connection can be kept. */
const afterLastMs = 1_000;

/** How long an exchange may take, and who may end it. */
export interface ExchangeLimits {
  readonly timeoutMs: number;
  readonly signal?: EndSignal | undefined;
  /** Once it has aborted the exchange does not begin; one that is under way goes on. */
  readonly stop?: EndSignal | undefined;
  /** It asks after a job, and may wait for a connection. */
  readonly isPoll?: boolean | undefined;
  /** Called as the request begins to leave, or may have: before that, nothing of it has been sent. */
  readonly onSending?: (() => void) | undefined;
  /** Whether images in a large answer may stand in it decoded. */
  readonly decodesImages?: boolean | undefined;
  /** Where they go; into memory where this is left out. */
  readonly createSink?: (() => ImageSink) | undefined;
  /** How many images were asked for: one more is kept, and no others. */
  readonly n?: number | undefined;
  /** As the adapter's. */
  readonly isPartial?: ((type: string) => boolean) | undefined;
  /** As the adapter's. */
  readonly isCompleted?: ((type: string) => boolean) | undefined;
  /** Is shown what such an event of a stream holds. */
  readonly onPartial?: ((event: unknown) => Promise<void>) | undefined;
}

/** An answer, with the start of a body that is not JSON, and the images that came in one. */
export interface HttpAnswer extends Answer {
  readonly text?: string | undefined;
  readonly images: readonly DecodedImage[];
}

export interface TransportOptions {
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly dispatcher?: RequestDispatcher | undefined;
  readonly clock: Clock;
  /** A wait between two downloads that reaches past it is not begun. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly allowPrivateNetwork: boolean;
  /** That of the provider's own base URL, which may stand on a private address. */
  readonly trustedOrigin: string;
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

/** One call in, one answer out: over undici or `fetch`, with time-outs, limits and the network guard. */
export class Transport {
  readonly #options: TransportOptions;
  /** Where the last call went: the creates of a client all go to one place. */
  #last: Target | undefined;
  /** Once it is loaded. */
  #undici: Undici | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** Has at hand what sends: once something has been sent it may be too late to load it. */
  async prepare(): Promise<void> {
    const { fetch, dispatcher } = this.#options;
    if (fetch === undefined && dispatcher === undefined) this.#undici = await loadUndici();
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
    let hasLeft = false;
    let isReadToEnd = false;
    const over = new Ending();
    const images: DecodedImage[] = [];
    /** Those that were there when nobody waited any longer. */
    let handedOut: readonly DecodedImage[] | undefined;
    const read = async (answer: OpenAnswer): Promise<HttpAnswer> => {
      const { status, headers } = answer;
      head = { status, headers };
      const each: Body["each"] = async (take) => {
        await answer.body.each(take);
        isReadToEnd = true;
      };
      try {
        const read = await readJson(unpackedAnswer({ each }, headers["content-encoding"]), {
          maxBytes: maxAnswerBytes,
          contentLength: unpackedLength(headers),
          createSink: limits.createSink ?? inMemory(headers),
          decodesImages: limits.decodesImages ?? false,
          maxImageBytes: maxDownloadBytes,
          mostImages: (limits.n ?? Number.POSITIVE_INFINITY) + 1,
          isPartial: limits.isPartial,
          isCompleted: limits.isCompleted,
          asked: limits.n,
          afterLast: () => sleep(clock, afterLastMs, over).catch(() => {}),
          onPartial: limits.onPartial,
          images,
        });
        return {
          ...read,
          status,
          headers,
          images,
          // Few look at it, and a date takes a while to be read.
          get receivedAt() {
            return answeredAt(headers, clock);
          },
        };
      } finally {
        over.abort("it has been read");
        if (handedOut !== undefined) {
          for (const each of images) if (!handedOut.includes(each)) void each.sink.discard();
        }
      }
    };
    try {
      const route = limits.isPoll ? "poll" : "create";
      const onSending = () => {
        hasLeft = true;
        limits.onSending?.();
      };
      const ends = { signal: timer, stop: limits.stop, onSending };
      const answering = this.#send(request, this.#wayOf(request.url, route), ends, read);
      // What is the caller's own, or a disk, may be deaf to the signal: nobody waits for it.
      const isDeaf = (fetch ?? dispatcher ?? limits.createSink) !== undefined;
      const answer = await (isDeaf ? within(clock, answering, { signal: timer }) : answering);
      // What was packed has ended, or the last event has come; what follows may have no end.
      if (fetch !== undefined || !isReadToEnd) timer.abort(notReadFurther());
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
        const receivedAt = answeredAt(head.headers, clock);
        return { images: came, body: undefined, receivedAt, ...head };
      }
      if (timer.expired) {
        const { timeoutMs } = limits;
        const facts = { sent: hasLeft, timeoutMs, images: came };
        const what = hasLeft ? "No answer" : "No connection";
        throw new TransportFault(`${what} within ${timeoutMs} ms`, facts);
      }
      const sent = hasLeft && !(this.#isBlind && neverConnected(error));
      const transient = !(error instanceof ProxyError) || error.transient;
      throw new TransportFault(messageOf(error), { sent, transient, cause: error, images: came });
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
    const attempt = () => this.#downloadOnce(url, read, signal);
    return attempt().catch((first: unknown) =>
      repeatAfter(first, {
        attempt,
        again: (error, attempt) => {
          if (!(error instanceof DownloadFault) || !error.transient || attempt >= 5)
            return undefined;
          const delayMs = waitMs(error.retryAfterMs, backoffMs(attempt, 10_000));
          return clock.now() + delayMs < deadlineAt ? delayMs : undefined;
        },
        wait: (delayMs, error) => {
          onRetry?.(delayMs, error);
          return sleep(clock, delayMs, signal ?? new Ending());
        },
      }),
    );
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
      if (!timer.expired && !isNetworkFault(error)) {
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
      const way = await this.#wayTo(url);
      const headers = { accept: "image/*, */*;q=0.1", "user-agent": userAgent };
      const request = { method: "GET", url, headers } as const;
      // Its own end, so that a redirect whose body stalls lets go of its connection.
      const hop = new Ending();
      const onAbort = () => hop.abort(timer.reason);
      if (timer.aborted) onAbort();
      timer.addEventListener("abort", onAbort);
      const answer = await this.#send(request, way, { signal: hop }, opened);
      timer.restart();
      const { status, headers: told } = answer;
      const location = status >= 300 && status < 400 ? told.location : undefined;
      if (location === undefined) {
        if (status >= 200 && status < 300) return answer;
        await discard(answer.body, hop, this.#options.clock);
        throw new DownloadFault(`HTTP ${status}`, {
          status,
          transient: status === 408 || status === 425 || status === 429 || status >= 500,
          retryAfterMs: waitOf(told["retry-after"], answeredAt(told, this.#options.clock)),
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

  /** How a result's URL is to be reached, if it may be. */
  async #wayTo(text: string): Promise<Way> {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new DownloadFault("It is not an http(s) URL", { transient: false });
    }
    const { allowPrivateNetwork, trustedOrigin } = this.#options;
    if (allowPrivateNetwork || url.origin === trustedOrigin) {
      return this.#wayOf(url.href, "download");
    }
    const problem = urlProblem(url);
    if (problem !== undefined) throw new DownloadFault(problem, { transient: false });
    const way = this.#wayOf(url.href, "stranger");
    // Our own connections look at the address as they are made; others resolve names out of our sight.
    if (!this.#isOurs || way.proxy !== undefined) await assertPublicHost(url);
    return way;
  }

  /** Whether the environment has a proxy on the way is asked each time, and once. */
  #wayOf(url: string, route: Route): Way {
    const target = this.#targetOf(url);
    return { route, target, proxy: this.#isOurs ? proxyFor(target.url) : undefined };
  }

  /** What sends does not tell when a request begins: only errors do. */
  get #isBlind(): boolean {
    const { fetch, dispatcher } = this.#options;
    return fetch !== undefined || (dispatcher !== undefined && !tellsOfSending(dispatcher));
  }

  /** What sends is our own transport. */
  get #isOurs(): boolean {
    const { fetch, dispatcher } = this.#options;
    return fetch === undefined && dispatcher === undefined;
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
    { route, target, proxy }: Way,
    ends: ExchangeEnds,
    read: ReadAnswer<Value>,
  ): Promise<Value> {
    const { fetch, dispatcher } = this.#options;
    ends.signal.throwIfAborted();
    if (ends.stop?.aborted) throw new NotSentError();
    if (fetch !== undefined) return sendWithFetch(fetch, request, ends).then(read);
    const options = optionsOf(request, target);
    if (dispatcher !== undefined) return sendWithDispatcher(dispatcher, options, ends).then(read);
    const sendWith = (undici: Undici) => {
      const { dispatcher, reads } = poolFor(undici, route, proxy);
      return dispatch(dispatcher, options, ends, read, reads);
    };
    return this.#undici === undefined ? loadUndici().then(sendWith) : sendWith(this.#undici);
  }

  #targetOf(text: string): Target {
    if (this.#last?.text !== text) {
      const url = new URL(text);
      this.#last = { text, url, origin: url.origin, path: url.pathname + url.search };
    }
    return this.#last;
  }
}

/** A URL, taken apart once for all requests that go to it. */
interface Target {
  readonly text: string;
  readonly url: URL;
  readonly origin: string;
  readonly path: string;
}

/** How a request reaches its URL. */
interface Way {
  readonly route: Route;
  readonly target: Target;
  readonly proxy: EnvironmentProxy | undefined;
}

function optionsOf(
  { method, headers, body }: HttpRequest,
  { origin, path }: Target,
): Dispatcher.DispatchOptions {
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

/**
 * When an answer was made, by the clock of the server that made it: a date in its `Retry-After` is of
 * that clock too, and ours may be an hour off.
 */
function answeredAt({ date }: Readonly<Record<string, string>>, clock: Clock): number {
  const told = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(told) ? clock.wallTime() : told;
}

/** `Retry-After` in milliseconds, given in seconds or as a date. */
function waitOf(header: string | undefined, now: number): number | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const seconds = Number(header);
  const waitMs = Number.isNaN(seconds) ? Date.parse(header) - now : seconds * 1000;
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
}
