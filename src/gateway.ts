import { type DecodedImage, MemorySink } from "./decoded-image";
import { AuthenticationError, CallbackError } from "./errors";
import { elided, redacted, safeCause } from "./failure";
import { isHeader } from "./header";
import { shownCharacters } from "./json-scanner";
import { encodeMultipart } from "./multipart";
import { type Call, type Outcome, type Phase, type Provider, unreadable } from "./provider";
import { salvaged } from "./salvage";
import type { ExchangeLimits, HttpAnswer, HttpRequest, Transport } from "./transport";

/** What a provider answered, read by its adapter. */
export interface Reading {
  readonly outcome: Outcome;
  readonly status: number;
  readonly requestId: string | undefined;
  /** The answer without image bytes and without the key. */
  raw(): unknown;
  /** Images that came whole in an answer that ends a task, and is no success otherwise. */
  readonly images: readonly DecodedImage[];
}

const longestMessage = 500;

/** A shorter key may stand in a URL or an id by chance (`"openai"`), and must not spoil a paid one. */
const leastInAddress = 16;

/** A provider's API: an adapter's call goes in, what its answer means comes out. */
export class Gateway {
  readonly #provider: Provider;
  readonly #transport: Transport;
  /** Every key that was sent, to be kept out of whatever is shown. */
  readonly #secrets: string[] = [];

  constructor(provider: Provider, transport: Transport) {
    this.#provider = provider;
    this.#transport = transport;
    for (const [name, value] of Object.entries(provider.headers())) {
      if (/auth|key|token|secret|cookie/i.test(name)) this.#know(value);
    }
  }

  #know(secret: string): void {
    if (!this.#secrets.includes(secret)) this.#secrets.push(secret);
  }

