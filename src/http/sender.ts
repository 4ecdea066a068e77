import type { Dispatcher } from "undici";
import {
  type RequestDispatcher,
  sendWithDispatcher,
  sendWithFetch,
  tellsOfSending,
} from "./caller-transport";
import { dispatch, type ExchangeEnds, NotSentError, type ResponseReader } from "./dispatch";
import { loadUndici, type Undici } from "./load-undici";
import type { HttpRequest } from "./messages";
import { poolFor, type Route } from "./pools";
import { type EnvironmentProxy, proxyFor } from "./proxy-environment";

/** What sends, where it is not our own transport. */
export interface SenderOptions {
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly dispatcher?: RequestDispatcher | undefined;
}

/** A URL, taken apart once for all requests that go to it. */
interface Target {
  readonly text: string;
  readonly url: URL;
  readonly origin: string;
  readonly path: string;
}

/** How a request reaches its URL. */
export interface Way {
  readonly route: Route;
  readonly target: Target;
  readonly proxy: EnvironmentProxy | undefined;
}

/** Sends one request, over undici or by what the caller gave, and opens its response. */
export class Sender {
  readonly #options: SenderOptions;
  /** Where the last request went: the creates of a client all go to one place. */
  #last: Target | undefined;
  /** Once it is loaded. */
  #undici: Undici | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** What sends does not tell when a request begins: only errors do. */
  get isBlind(): boolean {
    const { fetch, dispatcher } = this.#options;
    return fetch !== undefined || (dispatcher !== undefined && !tellsOfSending(dispatcher));
  }

  /** What sends is our own transport. */
  get isOurs(): boolean {
    const { fetch, dispatcher } = this.#options;
    return fetch === undefined && dispatcher === undefined;
  }

  /** Loads what sends requests: after a first request it may be too late to load it. */
  async prepare(): Promise<void> {
    if (this.isOurs) this.#undici = await loadUndici();
  }

  /** Whether the environment has a proxy on the way is asked each time, and once. */
  wayOf(url: string, route: Route): Way {
    const target = this.#targetOf(url);
    return { route, target, proxy: this.isOurs ? proxyFor(target.url) : undefined };
  }

  /** Rejects with a {@link NotSentError} where `ends.stop` has aborted before. */
  send<Value>(
    request: HttpRequest,
    { route, target, proxy }: Way,
    ends: ExchangeEnds,
    read: ResponseReader<Value>,
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
