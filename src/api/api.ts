import type { Call, Outcome, Output, Phase } from "../adapter/contract";
import type { Provider } from "../adapter/provider";
import { TransportFault } from "../http/faults";
import { isHeader } from "../http/header";
import { untilImage } from "../http/image-text";
import { shownCharacters } from "../http/json-skeleton";
import type { HttpRequest } from "../http/messages";
import type { ExchangeLimits as HttpLimits, ReceivedResponse, Transport } from "../http/transport";
import { userAgent } from "../http/user-agent";
import { MemorySink } from "../media/decoded-image";
import type { PartialImage } from "../types/image";
import { askForKey, checkedKey, inTime } from "./api-key";
import { elided } from "./elided";
import { encodeMultipart } from "./multipart";
import { OutcomeRedaction, shortened } from "./outcome-redaction";
import { partialReader } from "./partial-image";
import { type Reading, readResponse } from "./read-response";
import { salvaged } from "./salvage";
import { redacted, Secrets } from "./secrets";

/** How long an exchange may take, who may end it, and who sees a picture that is not done. */
export interface ExchangeLimits extends Omit<HttpLimits, "onPartial"> {
  readonly onPartial?: ((image: PartialImage) => void) | undefined;
}

/** A provider's API: an adapter's call goes in, what its response means comes out. */
export class ProviderApi {
  readonly #provider: Provider;
  readonly #transport: Transport;
  readonly #isPartial: HttpLimits["isPartial"];
  readonly #isCompleted: HttpLimits["isCompleted"];
  /** What was sent and must be kept out of whatever is shown. */
  readonly #secrets: Secrets;
  readonly #redaction: OutcomeRedaction;

  /** @param secrets other values to redact, such as the webhook secret. */
  constructor(provider: Provider, transport: Transport, secrets: readonly string[] = []) {
    this.#provider = provider;
    this.#transport = transport;
    const { adapter } = provider;
    this.#isPartial = adapter.isPartial && ((type) => adapter.isPartial?.(type) ?? false);
    this.#isCompleted = adapter.isCompleted && ((type) => adapter.isCompleted?.(type) ?? false);
    this.#secrets = new Secrets(provider.headers(), provider.baseQuery(), secrets);
    this.#redaction = new OutcomeRedaction(this.#secrets, provider.baseURL);
  }