  /** Describes a call as HTTP. Done once for a task, so that every attempt sends the same. */
  async prepare(call: Call): Promise<HttpRequest> {
    const { method, path, body } = call;
    const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query)}`;
    const url = this.#provider.baseURL + path + query;
    const headers = inLowerCase(this.#provider.headers());
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
    const { contentType, bytes } = await encodeMultipart(body.parts);
    headers["content-type"] = contentType;
    return { method, url, headers, body: bytes };
  }

  /**
   * Sends once.
   *
   * @throws {@link AuthenticationError} without a key; {@link CallbackError} if `apiKey` throws;
   * {@link TransportFault} without an answer; the signal's reason if it aborts.
   */
  async exchange(phase: Phase, request: HttpRequest, limits: ExchangeLimits): Promise<Reading> {
    const { name, adapter } = this.#provider;
    let given: unknown;
    try {
      given = await this.#provider.apiKey();
    } catch (cause) {
      throw new CallbackError({ provider: name, charged: "no", callback: "apiKey", cause });
    }
    const apiKey = this.#checkedKey(given);
    const { method, url, body } = request;
    const headers = { ...request.headers, ...inLowerCase(adapter.authorize(apiKey)) };
    const { timeoutMs, signal, stop, createSink, n } = limits;
    const answer = await this.#transport.exchange(
      body === undefined ? { method, url, headers } : { method, url, headers, body },
      {
        timeoutMs,
        signal,
        stop,
        createSink,
        n,
        isPoll: phase === "query",
        decodesImages: adapter.decodesImages,
        isPartial: adapter.isPartial && ((type) => adapter.isPartial?.(type) ?? false),
      },
    );
    const outcome = this.#clean(this.#read(phase, answer));
    return {
      outcome,
      images: await this.#imagesOf(phase, outcome, answer, request, limits),
      status: answer.status,
      requestId: this.#redacted(answer.headers["x-request-id"] ?? answer.headers["request-id"]),
      raw: () =>
        answer.body === undefined && answer.text !== undefined
          ? this.#start(answer.text)
          : elided(answer.events ?? answer.body, this.#secrets),
    };
  }

  /** The images of an answer that no output of a success is, where they are all that there is of it. */
  async #imagesOf(
    phase: Phase,
    outcome: Outcome,
    answer: HttpAnswer,
    request: HttpRequest,
    { createSink = () => new MemorySink(), n = Number.POSITIVE_INFINITY }: ExchangeLimits,
  ): Promise<readonly DecodedImage[]> {
    const { state } = outcome;
    // A poll that was refused is repeated, and the job has its images still.
    if (state === "failed" || (phase === "create" && (state === "refused" || state === "absent"))) {
      const { events, body, images } = answer;
      const found = { answer: events ?? body, decoded: images, request };
      return salvaged({ ...found, createSink, mostImages: n + 1 });
    }
    const used = new Set(state === "succeeded" ? outcome.outputs.map((each) => each.base64) : []);
    for (const image of answer.images) if (!used.has(image)) await image.sink.discard();
    return [];
  }

  /** A cause that shows no key. */
  safe(cause: unknown): unknown {
    return safeCause(cause, this.#secrets);
  }

  /** The start of a body, cut short of where a key may have been cut in two. */
  #start(text: string): string {
    const longest = Math.max(0, ...this.#secrets.map((secret) => secret.length));
    const safe = redacted(text, this.#secrets);
    return this.clean(
      text.length < shownCharacters ? safe : safe.slice(0, Math.max(0, safe.length - longest)),
    );
  }

  /** A text that shows no key. */
  clean(text: string): string {
    // The key goes first: a cut through the middle of it would leave a half that nobody knows.
    const safe = redacted(text, this.#secrets);
    return safe.length > longestMessage ? `${safe.slice(0, longestMessage)}…` : safe;
  }

  #read(phase: Phase, answer: Parameters<Provider["adapter"]["read"]>[1]): Outcome {
    try {
      return this.#provider.adapter.read(phase, answer);
    } catch (error) {
      // An adapter must not throw; one of somebody else's that does has not understood the answer.
      return unreadable(phase, `The adapter threw: ${String(error)}`);
    }
  }

  /** Nothing that an answer says can carry the key on: into errors, references or a download. */
  #clean(outcome: Outcome): Outcome {
    switch (outcome.state) {
      case "queued":
      case "running": {
        const { state, known, progress, cost } = outcome;
        const word = this.clean(outcome.word);
        return {
          state,
          known,
          progress,
          cost,
          word,
          id: this.#redacted(outcome.id, leastInAddress),
        };
      }
      case "succeeded": {
        const outputs = outcome.outputs.map(({ url, base64, revisedPrompt }) => ({
          url: this.#absolute(this.#redacted(url, leastInAddress)),
          base64,
          revisedPrompt: this.#redacted(revisedPrompt),
        }));
        const { state, cost, usage } = outcome;
        return { state, cost, usage, outputs, model: this.#redacted(outcome.model) };
      }
      case "absent":
        return { ...outcome, message: this.clean(outcome.message) };
      case "refused":
      case "failed":
        return {
          ...outcome,
          message: this.clean(outcome.message),
          code: this.#redacted(outcome.code),
          stage: this.#redacted(outcome.stage),
          categories: outcome.categories?.map((each) => this.clean(each)),
        };
    }
  }

  /** A URL as it can be asked for: a relative one belongs to the provider's own. */
  #absolute(url: string | undefined): string | undefined {
    if (url === undefined || URL.canParse(url)) return url;
    const base = new URL(this.#provider.baseURL);
    // So that what is below it stays below it.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    return URL.canParse(url, base.href) ? new URL(url, base).href : url;
  }

  #redacted(text: string | undefined, least?: number): string | undefined {
    return text === undefined ? undefined : redacted(text, this.#secrets, least);
  }

  /** A key as it can be sent; from now on nothing shows it. */
  #checkedKey(given: unknown): string {
    const { name, adapter } = this.#provider;
    const text = given ?? "";
    if (typeof text !== "string") {
      const detail = "What `apiKey` gives is no string";
      throw new AuthenticationError({ provider: name, charged: "no", detail });
    }
    const apiKey = text.trim();
    if (apiKey === "") {
      const variable = adapter.keyVariable;
      const where = variable === undefined ? "" : `, or set the environment variable ${variable}`;
      const detail = `There is none: give the provider an \`apiKey\`${where}.`;
      throw new AuthenticationError({ provider: name, charged: "no", detail });
    }
    if (!/^[\x21-\x7e]+$/.test(apiKey)) {
      const detail = "It has characters that no HTTP header can hold";
      throw new AuthenticationError({ provider: name, charged: "no", detail });
    }
    // As it is sent, and as a URL would hold it.
    if (!this.#secrets.includes(apiKey)) {
      this.#know(apiKey);
      this.#know(encodeURIComponent(apiKey));
    }
    return apiKey;
  }
}

function inLowerCase(headers: HttpRequest["headers"]): Record<string, string> {
  const made: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) made[name.toLowerCase()] = value;
  return made;
}
