import { type Clock, callerSignal, LightAbortSignal, systemClock, within } from "./async/clock";
import { type Capabilities, capabilitiesOf } from "./capabilities";
import { type ClientOptions, type ImageClientOptions, parseClientOptions } from "./client-options";
import type { Cost } from "./cost";
import { GenerationFailedError, InvalidRequestError, reasonOf, UnsupportedError } from "./errors";
import { type ParsedReference, parseReference } from "./job/job";
import type { RecoverOptions } from "./job/recovery";
import { ResumedJob } from "./job/resumed-job";
import type { Settlement } from "./job/settlement";
import type { Journal } from "./journal/journal";
import {
  firstOf,
  type ParsedCallOptions,
  parseCallOptions,
  parseCloseOptions,
} from "./request/options";
import { type Plan, planRequest, priceOf } from "./request/plan";
import type { EditRequest, GenerateRequest, ImageRequest } from "./request/request";
import type { Runner } from "./runner";
import type { ImageError, ImageJob, ImageResult } from "./types";
import type { CallOptions } from "./types/call-options";
import type { Operation } from "./types/reference";
import type { Webhooks } from "./webhooks/receiver";

/** The argument of `close`. */
export interface CloseOptions {
  /** How long creates on their way may still take, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
}

/** What a client says of its journal. */
export interface ClientJournal {
  /** Whether it says that workers on several machines find each other's records in it. */
  readonly shared: boolean;
  /** It forgets with its process. */
  readonly volatile?: true;
}

/**
 * A client of one provider, or whatever behaves like one: a router over several, a test double, a
 * remote one.
 */
export interface ImageClient {
  /** The provider's name. */
  readonly name: string;
  /** What the provider can do. */
  readonly capabilities: Capabilities;
  /** Its journal, where it has one: what runs it on several machines looks at it. */
  readonly journal?: ClientJournal;
  /**
   * Every problem of a request, without sending anything; empty if it can be sent. With `images` it
   * is checked as an edit.
   */
  check(request: ImageRequest): readonly ImageError[];
  /**
   * The list price, where the provider publishes one for what is asked.
   *
   * @throws {@link ImageError} the first problem of a request that cannot be sent.
   */
  estimate(request: ImageRequest): Cost | undefined;
  /**
   * Makes pictures from words, and waits for them.
   *
   * @throws {@link ImageError} with `charged` and, once the provider may have accepted, with `job`.
   */
  generate(request: GenerateRequest, options?: CallOptions): Promise<ImageResult>;
  /** Makes pictures from pictures and words. Throws as `generate` does. */
  edit(request: EditRequest, options?: CallOptions): Promise<ImageResult>;
  /**
   * Sends, and comes back as soon as every task is accepted, refused or of unknown fate. Rejects
   * only if none was accepted.
   */
  submit(request: ImageRequest, options?: CallOptions): Promise<ImageJob>;
  /**
   * The job of a reference: the object, or its JSON. Nothing is sent before it is asked something.
   *
   * @throws {@link InvalidRequestError} naming what is wrong with it.
   * @throws {@link UnsupportedError} where jobs cannot be resumed.
   */
  resume(reference: unknown): ImageJob;
  /**
   * Ends all waits; their errors carry their jobs. Nothing is sent any more. Creates on their way are
   * still read, so that a job learns its id; where the response is the image, its caller still has it.
   * What is not there after `timeoutMs` is torn, and its `ClientClosedError` says so.
   */
  close(options?: CloseOptions): Promise<void>;
  /** `close` with its default. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The client of a provider itself, with what only such a one can do. */
export interface ProviderImageClient extends ImageClient {
  /** Where it sends, as references and records say it: without a query. */
  readonly baseURL: string;
  /** The `account` that it was made with; absent where the API key says whose money it is. */
  readonly account?: string;
  /**
   * Whether the journal has a record of the job that is this client's own: of its provider, base URL and
   * account. Nothing is sent; without a journal it is false.
   *
   * @param reference the job, its reference, or its JSON.
   * @throws {@link InvalidRequestError} naming what is wrong with it; {@link JournalError} if the journal
   * cannot be read; {@link AuthenticationError} where the API key says whose it is, and there is none.
   */
  holds(reference: unknown): Promise<boolean>;
  /**
   * A job for every record of the journal that is unsettled, or settled and not yet released. A
   * running one is polled on by its `result()`; a settled one gives its images again; a create of
   * unknown fate is sent again where its provider honours the key that went with it, and otherwise
   * ends in a `SubmissionUnknownError`: it is never bought again.
   *
   * Those that run come first, then the settled ones, page by page, and those of unknown fate last.
   *
   * Jobs of this very client that are still running are left out, and so are records of other
   * providers and of other accounts.
   *
   * @throws {@link InvalidRequestError} without a journal; {@link JournalError} if it cannot be read;
   * {@link AuthenticationError} where the API key says whose the records are, and there is none.
   */
  recover(options?: RecoverOptions): AsyncIterableIterator<ImageJob>;
  /**
   * Ends a create of unknown fate by the word of a person who has looked it up at the provider. With
   * `charged: "no"` its key is free, and the call can be made again. With `charged: "yes"` and the
   * provider's `taskId`, `recover` hands the job out and its pictures are to be had; without one it is
   * a failure that was paid for. What else the job has is left as it is.
   *
   * @param reference the job, its reference, or its JSON.
   * @throws {@link InvalidRequestError} if nothing of it is unknown, if it may still be on its way, or
   * without a journal; {@link JournalError} if the journal cannot be read or written.
   *
   * @example
   * ```ts
   * await client.settle(error.job, { charged: "yes", taskId: "the id in the provider's console" });
   * ```
   */
  settle(reference: unknown, settlement: Settlement): Promise<void>;
  /**
   * The receiving end of the provider's webhooks.
   *
   * @throws {@link InvalidRequestError} if the client was made without `webhooks`.
   * @throws {@link UnsupportedError} if the provider posts none.
   */
  readonly webhooks: Webhooks;
}

/**
 * Makes a client of one provider. Clients are cheap: all of a process share one lazily made
 * connection pool, so that one for each tenant is fine.
 *
 * @throws {@link InvalidRequestError} naming the option that is wrong.
 *
 * @example
 * ```ts
 * const client = createImageClient({ provider: trinetra() });
 * const { image, cost } = await client.generate({ prompt: "A dew-covered web at sunrise" });
 * await image.save("web.png");
 * ```
 */
export function createImageClient(options: ImageClientOptions): ProviderImageClient {
  return new ProviderClient(options, systemClock);
}

/** The client of `createImageClient`, over a clock that tests can hold. */
export class ProviderClient implements ProviderImageClient {
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly baseURL: string;
  declare readonly account?: string;
  declare readonly journal?: ClientJournal;
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #closing = new LightAbortSignal();
  #loading: Promise<Runner> | undefined;
  #loaded: Runner | undefined;

