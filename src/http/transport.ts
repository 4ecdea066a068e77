import { type AbortSignalLike, type Clock, LightAbortSignal, sleep, within } from "../async/clock";
import { Timer } from "../async/timer";
import { type DecodedImage, type ImageSink, MemorySink } from "../media/decoded-image";
import type { Body } from "./body";
import { decompressedResponse } from "./content-encoding";
import type { ExchangeEnds, OpenResponse } from "./dispatch";
import { Downloader, type DownloaderOptions, type DownloadOptions, type Read } from "./downloader";
import { messageOf, neverConnected, ProxyError, TransportFault } from "./faults";
import { readJson } from "./json-body";
import { answeredAt, type HttpRequest, notReadFurther, type ProviderResponse } from "./messages";
import { Sender, type SenderOptions } from "./sender";

/** How long a stream whose pictures have all come may take to end, so that its connection can be kept. */
const afterLastMs = 1_000;

/** How long a disk may take to give back a partial image, once the time-out has come. */
const readBackMs = 250;

/** How long an exchange may take, and who may end it. */
export interface ExchangeLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignalLike | undefined;
  /** Once it has aborted the exchange does not begin; one that is under way goes on. */
  readonly stop?: AbortSignalLike | undefined;
  /** It asks after a job, and may wait for a connection. */
  readonly isPoll?: boolean | undefined;
  /** Called as the request begins to leave, or may have: before that, nothing of it has been sent. */
  readonly onSending?: (() => void) | undefined;
  /** Whether images in a large response may stand in it decoded. */
  readonly decodesImages?: boolean | undefined;
  /** Where they go; into memory where this is left out. */
  readonly createSink?: (() => ImageSink) | undefined;
  /** How many images were asked for: one more is kept, and no others. */
  readonly n?: number | undefined;
  /** As the adapter's. */
  readonly isPartial?: ((type: string) => boolean) | undefined;
  readonly partialField?: string | undefined;
  /** As the adapter's. */
  readonly isCompleted?: ((type: string) => boolean) | undefined;
  /** Is shown what such an event of a stream holds. */
  readonly onPartial?: ((event: unknown) => Promise<void>) | undefined;
}

/** A response, with the start of a body that is not JSON, and the images that came in one. */
export interface ReceivedResponse extends ProviderResponse {
  readonly text?: string | undefined;
  readonly images: readonly DecodedImage[];
}

export interface TransportOptions extends SenderOptions, DownloaderOptions {
  readonly maxAnswerBytes: number;
}

/** How far an exchange has come. */
interface Progress {
  /** It has begun to leave, or may have. */
  hasLeft: boolean;
  head: Pick<OpenResponse, "status" | "headers"> | undefined;
  isReadToEnd: boolean;
  /** Those that came whole. */
  readonly images: DecodedImage[];
  /** Those available when the wait ended. */
  handedOut: readonly DecodedImage[] | undefined;
}

