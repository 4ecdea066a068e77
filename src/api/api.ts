import type { Call, Outcome, Output, Phase } from "../adapter/contract";
import type { Provider } from "../adapter/provider";
import { within } from "../async/clock";
import { AuthenticationError, CallbackError } from "../errors";
import type { HttpRequest } from "../http/answer";
import { TransportFault } from "../http/faults";
import { isHeader } from "../http/header";
import { untilImage } from "../http/image-text";
import { shownCharacters } from "../http/json-skeleton";
import type { HttpAnswer, ExchangeLimits as HttpLimits, Transport } from "../http/transport";
import { userAgent } from "../http/user-agent";
import { MemorySink } from "../media/decoded-image";
import type { PartialImage } from "../types";
import { encodeMultipart } from "./multipart";
import { elided } from "./outcome-error";
import { partialReader } from "./partial-image";
import { type Reading, readAnswer } from "./read-response";
import { salvaged } from "./salvage";
import { redacted, Secrets } from "./secrets";

const longestMessage = 500;

/** How long an exchange may take, who may end it, and who sees a picture that is not done. */
export interface ExchangeLimits extends Omit<HttpLimits, "onPartial"> {
  readonly onPartial?: ((image: PartialImage) => void) | undefined;
}

/** A provider's API: an adapter's call goes in, what its answer means comes out. */
export class ProviderApi {
  readonly #provider: Provider;
  readonly #transport: Transport;
  /** What was sent and must be kept out of whatever is shown. */
  readonly #secrets: Secrets;

  /** @param secrets what else nobody may see, such as the secret of webhooks. */
  constructor(provider: Provider, transport: Transport, secrets: readonly string[] = []) {
    this.#provider = provider;
    this.#transport = transport;
    this.#secrets = new Secrets(provider.headers(), provider.baseQuery(), secrets);
  }

  /** Describes a call as HTTP. Done once for a task, so that every attempt sends the same. */
  async prepare(call: Call): Promise<HttpRequest> {
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
    const { contentType, bytes } = await encodeMultipart(body.parts);
    headers["content-type"] = contentType;
    return { method, url, headers, body: bytes };
  }

  /**
   * The key as it would be sent now.
   *
   * @throws {@link AuthenticationError} without a key; {@link CallbackError} if `apiKey` throws.
   */
  async apiKey(): Promise<string> {
    return this.#checkedKey(await this.#askForKey());
  }

