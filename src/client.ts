import { resolve } from "node:path";
import { type Capabilities, capabilitiesOf } from "./capabilities";
import { type ClientOptions, type ImageClientOptions, parseClientOptions } from "./client-options";
import { type Clock, Ending, type EndSignal, inTurn, systemClock, within } from "./clock";
import type { Cost } from "./cost";
import type { ImageSink } from "./decoded-image";
import {
  CallbackError,
  type ImageError,
  InvalidRequestError,
  isImageError,
  UnsupportedError,
} from "./errors";
import { FileSink } from "./file-sink";
import { Gateway } from "./gateway";
import type { ResolvedInputs } from "./inputs";
import { type CallOptions, type ImageJob, parseReference } from "./job";
import type { Journaling, RecoverOptions } from "./journaling";
import { learnedSchedule, sizeClassOf } from "./learned-schedule";
import { LiveJobs } from "./live-jobs";
import { firstOf, parseCallOptions } from "./options";
import { Pace } from "./pace";
import { type Plan, planRequest, priceOf } from "./plan";
import type { Provider, WebhookDescription } from "./provider";
import type { EditRequest, GenerateRequest, ImageRequest, Operation } from "./request";
import type { ImageResult } from "./result";
import { type JobContext, RunningJob, type TaskWait } from "./running-job";
import { fixedSchedule } from "./schedule";
import { Slots } from "./slots";
import type { JobTask } from "./task";
import { bytesOf, Transport } from "./transport";
import type { Hook, WebhookHints } from "./webhook-hints";
import type { Webhooks } from "./webhooks";

/**
 * A client of one provider, or whatever behaves like one: a router over several, a test double, a
 * remote one.
 */
export interface ImageClient {
  /** The provider's name. */
  readonly name: string;
  readonly capabilities: Capabilities;
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
  /** Ends all waits; their errors carry their jobs. Creates on their way are still read. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The client of a provider itself, with what only such a one can do. */
export interface ProviderImageClient extends ImageClient {
  /**
   * A job for every record of the journal that is unsettled, or settled and not yet released. A
   * running one is polled on by its `result()`; a settled one gives its images again; a create of
   * unknown fate is sent again where its provider honours the key that went with it, and otherwise
   * ends in a `SubmissionUnknownError`: it is never bought again.
   *
   * Jobs of this very client that are still running are left out, and so are records of other
   * providers. Without a journal there is nothing to recover.
   *
   * @throws {@link JournalError} if the journal cannot be read.
   */
  recover(options?: RecoverOptions): AsyncIterableIterator<ImageJob>;
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
  readonly #provider: Provider;
  readonly #options: ClientOptions;
  readonly #jobs: JobContext;
  readonly #slots: Slots;
  readonly #closing = new Ending();
  /** Jobs that this client works on, by id: `recover` leaves them alone. */
  readonly #live = new LiveJobs();
  /** What only some clients need is loaded with the client: once it has paid, nothing may be missing. */
  readonly #journaling: Promise<Journaling> | undefined;
  readonly #receiving: Promise<WebhookHints> | undefined;
  /** There before anything is sent. */
  #hints: WebhookHints | undefined;
  /** Creates that go on though their callers were released: `close` waits for their answers. */
  readonly #creating = new Set<Promise<void>>();

  constructor(given: ImageClientOptions, clock: Clock) {
    const options = parseClientOptions(given);
    const { provider, timeoutMs, attemptTimeoutMs, onEvent, poll = learnedSchedule() } = options;
    const trustedHostname = new URL(provider.baseURL).hostname;
    const transport = new Transport({ ...options, clock, trustedHostname });
    // Every call listens for the end of its client: a hundred calls are no leak.
    this.name = provider.name;
    this.capabilities = capabilitiesOf(provider);
    this.#provider = provider;
    this.#options = options;
    this.#slots = new Slots(options.concurrency);
    const { webhook } = provider.adapter;
    this.#jobs = {
      ...{ provider, transport, clock, timeoutMs, attemptTimeoutMs, onEvent },
      gateway: new Gateway(provider, transport),
      schedule: typeof poll === "number" ? fixedSchedule(poll) : poll,
      pace: new Pace(clock),
      closing: this.#closing,
      backstopMs: webhook?.address === "account" ? options.webhooks?.backstopMs : undefined,
      accepted: (job, taskId) => {
        if (this.#remembers) this.#live.add(job, taskId);
        this.#hints?.accepted(taskId);
      },
      settled: (job) => this.#live.delete(job),
    };
    const { journal, webhooks } = options;
    if (journal !== undefined) {
      this.#journaling = import("./journaling").then(
        ({ Journaling }) => new Journaling(journal, this.#jobs, this.#live),
      );
    }
    if (webhook !== undefined && webhooks !== undefined) {
      this.#receiving = this.#receive(webhook, webhooks);
    }
    // Whoever needs them hears of it.
    this.#journaling?.catch(() => {});
    this.#receiving?.catch(() => {});
  }