/** One call in, one response out: over undici or `fetch`, with time-outs, limits and the network guard. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #sender: Sender;
  readonly #downloader: Downloader;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#sender = new Sender(options);
    this.#downloader = new Downloader(this.#sender, options);
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** Loads what sends requests: after a first request it may be too late to load it. */
  prepare(): Promise<void> {
    return this.#sender.prepare();
  }

  /**
   * Sends once and reads the response. Redirects are not followed: they would carry the key away.
   *
   * @throws {@link TransportFault} if there is no response; the signal's reason if it aborts.
   */
  async exchange(request: HttpRequest, limits: ExchangeLimits): Promise<ReceivedResponse> {
    const { clock, fetch, dispatcher } = this.#options;
    const timer = new Timer(clock, limits.timeoutMs, limits.signal);
    const progress: Progress = {
      hasLeft: false,
      head: undefined,
      isReadToEnd: false,
      images: [],
      handedOut: undefined,
    };
    const onSending = () => {
      progress.hasLeft = true;
      limits.onSending?.();
    };
    const ends: ExchangeEnds = { signal: timer, stop: limits.stop, onSending };
    let answering: Promise<ReceivedResponse> | undefined;
    try {
      const way = this.#sender.wayOf(request.url, limits.isPoll ? "poll" : "create");
      const read = (response: OpenResponse) => this.#read(response, limits, progress);
      answering = this.#sender.send(request, way, ends, read);
      // A custom fetch or dispatcher, or the disk, may ignore the signal: stop waiting anyway.
      const isDeaf = (fetch ?? dispatcher ?? limits.createSink) !== undefined;
      const response = await (isDeaf ? within(clock, answering, { signal: timer }) : answering);
      // What was compressed has ended, or the last event has come; what follows may have no end.
      if (fetch !== undefined || !progress.isReadToEnd) timer.abort(notReadFurther());
      return response;
    } catch (error) {
      const hasExpired = timer.expired;
      // A body that was not read to its end would keep its connection.
      timer.abort(notReadFurther());
      if (answering !== undefined && hasExpired && progress.head && isReadBack(limits)) {
        const deadlineAt = clock.now() + readBackMs;
        const reading = within(clock, answering, { deadlineAt, signal: limits.signal });
        const late = await reading.catch(() => {});
        if (late !== undefined) return late;
      }
      return this.#brokenOff(error, hasExpired, limits, progress);
    } finally {
      timer.stop();
    }
  }

  async #read(
    response: OpenResponse,
    limits: ExchangeLimits,
    progress: Progress,
  ): Promise<ReceivedResponse> {
    const { clock, maxAnswerBytes, maxDownloadBytes } = this.#options;
    const { status, headers } = response;
    const { images } = progress;
    progress.head = { status, headers };
    let over: LightAbortSignal | undefined;
    const each: Body["each"] = async (take) => {
      await response.body.each(take);
      progress.isReadToEnd = true;
    };
    try {
      const { body, text, events, partials } = await readJson(
        decompressedResponse({ each }, headers["content-encoding"]),
        {
          maxBytes: maxAnswerBytes,
          contentLength: decompressedLength(headers),
          createSink: limits.createSink ?? inMemory(headers),
          decodesImages: limits.decodesImages ?? false,
          maxImageBytes: maxDownloadBytes,
          mostImages: (limits.n ?? Number.POSITIVE_INFINITY) + 1,
          isPartial: limits.isPartial,
          partialField: limits.partialField,
          isCompleted: limits.isCompleted,
          asked: limits.n,
          afterLast: () => {
            over ??= new LightAbortSignal();
            return sleep(clock, afterLastMs, over).catch(() => {});
          },
          onPartial: limits.onPartial,
          images,
        },
      );
      // Nothing is spread, which would give every response a hidden class of its own.
      const receivedAt = answeredAt(headers, clock);
      return { status, headers, body, text, events, partials, images, receivedAt };
    } finally {
      over?.abort("it has been read");
      const { handedOut } = progress;
      if (handedOut !== undefined) {
        for (const each of images) if (!handedOut.includes(each)) void each.sink.discard();
      }
    }
  }

  /** What an exchange that broke off has given all the same; throws where that is nothing. */
  #brokenOff(
    error: unknown,
    hasExpired: boolean,
    limits: ExchangeLimits,
    progress: Progress,
  ): ReceivedResponse {
    const { head, hasLeft } = progress;
    const images = [...progress.images];
    progress.handedOut = images;
    // Complete images were paid for, even if the caller has left.
    if (images.length === 0) limits.signal?.throwIfAborted();
    // The status alone says no; that its explanation broke off changes nothing.
    if (head !== undefined && head.status >= 400) {
      const receivedAt = answeredAt(head.headers, this.clock);
      return { images, body: undefined, receivedAt, ...head };
    }
    if (hasExpired) {
      const { timeoutMs } = limits;
      const what = hasLeft ? "No response" : "No connection";
      throw new TransportFault(`${what} within ${timeoutMs} ms`, {
        sent: hasLeft,
        timeoutMs,
        images,
      });
    }
    const sent = hasLeft && !(this.#sender.isBlind && neverConnected(error));
    const transient = !(error instanceof ProxyError) || error.transient;
    throw new TransportFault(messageOf(error), { sent, transient, cause: error, images });
  }

  /** As {@link Downloader.download}. */
  download<Value>(url: string, read: Read<Value>, options?: DownloadOptions): Promise<Value> {
    return this.#downloader.download(url, read, options);
  }
}

/** How long a body is, where that is said of what is read: `NaN` otherwise. */
function decompressedLength(headers: Readonly<Record<string, string>>): number {
  return headers["content-encoding"] === undefined ? Number(headers["content-length"]) : Number.NaN;
}

/** How many bytes of images fit into a response of that length. */
function base64Bytes(headers: Readonly<Record<string, string>>): number {
  const length = decompressedLength(headers);
  return length > 0 ? Math.min(Math.ceil(length / 4) * 3, mostExpected) : 0;
}

/** The first image may be all of the response. */
function inMemory(headers: Readonly<Record<string, string>>): () => ImageSink {
  let expectedBytes = base64Bytes(headers);
  return () => {
    const sink = new MemorySink(expectedBytes);
    expectedBytes = 0;
    return sink;
  };
}

/** No response is taken at its word for more: it may never come. */
const mostExpected = 48 * 1024 * 1024;

/** Whether a partial image may have to come back from the disk. */
function isReadBack({ onPartial, createSink }: ExchangeLimits): boolean {
  return onPartial !== undefined && createSink !== undefined;
}