  /**
   * Sends once.
   *
   * @throws {@link AuthenticationError} without a key; {@link CallbackError} if `apiKey` throws;
   * {@link TransportFault} without an answer; the signal's reason if it aborts.
   */
  async exchange(phase: Phase, request: HttpRequest, limits: ExchangeLimits): Promise<Reading> {
    const { clock } = this.#transport;
    let { timeoutMs } = limits;
    let given = this.#askForKey();
    if (given instanceof Promise) {
      const askedAt = clock.now();
      given = await this.#inTime(given, limits);
      timeoutMs -= clock.now() - askedAt;
    }
    const apiKey = this.#checkedKey(given);
    const letGo = this.#secrets.hold(apiKey);
    try {
      const answer = await this.#send(apiKey, phase, request, limits, timeoutMs);
      return await this.#read(phase, request, answer, limits);
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
  ): Promise<HttpAnswer> {
    const { adapter } = this.#provider;
    const { method, url, body } = request;
    const headers = { ...request.headers, ...inLowerCase(adapter.authorize(apiKey)) };
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
        isPartial: adapter.isPartial && ((type) => adapter.isPartial?.(type) ?? false),
        isCompleted: adapter.isCompleted && ((type) => adapter.isCompleted?.(type) ?? false),
        onPartial: onPartial && partialReader(adapter, onPartial),
      },
    );
  }

  /** What an answer means, and the images in it. Takes time only where images are let go of, or saved. */
  #read(
    phase: Phase,
    request: HttpRequest,
    answer: HttpAnswer,
    limits: ExchangeLimits,
  ): Reading | Promise<Reading> {
    const { adapter } = this.#provider;
    const outcome = this.#clean(limited(readAnswer(adapter, phase, answer, request.url), limits.n));
    // As they are known now: it is asked for when this call is no longer under way.
    const secrets = this.#secrets.all;
    const reading: Reading = {
      outcome,
      images: [],
      status: answer.status,
      requestId: this.#struck(answer.headers["x-request-id"] ?? answer.headers["request-id"]),
      raw: () =>
        answer.text !== undefined
          ? startOf(answer.text, secrets)
          : elided(answer.events ?? answer.body, secrets),
    };
    const { state } = outcome;
    const isPlain =
      state === "succeeded" || ((state === "queued" || state === "running") && outcome.known);
    if (isPlain && answer.images.length === 0) return reading;
    return this.#imagesOf(phase, outcome, answer, request, limits).then((images) => ({
      ...reading,
      images,
    }));
  }

  /** The images of an answer that no output of a success is, where they are all that there is of it. */
  async #imagesOf(
    phase: Phase,
    outcome: Outcome,
    answer: HttpAnswer,
    request: HttpRequest,
    { createSink = () => new MemorySink(), n = Number.POSITIVE_INFINITY }: ExchangeLimits,
  ): Promise<readonly Output[]> {
    const { state } = outcome;
    const isUnknownWord = (state === "queued" || state === "running") && !outcome.known;
    // A poll that was refused is repeated, and the job has its images still.
    const isEnd = phase === "create" && (state === "refused" || state === "absent");
    if (state === "failed" || isEnd || (phase === "query" && isUnknownWord)) {
      const { events, body, images, status } = answer;
      const found = { answer: events ?? body, status, decoded: images, request };
      const outputs = await salvaged({ ...found, createSink, mostImages: n + 1 });
      return outputs.map((each) => this.#cleanOutput(each));
    }
    const used = new Set(state === "succeeded" ? outcome.outputs.map((each) => each.base64) : []);
    for (const image of answer.images) if (!used.has(image)) await image.sink.discard();
    return [];
  }

  /** A cause that shows no key. */
  safe(cause: unknown): unknown {
    return this.#secrets.safeCause(cause);
  }

  /** What was thrown, in words that show no key. */
  clean(text: string): string {
    // The key goes first: a cut through the middle of it would leave a half that nobody knows.
    return shortened(this.#secrets.strikeFault(text));
  }

  /** What an answer says, without a key. */
  #words(text: string): string {
    return shortened(this.#secrets.strike(text));
  }

  /** Nothing that an answer says can carry the key on: into errors, references or a download. */
  #clean(outcome: Outcome): Outcome {
    switch (outcome.state) {
      case "queued":
      case "running": {
        const { state, known, progress, cost } = outcome;
        const word = this.#words(outcome.word);
        return {
          state,
          known,
          progress,
          cost,
          word,
          id: this.#struckAddress(outcome.id),
        };
      }
      case "succeeded": {
        const outputs = outcome.outputs.map((each) => this.#cleanOutput(each));
        const { state, cost, usage } = outcome;
        return { state, cost, usage, outputs, model: this.#struck(outcome.model) };
      }
      case "absent":
        return { ...outcome, message: this.#words(outcome.message) };
      case "refused":
      case "failed":
        return {
          ...outcome,
          message: this.#words(outcome.message),
          code: this.#struck(outcome.code),
          stage: this.#struck(outcome.stage),
          categories: outcome.categories?.map((each) => this.#words(each)),
        };
    }
  }

  #cleanOutput({ url, base64, revisedPrompt }: Output): Output {
    return {
      url: this.#absolute(this.#struckAddress(url)),
      base64,
      revisedPrompt: this.#struck(revisedPrompt),
    };
  }

  /** A URL as it can be asked for: a relative one belongs to the provider's own. */
  #absolute(url: string | undefined): string | undefined {
    if (url === undefined || URL.canParse(url)) return url;
    const base = new URL(this.#provider.baseURL);
    // So that what is below it stays below it.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    return URL.canParse(url, base.href) ? new URL(url, base).href : url;
  }

  #struck(text: string | undefined): string | undefined {
    return text === undefined ? undefined : this.#secrets.strike(text);
  }

  #struckAddress(text: string | undefined): string | undefined {
    return text === undefined ? undefined : this.#secrets.strikeAddress(text);
  }

  /** What `apiKey` gives, at once or later. */
  #askForKey(): unknown {
    const provider = this.#provider.name;
    const fail = (cause: unknown): never => {
      throw new CallbackError({ provider, charged: "no", callback: "apiKey", cause });
    };
    try {
      const asking: unknown = this.#provider.apiKey();
      // A promise need not be one of this realm.
      const isLater = typeof asking === "object" && asking !== null;
      return isLater ? Promise.resolve(asking).catch(fail) : asking;
    } catch (cause) {
      return fail(cause);
    }
  }

  /** Waits for the key no longer than the exchange may take: until it is there nothing has been sent. */
  #inTime(asking: Promise<unknown>, limits: ExchangeLimits): Promise<unknown> {
    const { clock } = this.#transport;
    const { timeoutMs, signal, stop } = limits;
    return within(clock, asking, {
      signal: stop ?? signal,
      deadlineAt: clock.now() + timeoutMs,
      onDeadline: () =>
        new TransportFault(`\`apiKey\` gave no key within ${timeoutMs} ms`, {
          sent: false,
          timeoutMs,
        }),
    });
  }

  /** A key as it can be sent. */
  #checkedKey(given: unknown): string {
    const { name, adapter } = this.#provider;
    const text = given ?? "";
    if (typeof text !== "string") {
      const problem = "What `apiKey` gives is no string";
      throw new AuthenticationError({ provider: name, charged: "no", problem });
    }
    const apiKey = text.trim();
    if (apiKey === "") {
      const variable = adapter.keyVariable;
      const where = variable === undefined ? "" : `, or set the environment variable ${variable}`;
      const problem = `There is no API key: give the provider an \`apiKey\`${where}`;
      throw new AuthenticationError({ provider: name, charged: "no", problem });
    }
    if (!/^[\x21-\x7e]+$/.test(apiKey)) {
      const problem = "The API key has characters that no HTTP header can hold";
      throw new AuthenticationError({ provider: name, charged: "no", problem });
    }
    return apiKey;
  }
}

function inLowerCase(headers: HttpRequest["headers"]): Record<string, string> {
  const made: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) made[name.toLowerCase()] = value;
  return made;
}

/** No more images than were asked for and one: each further one would be fetched, and kept somewhere. */
function limited(outcome: Outcome, n = Number.POSITIVE_INFINITY): Outcome {
  if (outcome.state !== "succeeded" || outcome.outputs.length <= n + 1) return outcome;
  return { ...outcome, outputs: outcome.outputs.slice(0, n + 1) };
}

function shortened(text: string): string {
  return text.length > longestMessage ? `${text.slice(0, longestMessage)}…` : text;
}

/** The start of a body, without image bytes, and cut short of where a key may have been cut in two. */
function startOf(text: string, secrets: readonly string[]): string {
  const longest = Math.max(0, ...secrets.map((secret) => secret.length));
  const safe = redacted(untilImage(text), secrets);
  return shortened(
    text.length < shownCharacters ? safe : safe.slice(0, Math.max(0, safe.length - longest)),
  );
}