  async #receive(
    webhook: WebhookDescription,
    options: NonNullable<ClientOptions["webhooks"]>,
  ): Promise<WebhookHints> {
    const { WebhookHints } = await import("./webhook-hints");
    this.#hints = new WebhookHints(webhook, options, {
      live: this.#live,
      closing: this.#closing,
      isCreating: () => this.#creating.size > 0,
      find: async (target) => (await this.#journaling)?.find(target) ?? [],
    });
    return this.#hints;
  }

  /** A job is remembered only where something may ask for it by name. */
  get #remembers(): boolean {
    return this.#journaling !== undefined || this.#receiving !== undefined;
  }

  check(request: ImageRequest): readonly ImageError[] {
    const planned = this.#plan(operationOf(request), request);
    return "problems" in planned ? planned.problems : [];
  }

  estimate(request: ImageRequest): Cost | undefined {
    return priceOf(this.#planOrThrow(operationOf(request), request));
  }

  generate(request: GenerateRequest, options?: CallOptions): Promise<ImageResult> {
    return this.#run("generate", request, options);
  }

  edit(request: EditRequest, options?: CallOptions): Promise<ImageResult> {
    return this.#run("edit", request, options);
  }

  async submit(request: ImageRequest, options?: CallOptions): Promise<ImageJob> {
    const call = await this.#open(operationOf(request), request, options);
    const { job } = call;
    const refusalOf = (task: JobTask) =>
      this.#sendTask(call, task, async (limits) => {
        if (task.accepted) return [];
        const settled = await job.outcome(task, limits, undefined);
        return "error" in settled ? [settled.error] : [];
      });
    return this.#end(call, job.tasks.map(refusalOf), (refusals) => {
      if (job.tasks.some((task) => task.accepted)) return job;
      throw firstOf(refusals.flat());
    });
  }

  resume(reference: unknown): ImageJob {
    const { name, baseURL, adapter } = this.#provider;
    const parsed = parseReference(reference, { provider: name, baseURL });
    if (!this.capabilities.resumable || adapter.query === undefined) {
      throw new UnsupportedError({
        ...{ provider: name, charged: "no", field: "reference", given: "a job of its own" },
        taken: "no references: its answer is the image itself, and nothing can be asked afterwards",
      });
    }
    const submittedAt = Date.parse(parsed.submittedAt);
    const { id, operation } = parsed;
    const tasks = parsed.tasks.map((task) => ({ ...task, sentAt: submittedAt }));
    const seed = { id, operation, submittedAt, tasks };
    return new RunningJob(seed, {
      ...this.#jobs,
      // References are resumed freely: only while somebody waits does a webhook have to find them.
      awaited: (job, isAwaited) => {
        if (!isAwaited) this.#live.delete(job);
        else if (this.#remembers && !job.isSettled) {
          this.#live.add(job, ...job.tasks.flatMap((task) => task.id ?? []));
        }
      },
    });
  }

  get webhooks(): Webhooks {
    const receiving = this.#receiving;
    if (receiving !== undefined) {
      return {
        handle: async (request) => (await receiving).receiver.handle(request),
        listener: (request, response) => {
          void receiving.then(
            ({ receiver }) => receiver.listener(request, response),
            // So that the provider comes again.
            () => response.writeHead(503).end(),
          );
        },
      };
    }
    const facts = { provider: this.name, charged: "no", field: "options.webhooks" } as const;
    if (this.#provider.adapter.webhook === undefined) {
      throw new UnsupportedError({ ...facts, given: "a webhook", taken: "none: it posts nothing" });
    }
    throw new InvalidRequestError({ ...facts, given: "nothing", taken: "an object with a secret" });
  }

  async *recover(options: RecoverOptions = {}): AsyncIterableIterator<ImageJob> {
    const journaling = await this.#journaling;
    if (journaling !== undefined) yield* journaling.recover(options);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the client was closed"));
    const { clock, attemptTimeoutMs } = this.#jobs;
    const deadlineAt = clock.now() + attemptTimeoutMs;
    // A function of the caller's that never ends must not hold it for ever.
    await within(clock, Promise.allSettled(this.#creating), { deadlineAt }).catch(() => {});
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

  async #run(operation: Operation, request: unknown, options: unknown): Promise<ImageResult> {
    const call = await this.#open(operation, request, options);
    const { job, saveTo } = call;
    const createSink = this.#sinkFor(saveTo);
    const outcomeOf = (task: JobTask) =>
      this.#sendTask(call, task, (limits) => job.outcome(task, limits, saveTo), createSink);
    return this.#end(call, job.tasks.map(outcomeOf), (outcomes) => job.assemble(outcomes));
  }

  /**
   * Everything before the first create. What it needs ends with it, as does all that each create
   * needs once that was answered: thousands of calls may wait for minutes.
   */
  async #open(operation: Operation, request: unknown, options: unknown = {}): Promise<RunningCall> {
    const call = parseCallOptions(options);
    const plan = this.#planOrThrow(operation, request);
    const { clock } = this.#jobs;
    const { idempotencyKey, saveTo, timeoutMs = this.#jobs.timeoutMs } = call;
    const { idempotent } = this.#provider.adapter;
    const warnings = [...plan.warnings];
    if (idempotencyKey !== undefined && !idempotent && this.#options.journal === undefined) {
      warnings.push(`idempotencyKey was not sent: ${this.name} honours none`);
    }
    warnings.push(...strayOptions(plan.request.providerOptions, this.#provider));
    const naming = this.#name(plan, idempotencyKey);
    const { id, keys, ledgerFor } = await within(clock, naming, { signal: call.signal });
    const { fields } = plan.request;
    const hook = this.#hookFor(plan);
    const job = new RunningJob(
      {
        id,
        operation,
        submittedAt: clock.now(),
        warnings,
        quality: typeof fields.quality === "string" ? fields.quality : undefined,
        sizeClass: sizeClassOf({ size: fields.size, resolution: fields.resolution }),
        tasks: plan.split.map((n, index) => ({
          index,
          n,
          state: "waiting" as const,
          ledger: ledgerFor?.(index),
          ...(idempotent && { key: keys[index] ?? "" }),
        })),
        ...(hook?.isOurs && { backstopMs: this.#options.webhooks?.backstopMs }),
        ...call,
      },
      this.#jobs,
    );
    if (this.#remembers) this.#live.add(job);
    const scope = job.scope(call.signal);
    const { signal } = scope;
    const opened = { job, scope, saveTo, timeoutMs };
    try {
      signal.throwIfAborted();
      await within(clock, inTurn(), { signal });
      const inputs = await within(clock, this.#inputs(plan, signal), { signal });
      for (const task of job.tasks) {
        const { index, n } = task;
        const webhookUrl = hook?.addressFor(job.id, index);
        const sending = { operation, n, key: keys[index] ?? "", ...inputs };
        task.prepare(
          plan.task.create(webhookUrl === undefined ? sending : { webhookUrl, ...sending }),
        );
      }
    } catch (error) {
      this.#abandon(opened, error);
      throw error;
    }
    return opened;
  }

  /** What the work on all tasks of a call comes to, and the end of the call, however it ends. */
  async #end<Value, Result>(
    call: RunningCall,
    works: readonly Promise<Value>[],
    sumOf: (values: readonly Value[]) => Result,
  ): Promise<Result> {
    try {
      const result = sumOf(await Promise.all(works));
      call.scope.end();
      return result;
    } catch (error) {
      this.#abandon(call, error);
      throw error;
    }
  }

  /** Ends the creates still waiting when the whole call ends, as when `onSubmitted` throws. */
  #abandon({ job, scope }: RunningCall, reason: unknown): void {
    scope.signal.abort(reason);
    for (const task of job.tasks) task.abandon();
    scope.end();
  }

  /** Where the images of an answer go while it comes; a journal takes them from memory. */
  #sinkFor(saveTo: string | undefined): (() => ImageSink) | undefined {
    if (saveTo === undefined || this.#options.journal !== undefined) return undefined;
    return () => new FileSink(resolve(saveTo));
  }

  /** What the job and its tasks are called, and its pages in the journal where there is one. */
  async #name(plan: Plan, idempotencyKey: string | undefined) {
    const [journaling] = await Promise.all([this.#journaling, this.#receiving]);
    const names =
      idempotencyKey === undefined
        ? undefined
        : (await import("./identity")).namesUnder(idempotencyKey, this.#provider);
    // With a journal the caller's key names the job, so that the same call finds it again.
    const id = (journaling && names?.jobId) ?? newId();
    const keys = plan.split.map((_, index) => names?.taskKey(index) ?? newId());
    return { id, keys, ledgerFor: await journaling?.ledgersFor(id, plan) };
  }

  /** Where the outcome is to be posted, at a provider that takes the address with the request. */
  #hookFor({ request, description }: Plan): Hook | undefined {
    if (!description.fields.includes("webhookUrl")) return undefined;
    const { webhookUrl } = request.fields;
    const given = typeof webhookUrl === "string" ? webhookUrl : undefined;
    if (this.#hints !== undefined) return this.#hints.hookFor(given);
    return given === undefined ? undefined : { isOurs: false, addressFor: () => given };
  }

  async #inputs({ request, description }: Plan, signal: EndSignal): Promise<ResolvedInputs> {
    const { inputs: rule } = description;
    if (rule === undefined) return { imageUrls: [], imageFiles: [] };
    const { transport } = this.#jobs;
    const { resolveInputs } = await import("./read-inputs");
    return resolveInputs(request.images, request.mask, {
      ...{ provider: this.name, rule, upload: this.#options.upload },
      trustedHostname: new URL(this.#provider.baseURL).hostname,
      signal,
      fetchBytes: (url) => transport.download(url, bytesOf, { signal }),
    });
  }

  /** One task: waits for a slot, creates, tells the caller, and goes on with `then` inside the slot. */
  async #sendTask<Value>(
    call: RunningCall,
    task: JobTask,
    then: (limits: TaskWait) => Promise<Value>,
    createSink?: () => ImageSink,
  ): Promise<Value> {
    const { timeoutMs } = call;
    const { signal } = call.scope;
    const release = await this.#slots.acquire(signal);
    const limits = { signal, deadlineAt: this.#jobs.clock.now() + timeoutMs, timeoutMs };
    const isAnswered = await this.#create(call.job, task, limits, release, createSink);
    try {
      return await then(limits);
    } finally {
      if (isAnswered) release();
    }
  }

  /**
   * Creates, and tells the caller. A create that outlives its caller keeps its slot until it has been
   * answered, whether this throws or gives false.
   */
  async #create(
    job: RunningJob,
    task: JobTask,
    { signal, deadlineAt, timeoutMs }: TaskWait & { deadlineAt: number; signal: EndSignal },
    release: () => void,
    createSink: (() => ImageSink) | undefined,
  ): Promise<boolean> {
    const { clock } = this.#jobs;
    const creating = task.create(signal, deadlineAt, createSink).then(() => job.announce(task));
    const settledCreating = creating.catch(() => {
      // Whoever still waits gets it below; whoever has left heard of it as an event.
    });
    this.#creating.add(settledCreating);
    settledCreating.finally(() => this.#creating.delete(settledCreating));
    try {
      const onDeadline = () => task.timeoutError(timeoutMs);
      // A create that answers with the images ends by itself, and knows which of them have come.
      const graceMs = this.capabilities.resumable ? 0 : 1_000;
      await within(clock, creating, { signal, deadlineAt: deadlineAt + graceMs, onDeadline });
      return true;
    } catch (error) {
      // The slot is held while the create is, though no longer than its call could have been.
      void within(clock, settledCreating, { deadlineAt })
        .catch(() => {})
        .finally(release);
      // A time-out is this task's own; anything else ends the call.
      if (signal.aborted || !isImageError(error) || error instanceof CallbackError) throw error;
      return false;
    }
  }
}

/** In one piece: Node joins a UUID of twenty strings, and would keep them all. */
function newId(): string {
  return Buffer.from(crypto.randomUUID()).toString();
}

/** What a call holds until it ends. */
interface RunningCall {
  readonly job: RunningJob;
  readonly scope: ReturnType<RunningJob["scope"]>;
  readonly saveTo: string | undefined;
  readonly timeoutMs: number;
}

const knownOptions = ["shortapi", "aigptimage", "trinetra", "openai"];

/** Entries of providerOptions that are nobody's we know: misspelt, or another custom provider's. */
function strayOptions(given: object, { name, adapter }: Provider): string[] {
  const known = [...knownOptions, adapter.optionsName ?? name];
  const stray = Object.keys(given).filter((each) => !known.includes(each));
  return stray.map((each) => `providerOptions.${each} was not used: it is not ${name}'s`);
}

function operationOf(request: unknown): Operation {
  const isEdit = typeof request === "object" && request !== null && "images" in request;
  return isEdit && request.images !== undefined ? "edit" : "generate";
}