  /** Describes a call as HTTP. Done once for a task, so that every attempt sends the same. */
  prepare(call: Call): HttpRequest | Promise<HttpRequest> {
    const { method, path, body } = call;
    const own = call.query === undefined ? "" : `${new URLSearchParams(call.query)}`;
    const query = [this.#provider.baseQuery(), own].filter((each) => each !== "").join("&");
    const url = this.#provider.baseURL + path + (query === "" ? "" : `?${query}`);
    const headers: Record<string, string> = {
      "user-agent": userAgent,
      ...inLowerCase(this.#provider.headers()),
    };
    headers.accept = "application/json";
    for (const [name, value] of Object.entries(call.headers ?? {})) {
      // What an adapter makes of a caller's key: nothing has been sent yet.
      if (!isHeader(name, value)) throw new TypeError(`HTTP cannot hold the header ${name}`);
      headers[name.toLowerCase()] = value;
    }
    if (body === undefined) return { method, url, headers };
    if ("json" in body) {
      headers["content-type"] = "application/json";
      return { method, url, headers, body: JSON.stringify(body.json) };
    }
    return encodeMultipart(body.parts).then(({ contentType, bytes }) => {
      headers["content-type"] = contentType;
      return { method, url, headers, body: bytes };
    });
  }

  /**
   * The key as it would be sent now.
   *
   * @throws {@link AuthenticationError} without a key; {@link CallbackError} if `apiKey` throws.
   */
  async apiKey(): Promise<string> {
    return checkedKey(await askForKey(this.#provider), this.#provider);
  }

  /**
   * Sends once.
   *
   * @throws {@link AuthenticationError} without a key; {@link CallbackError} if `apiKey` throws;
   * {@link TransportFault} without a response; the signal's reason if it aborts.
   */
  async exchange(phase: Phase, request: HttpRequest, limits: ExchangeLimits): Promise<Reading> {
    const { clock } = this.#transport;
    let { timeoutMs } = limits;
    let given = askForKey(this.#provider);
    if (given instanceof Promise) {
      const askedAt = clock.now();
      given = await inTime(given, clock, limits);
      timeoutMs -= clock.now() - askedAt;
    }
    const apiKey = checkedKey(given, this.#provider);
    const letGo = this.#secrets.hold(apiKey);
    try {
      const response = await this.#send(apiKey, phase, request, limits, timeoutMs);
      return await this.#read(phase, request, response, limits);
    } catch (error) {
      // Here, where every key under way is known, and not where it is looked at later.
      if (error instanceof TransportFault) {
        const { message, cause } = error;
        Object.assign(error, { message: this.clean(message), cause: this.safe(cause) });
      }
      throw error;
    } finally {
      letGo();
    }
  }

  #send(
    apiKey: string,
    phase: Phase,
    request: HttpRequest,
    limits: ExchangeLimits,
    timeoutMs: number,
  ): Promise<ReceivedResponse> {
    const { adapter } = this.#provider;
    const { method, url, body } = request;
    const headers = Object.assign({}, request.headers, inLowerCase(adapter.authorize(apiKey)));
    const { signal, stop, createSink, onSending, onPartial, n } = limits;
    return this.#transport.exchange(
      body === undefined ? { method, url, headers } : { method, url, headers, body },
      {
        timeoutMs,
        signal,
        stop,
        createSink,
        n,
        onSending,
        isPoll: phase === "query",
        decodesImages: adapter.decodesImages,
        isPartial: this.#isPartial,
        partialField: adapter.partialField,
        isCompleted: this.#isCompleted,
        onPartial: onPartial && partialReader(adapter, onPartial),
      },
    );
  }

  /** What a response means, and the images in it. Asynchronous only where images are discarded or saved. */
  #read(
    phase: Phase,
    request: HttpRequest,
    response: ReceivedResponse,
    limits: ExchangeLimits,
  ): Reading | Promise<Reading> {
    const { adapter } = this.#provider;
    const outcome = this.#redaction.outcome(
      limited(readResponse(adapter, phase, response, request.url), limits.n),
    );
    // As they are known now: it is asked for when this call is no longer under way.
    const secrets = this.#secrets.all;
    const reading: Reading = {
      outcome,
      images: [],
      status: response.status,
      requestId: this.#redaction.text(
        response.headers["x-request-id"] ?? response.headers["request-id"],
      ),
      raw: () =>
        response.text !== undefined
          ? startOf(response.text, secrets)
          : elided(response.events ?? response.body, secrets),
    };
    const { state } = outcome;
    const isPlain =
      state === "succeeded" || ((state === "queued" || state === "running") && outcome.known);
    if (isPlain && response.images.length === 0) return reading;
    return this.#imagesOf(phase, outcome, response, request, limits).then((images) => ({
      ...reading,
      images,
    }));
  }

  /** The images of a response that no output of a success is, where they are all that there is of it. */
  async #imagesOf(
    phase: Phase,
    outcome: Outcome,
    response: ReceivedResponse,
    request: HttpRequest,
    { createSink = () => new MemorySink(), n = Number.POSITIVE_INFINITY }: ExchangeLimits,
  ): Promise<readonly Output[]> {
    const { state } = outcome;
    const isUnknownWord = (state === "queued" || state === "running") && !outcome.known;
    // A poll that was refused is repeated, and the job has its images still.
    const isEnd = phase === "create" && (state === "refused" || state === "absent");
    if (state === "failed" || isEnd || (phase === "query" && isUnknownWord)) {
      const { events, body, images, status } = response;
      const found = { response: events ?? body, status, decoded: images, request };
      const outputs = await salvaged({ ...found, createSink, mostImages: n + 1 });
      return outputs.map((each) => this.#redaction.output(each));
    }
    const used = new Set(state === "succeeded" ? outcome.outputs.map((each) => each.base64) : []);
    for (const image of response.images) if (!used.has(image)) await image.sink.discard();
    return [];
  }

  /** A cause that shows no key. */
  safe(cause: unknown): unknown {
    return this.#secrets.redactCause(cause);
  }

  /** What was thrown, in words that show no key. */
  clean(text: string): string {
    // The key goes first: cutting the text first could leave half a key, which no longer matches.
    return shortened(this.#secrets.strikeFault(text));
  }
}

function inLowerCase(headers: HttpRequest["headers"]): Record<string, string> {
  const made: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) made[name.toLowerCase()] = value;
  }
  return made;
}

/** No more images than were asked for and one: each further one would be fetched, and kept somewhere. */
function limited(outcome: Outcome, n = Number.POSITIVE_INFINITY): Outcome {
  if (outcome.state !== "succeeded" || outcome.outputs.length <= n + 1) return outcome;
  return { ...outcome, outputs: outcome.outputs.slice(0, n + 1) };
}

/** The start of a body, without image bytes, and cut short of where a key may have been cut in two. */
function startOf(text: string, secrets: readonly string[]): string {
  const longest = Math.max(0, ...secrets.map((secret) => secret.length));
  const safe = redacted(untilImage(text), secrets);
  return shortened(
    text.length < shownCharacters ? safe : safe.slice(0, Math.max(0, safe.length - longest)),
  );
}