  constructor(given: ImageClientOptions, clock: Clock) {
    this.#options = parseClientOptions(given);
    this.#clock = clock;
    const { provider, account, journal } = this.#options;
    this.name = provider.name;
    this.capabilities = capabilitiesOf(provider, journal !== undefined);
    this.baseURL = provider.baseURL;
    if (account !== undefined) this.account = account;
    if (journal !== undefined) this.journal = aboutJournal(journal);
  }

  /** What sends is not there before it is needed: an app that imports this package starts sooner. */
  #runner(): Promise<Runner> {
    this.#loading ??= import("./runner")
      .then(({ Runner }) => Runner.load(this.#options, this.#clock, this.#closing))
      .then((runner) => {
        this.#loaded = runner;
        return runner;
      })
      .catch((cause: unknown) => {
        // The next call tries again: too many open files, say, are a matter of a moment.
        this.#loading = undefined;
        const why = reasonOf(cause);
        const detail = `A part of this package could not be loaded: ${why}`;
        const facts = { provider: this.name, charged: "no", transient: true } as const;
        throw new GenerationFailedError({ ...facts, detail, cause, what: "unsent" });
      });
    return this.#loading;
  }

  /** The same for a call, which may end while it is loaded. */
  async #runnerFor({ signal }: ParsedCallOptions): Promise<Runner> {
    if (this.#loaded !== undefined) return this.#loaded;
    signal?.throwIfAborted();
    return within(this.#clock, this.#runner(), { signal: signal && callerSignal(signal) });
  }

  check(request: ImageRequest): readonly ImageError[] {
    const planned = this.#plan(operationOf(request), request);
    return "problems" in planned ? planned.problems : [];
  }

  estimate(request: ImageRequest): Cost | undefined {
    return priceOf(this.#planOrThrow(operationOf(request), request));
  }

  async generate(request: GenerateRequest, options?: CallOptions): Promise<ImageResult> {
    const call = parseCallOptions(options);
    const plan = this.#planOrThrow("generate", request);
    const runner = this.#loaded ?? (await this.#runnerFor(call));
    // Not awaited here: for as long as the job takes, it would hold the plan and all of this.
    return runner.run(plan, call);
  }

  async edit(request: EditRequest, options?: CallOptions): Promise<ImageResult> {
    const call = parseCallOptions(options);
    const plan = this.#planOrThrow("edit", request);
    return (await this.#runnerFor(call)).run(plan, call);
  }

  async submit(request: ImageRequest, options?: CallOptions): Promise<ImageJob> {
    const call = parseCallOptions(options);
    const plan = this.#planOrThrow(operationOf(request), request);
    return (await this.#runnerFor(call)).submit(plan, call);
  }

  resume(reference: unknown): ImageJob {
    const parsed = this.#parse(reference);
    if (!this.capabilities.resumable) {
      throw new UnsupportedError({
        ...{ provider: this.name, charged: "no", field: "reference", given: "one" },
        taken: "no references, since the response is the image itself",
      });
    }
    return new ResumedJob(parsed, async () => (await this.#runner()).resume(parsed));
  }

  async *recover(options: RecoverOptions = {}): AsyncIterableIterator<ImageJob> {
    this.#requireJournal();
    yield* (await this.#runner()).recover(options);
  }

  async holds(reference: unknown): Promise<boolean> {
    const parsed = this.#parse(reference);
    return this.capabilities.keepsJournal === true && (await this.#runner()).holds(parsed);
  }

  async settle(reference: unknown, settlement: Settlement): Promise<void> {
    const parsed = this.#parse(reference);
    this.#requireJournal();
    await (await this.#runner()).settle(parsed, settlement);
  }

  #parse(reference: unknown): ParsedReference {
    return parseReference(reference, { provider: this.name, baseURL: this.baseURL });
  }

  #requireJournal(): void {
    if (this.#options.journal !== undefined) return;
    const facts = { provider: this.name, charged: "no", field: "options.journal" } as const;
    const taken = "a journal such as directoryJournal(path)";
    throw new InvalidRequestError({ ...facts, given: "nothing", taken });
  }

  get webhooks(): Webhooks {
    const { provider, webhooks } = this.#options;
    const facts = { provider: this.name, charged: "no", field: "options.webhooks" } as const;
    if (provider.adapter.webhook === undefined) {
      const taken = "none, since this provider posts nothing";
      throw new UnsupportedError({ ...facts, given: "some", taken });
    }
    if (webhooks === undefined) {
      const wanted = "an object with a secret";
      throw new InvalidRequestError({ ...facts, given: "nothing", taken: wanted });
    }
    const receiver = async () => (await this.#runner()).receiver;
    return {
      handle: async (request) =>
        (await receiver())?.handle(request) ?? new Response(null, { status: 204 }),
      listener: (request, response) => {
        receiver().then(
          (each) => each?.listener(request, response),
          // So that the provider comes again.
          () => response.writeHead(503).end(),
        );
      },
    };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const { timeoutMs } = parseCloseOptions(options);
    this.#closing.abort(new Error("the client was closed"));
    // What could not be loaded has sent nothing.
    const runner = await this.#loading?.catch(() => undefined);
    await runner?.drain(timeoutMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #plan(operation: Operation, request: unknown) {
    return planRequest(operation, request, this.#options);
  }

  #planOrThrow(operation: Operation, request: unknown): Plan {
    const planned = this.#plan(operation, request);
    if ("problems" in planned) throw firstOf(planned.problems);
    return planned.plan;
  }
}

function aboutJournal({ shared = false, volatile }: Journal): ClientJournal {
  return volatile === true ? { shared: false, volatile } : { shared };
}

function operationOf(request: unknown): Operation {
  const isEdit = typeof request === "object" && request !== null && "images" in request;
  return isEdit && request.images !== undefined ? "edit" : "generate";
}
