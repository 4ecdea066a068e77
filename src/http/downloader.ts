import { type AbortSignalLike, type Clock, LightAbortSignal, sleep, within } from "../async/clock";
import { backoffMs, repeatAfter, waitMs } from "../async/retry";
import { Timer } from "../async/timer";
import type { Body } from "./body";
import { decompressed } from "./content-encoding";
import { type OpenResponse, opened } from "./dispatch";
import { DownloadFault, isNetworkFault, messageOf, tooLarge } from "./faults";
import { answeredAt, notReadFurther } from "./messages";
import { assertPublicHost, urlProblem } from "./network-guard";
import type { Sender, Way } from "./sender";
import { userAgent } from "./user-agent";

export interface DownloaderOptions {
  readonly clock: Clock;
  /** A wait between two downloads that reaches past it is not begun. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly allowPrivateNetwork: boolean;
  /** That of the provider's own base URL, which may stand on a private address. */
  readonly trustedOrigin: string;
  readonly maxDownloadBytes: number;
}

/** Where a download goes; it is abandoned once `end` aborts. */
export type Read<Value> = (body: Body, end: AbortSignalLike) => Promise<Value>;

/** Who may end a download, and who hears of its repetitions. */
export interface DownloadOptions {
  readonly signal?: AbortSignalLike | undefined;
  readonly onRetry?: ((delayMs: number, error: unknown) => void) | undefined;
}

/** Fetches images from the URLs of strangers, behind the network guard. */
export class Downloader {
  readonly #sender: Sender;
  readonly #options: DownloaderOptions;

  constructor(sender: Sender, options: DownloaderOptions) {
    this.#sender = sender;
    this.#options = options;
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
          return sleep(clock, delayMs, signal ?? new LightAbortSignal());
        },
      }),
    );
  }

  async #downloadOnce<Value>(
    url: string,
    read: Read<Value>,
    signal: AbortSignalLike | undefined,
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
      // What was compressed has ended; what follows may have no end.
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

  async #follow(first: string, timer: Timer): Promise<OpenResponse> {
    let url = first;
    for (let hops = 0; hops <= 5; hops += 1) {
      const way = await this.#wayTo(url);
      const headers = { accept: "image/*, */*;q=0.1", "user-agent": userAgent };
      const request = { method: "GET", url, headers } as const;
      // Its own end, so that a redirect whose body stalls lets go of its connection.
      const hop = new LightAbortSignal();
      const onAbort = () => hop.abort(timer.reason);
      if (timer.aborted) onAbort();
      timer.addEventListener("abort", onAbort);
      const response = await this.#sender.send(request, way, { signal: hop }, opened);
      timer.restart();
      const { status, headers: told } = response;
      const location = status >= 300 && status < 400 ? told.location : undefined;
      if (location === undefined) {
        if (status >= 200 && status < 300) return response;
        await discard(response.body, hop, this.#options.clock);
        throw new DownloadFault(`HTTP ${status}`, {
          status,
          transient: status === 408 || status === 425 || status === 429 || status >= 500,
          retryAfterMs: waitOf(told["retry-after"], answeredAt(told, this.#options.clock)),
        });
      }
      await discard(response.body, hop, this.#options.clock);
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
      return this.#sender.wayOf(url.href, "download");
    }
    const problem = urlProblem(url);
    if (problem !== undefined) throw new DownloadFault(problem, { transient: false });
    const way = this.#sender.wayOf(url.href, "stranger");
    // Our own connections look at the address as they are made; others resolve names out of our sight.
    if (!this.#sender.isOurs || way.proxy !== undefined) await assertPublicHost(url);
    return way;
  }

  #guardedBody({ headers, body }: OpenResponse, timer: Timer): Body {
    const limit = this.#options.maxDownloadBytes;
    const encoding = headers["content-encoding"];
    const expected = Number(headers["content-length"] ?? Number.NaN);
    return {
      each: async (take) => {
        let length = 0;
        if (expected > limit) throw tooLarge(limit);
        await decompressed(body, encoding).each((chunk, isBorrowed) => {
          timer.restart();
          length += chunk.byteLength;
          if (length > limit) throw tooLarge(limit);
          return take(chunk, isBorrowed);
        });
        if (encoding === undefined && length < expected) {
          throw new DownloadFault(`It broke off after ${length} of ${expected} bytes`, {
            transient: true,
          });
        }
      },
    };
  }
}

/** Reads the rest of a small body so that its connection can serve again; that of a large or slow one is ended. */
async function discard(body: Body, end: LightAbortSignal, clock: Clock): Promise<void> {
  let length = 0;
  const rest = body.each((chunk) => {
    length += chunk.byteLength;
    if (length > 16_384) throw notReadFurther();
    return undefined;
  });
  // Errors of a discarded body do not matter.
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
