import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Dispatcher } from "undici";
import { z } from "zod";
import { type Clock, Ending, type EndSignal, inTurn, sleep, systemClock, within } from "./clock";
import type { Cost } from "./cost";
import type { ImageSink } from "./decoded-image";
import {
  CallbackError,
  type ImageError,
  InvalidRequestError,
  isImageError,
  JournalError,
  UnsupportedError,
} from "./errors";
import { FileSink } from "./file-sink";
import { Gateway } from "./gateway";
import { hint } from "./hints";
import { type ResolvedInputs, resolveInputs, type Upload } from "./inputs";
import { type CallOptions, type ImageJob, parseReference } from "./job";
import { type Journal, type JournalRecord, journalRecordSchema } from "./journal";
import { sizeClassOf } from "./learned-schedule";
import { recordId, TaskLedger } from "./ledger";
import { LiveJobs } from "./live-jobs";
import { firstOf, isFunction, parseCallOptions, parseOptions, positive } from "./options";
import { type Plan, planRequest, priceOf } from "./plan";
import type { BoundOperation, InputRule, Provider } from "./provider";
import {
  type EditRequest,
  type GenerateRequest,
  type ImageInput,
  type ImageRequest,
  isLoadable,
  isLocalFile,
  type Operation,
  type ParsedRequest,
} from "./request";
import type { ImageResult } from "./result";
import { type JobContext, RunningJob, type TaskWait } from "./running-job";
import { defaultSchedule, fixedSchedule, type PollSchedule } from "./schedule";
import { Slots } from "./slots";
import type { JobTask } from "./task";
import { bytesOf, Transport } from "./transport";
import {
  type WebhookOptions,
  WebhookReceiver,
  type Webhooks,
  type WebhookTarget,
} from "./webhooks";

/** What one operation of a provider takes. */
export interface OperationCapabilities {
  /** The portable fields that are taken, beside `n` and the inputs. */
  readonly fields: readonly string[];
  /** How many images one native request yields; a larger `n` is split into tasks. */
  readonly maxImagesPerTask: number;
  /** For an edit: what is taken of images. */
  readonly inputs?: InputRule;
}

/** What a client's provider can do. */
export interface Capabilities {
  /** Whether a job can be resumed; false where the answer to the create is the image itself. */
  readonly resumable: boolean;
  /** Whether the provider honours an idempotency key. */
  readonly idempotent: boolean;
  readonly generate: OperationCapabilities;
  /** Absent where the provider cannot edit. */
  readonly edit?: OperationCapabilities;
}

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

/** What happens to records that are not handed out. */
export interface RecoverOptions {
  /** Settled jobs that ended longer ago than this, in milliseconds, are let go. Default: 30 days. */
  readonly retentionMs?: number;
  /** Hears of what cannot be read as a record; it is left where it is. Default: a process warning. */
  readonly onSkipped?: (id: string, reason: string) => unknown;
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

/** What a client is made of. */
export interface ImageClientOptions {
  /** Whose service it is, such as `trinetra()`. */
  readonly provider: Provider;
  /** Replaces the built-in transport. Not together with `dispatcher`. */
  readonly fetch?: typeof globalThis.fetch;
  /** Your own undici `Dispatcher`, called by its own `request` and never closed here. */
  readonly dispatcher?: Dispatcher;
  /** Milliseconds from the sending of a create until it is settled; waiting for a slot does not count. Default 600,000. */
  readonly timeoutMs?: number;
  /** Milliseconds for one poll, for a download's silence, and for a create that answers with a job. Default 60,000. */
  readonly attemptTimeoutMs?: number;
  /** How many tasks of this client are at the provider at once; the rest wait in order. Default: no limit. */
  readonly concurrency?: number;
  /** Milliseconds between polls, or a schedule. Default: a tenth of the job's age, from 1 s to 5 s. */
  readonly poll?: number | PollSchedule;
  /** What to do with a field that the provider cannot serve. Default `"error"`; `"omit"` leaves it out and warns. */
  readonly onUnsupported?: "error" | "omit";
  /** Puts bytes at a URL, for providers that take input images by URL alone. */
  readonly upload?: Upload;
  /** Hears what happens in every call. What it throws is ignored. */
  readonly onEvent?: CallOptions["onEvent"];
  /**
   * Where jobs outlive the process, such as `directoryJournal("./.images")`. With one, every create
   * is written down before it leaves, images are kept before `generate` resolves, and
   * {@link ProviderImageClient.recover} finds them again.
   */
  readonly journal?: Journal;
  /** How to learn of ends by webhook, at a provider that posts them. Polling slows down and goes on. */
  readonly webhooks?: WebhookOptions;
  /** Lets result URLs lead to private addresses. Default false. */
  readonly allowPrivateNetwork?: boolean;
  /** The largest JSON answer that is read, in bytes. Default 64 MiB. */
  readonly maxAnswerBytes?: number;
  /** The largest image that is fetched, in bytes. Default 256 MiB. */
  readonly maxDownloadBytes?: number;
}

const mebibyte = 1024 * 1024;

const optionsSchema = z
  .strictObject(
    {
      provider: z.custom<Provider>(
        (value) => typeof value === "object" && value !== null && "adapter" in value,
        "a provider such as trinetra()",
      ),
      fetch: z.custom<typeof globalThis.fetch>(isFunction, "a function like fetch").optional(),
      dispatcher: z
        .custom<Dispatcher>(
          (value) => typeof value === "object" && value !== null && "request" in value,
          "an undici Dispatcher",
        )
        .optional(),
      timeoutMs: positive("milliseconds, more than 0").default(600_000),
      attemptTimeoutMs: positive("milliseconds, more than 0").default(60_000),
      concurrency: z
        .union(
          [z.int().min(1), z.literal(Number.POSITIVE_INFINITY)],
          "a whole number of at least 1",
        )
        .default(Number.POSITIVE_INFINITY),
      poll: z
        .union(
          [
            z.number().min(0),
            z.custom<PollSchedule>(
              (value) => typeof value === "object" && value !== null && "next" in value,
            ),
          ],
          "milliseconds, or a schedule with next()",
        )
        .optional(),
      onUnsupported: z.enum(["error", "omit"], '"error" or "omit"').default("error"),
      upload: z.custom<Upload>(isFunction, "a function").optional(),
      onEvent: z.custom<CallOptions["onEvent"]>(isFunction, "a function").optional(),
      journal: z
        .custom<Journal>(
          (value) => typeof value === "object" && value !== null && "create" in value,
          "a journal such as directoryJournal(path)",
        )
        .optional(),
      webhooks: z
        .strictObject(
          {
            url: z.url({ protocol: /^https?$/, error: "an http(s) URL" }).optional(),
            secret: z.string("at least 16 characters").min(16, "at least 16 characters"),
            onSettled: z.custom<WebhookOptions["onSettled"]>(isFunction, "a function").optional(),
            backstopMs: positive("milliseconds, more than 0").default(30_000),
          },
          "an object with a secret",
        )
        .optional(),
      allowPrivateNetwork: z.boolean("true or false").default(false),
      maxAnswerBytes: positive("bytes, more than 0").default(64 * mebibyte),
      maxDownloadBytes: positive("bytes, more than 0").default(256 * mebibyte),
    },
    "an object with a provider",
  )
  .refine((options) => options.fetch === undefined || options.dispatcher === undefined, {
    path: ["dispatcher"],
    message: "either `fetch` or `dispatcher`",
  });

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
  readonly #planning: Parameters<typeof planRequest>[2];
  readonly #jobs: JobContext;
  readonly #slots: Slots;
  readonly #closing = new Ending();
  readonly #journal: Journal | undefined;
  /** Jobs that this client works on, by id: `recover` leaves them alone. */
  readonly #live = new LiveJobs();
  readonly #remembers: boolean;
  /** Those of them that a webhook has brought back from the journal, and that nobody was given. */
  readonly #unheld = new Set<RunningJob>();
  /** Names that webhooks gave, and that no job here had, while creates were on their way. */
  readonly #early = new Set<string>();
  /** Those that `onSettled` was told of, or did not have to be. */
  readonly #told = new WeakSet<RunningJob>();
  readonly #webhooks: z.output<typeof optionsSchema>["webhooks"];
  #scanning: Promise<readonly JournalRecord[]> | undefined;
  #scannedAt = 0;
  readonly #receiver: WebhookReceiver | undefined;
  /** Creates that go on though their callers were released: `close` waits for their answers. */
  readonly #creating = new Set<Promise<void>>();

  constructor(given: ImageClientOptions, clock: Clock) {
    const options = parseOptions(optionsSchema, given, "options");
    const { provider, timeoutMs, attemptTimeoutMs, onEvent, poll = defaultSchedule } = options;
    const trustedHostname = new URL(provider.baseURL).hostname;
    const transport = new Transport({ ...options, clock, trustedHostname });
    // Every call listens for the end of its client: a hundred calls are no leak.
    this.name = provider.name;
    this.capabilities = capabilitiesOf(provider);
    this.#provider = provider;
    this.#planning = options;
    this.#journal = options.journal;
    this.#webhooks = options.webhooks;
    const description = provider.adapter.webhook;
    if (description !== undefined && options.webhooks !== undefined) {
      this.#receiver = new WebhookReceiver(description, options.webhooks.secret, (target) =>
        this.#notice(target),
      );
    }
    // A job is remembered only where something may ask for it by name.
    this.#remembers = options.journal !== undefined || this.#receiver !== undefined;
    this.#slots = new Slots(options.concurrency);
    this.#jobs = {
      ...{ provider, transport, clock, timeoutMs, attemptTimeoutMs, onEvent },
      gateway: new Gateway(provider, transport),
      schedule: typeof poll === "number" ? fixedSchedule(poll) : poll,
      closing: this.#closing,
      backstopMs: description?.address === "account" ? options.webhooks?.backstopMs : undefined,
      accepted: (job, taskId) => {
        if (this.#remembers) this.#live.add(job, taskId);
        if (this.#early.delete(taskId)) this.#notice({ taskId });
      },
      settled: (job) => {
        this.#live.delete(job);
        this.#unheld.delete(job);
      },
    };
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
    if (this.#receiver !== undefined) return this.#receiver;
    const facts = { provider: this.name, charged: "no", field: "options.webhooks" } as const;
    if (this.#provider.adapter.webhook === undefined) {
      throw new UnsupportedError({ ...facts, given: "a webhook", taken: "none: it posts nothing" });
    }
    throw new InvalidRequestError({ ...facts, given: "nothing", taken: "an object with a secret" });
  }

  /** The address that goes with a request, at a provider that takes one. */
  #hookFor({ request, description }: Plan): Hook | undefined {
    if (!description.fields.includes("webhookUrl")) return undefined;
    const { webhookUrl } = request.fields;
    const url = this.#webhooks?.url;
    if (typeof webhookUrl !== "string")
      return url === undefined ? undefined : { url, isOurs: true };
    // A token is for our own receiver, and goes to nobody else.
    const isOurs = url !== undefined && new URL(webhookUrl).origin === new URL(url).origin;
    return { url: webhookUrl, isOurs };
  }

  /** Anybody can call a webhook: it says where to look, and nothing else. */
  #notice(target: WebhookTarget): void {
    this.#settleNoticed(target).catch(() => {
      // The query failed or the journal could not be read: the polling, or `recover`, comes by later.
    });
  }

  async #settleNoticed(target: WebhookTarget): Promise<void> {
    const live = this.#live.find(target);
    if (live.length === 0 && "taskId" in target) this.#rememberEarly(target.taskId);
    const jobs = live.length > 0 ? live : await this.#journaled(target);
    const concerned = jobs.flatMap((job) =>
      job.tasks.filter((task) =>
        "taskId" in target ? task.id === target.taskId : task.index === target.index,
      ),
    );
    await Promise.allSettled(concerned.map((task) => hint(task, this.#closing)));
    const settled = jobs.filter((job) => job.isSettled && !this.#told.has(job));
    for (const job of settled) this.#told.add(job);
    const [job] = settled;
    if (job !== undefined && settled.every((each) => each.endedUnattended)) this.#tell(job);
  }

  /** The answer to a create that is on its way may bring this very name: a quick job calls first. */
  #rememberEarly(taskId: string): void {
    if (this.#creating.size === 0) this.#early.clear();
    if (this.#creating.size === 0 || taskId.length > longestName) return;
    this.#early.add(taskId);
    // Anybody can call: the oldest goes.
    const [oldest] = this.#early;
    if (this.#early.size > mostEarly && oldest !== undefined) this.#early.delete(oldest);
  }

  #tell(job: ImageJob): void {
    try {
      Promise.resolve(this.#webhooks?.onSettled?.(job)).catch(() => {});
    } catch {
      // As promised in the documentation of `onSettled`.
    }
  }

  /** The job of a record that waits for an answer and that nobody in this process works on. */
  async #journaled(target: WebhookTarget): Promise<readonly RunningJob[]> {
    const wanted = (record: JournalRecord) =>
      record.state === "submitted" &&
      ("taskId" in target
        ? record.taskId === target.taskId
        : record.jobId === target.jobId && record.index === target.index);
    const records = await this.#scan();
    const found = records.find(wanted);
    if (found === undefined) return [];
    // The records were read for a while: this one may have been settled meanwhile.
    const newest = journalRecordSchema.safeParse(await this.#journal?.read(found.id));
    if (!newest.success || !wanted(newest.data)) return [];
    const live = this.#live.find({ jobId: found.jobId, index: found.index });
    if (live.length > 0) return live;
    const job = this.#restore(records.filter((record) => record.jobId === found.jobId));
    if (job === undefined) return [];
    this.#unheld.add(job);
    return [job];
  }

  /** All records, read at most once a second however many calls come in. */
  #scan(): Promise<readonly JournalRecord[]> {
    if (this.#journal === undefined) return Promise.resolve([]);
    if (this.#scanning === undefined) {
      const { clock } = this.#jobs;
      const delayMs = Math.max(0, this.#scannedAt + scanGapMs - clock.now());
      this.#scanning = sleep(clock, delayMs, this.#closing).then(async () => {
        this.#scannedAt = clock.now();
        // Whoever comes from here on may be about a record that this scan misses.
        this.#scanning = undefined;
        const records: JournalRecord[] = [];
        for await (const record of this.#records(() => {})) records.push(record);
        return records;
      });
    }
    return this.#scanning;
  }

  async *recover(options: RecoverOptions = {}): AsyncIterableIterator<ImageJob> {
    const { retentionMs = 30 * 24 * 60 * 60 * 1000, onSkipped = warnOfSkipped } = options;
    if (this.#journal === undefined) return;
    const jobs = new Map<string, JournalRecord[]>();
    const unreadable = new Set<string>();
    const skip: typeof onSkipped = (id, reason) => {
      unreadable.add(id);
      return onSkipped(id, reason);
    };
    for await (const record of this.#records(skip)) {
      jobs.set(record.jobId, [...(jobs.get(record.jobId) ?? []), record]);
    }
    for (const [id, records] of jobs) {
      const live = this.#live.byJobId(id);
      // One that a webhook has asked after in vain, or that a call gave up on, is in nobody's hands.
      if (live !== undefined && !this.#unheld.delete(live) && !live.isGivenUp) continue;
      const job = live ?? this.#restore(records, unreadable);
      if (job === undefined) continue;
      const expired = records.every((record) => this.#isExpired(record, retentionMs));
      if (expired) await job.release();
      else yield job;
    }
  }

  #isExpired(
    { state, submittedAt, settledAt = submittedAt }: JournalRecord,
    retentionMs: number,
  ): boolean {
    const settled = state === "succeeded" || state === "failed";
    return settled && this.#jobs.clock.now() - Date.parse(settledAt) > retentionMs;
  }

  async *#records(
    onSkipped: NonNullable<RecoverOptions["onSkipped"]>,
  ): AsyncIterableIterator<JournalRecord> {
    const { name, baseURL } = this.#provider;
    try {
      for await (const { id, record } of this.#journal?.list() ?? []) {
        const parsed = journalRecordSchema.safeParse(record);
        if (!parsed.success || parsed.data.id !== id) {
          onSkipped(id, "it is no record of this version");
        } else if (parsed.data.provider === name && parsed.data.baseURL === baseURL) {
          yield parsed.data;
        }
      }
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      throw new JournalError({ provider: name, charged: "no", detail, cause });
    }
  }

  #restore(
    records: readonly JournalRecord[],
    unreadable: ReadonlySet<string> = new Set(),
  ): RunningJob | undefined {
    const [first] = records;
    const journal = this.#journal;
    if (first === undefined || journal === undefined) return undefined;
    const { jobId, split, operation, provider, baseURL, requestDigest } = first;
    const facts = { jobId, split, operation, provider, baseURL, requestDigest };
    const submittedAt = Date.parse(first.submittedAt);
    const sentAt = submittedAt;
    const ledgers = records.map(
      (record) => new TaskLedger(journal, this.#jobs.clock, facts, record.index, record),
    );
    // A marker is there before anything leaves: a task without one was never sent, unless what
    // stands there cannot be read, or the process that has the others is still at it.
    const isOpen = ledgers.some((ledger) => ledger.isOwnedElsewhere);
    const tasks = split.map((n, index) => {
      const ledger = ledgers.find((each) => each.record?.index === index);
      const { key } = ledger?.record ?? {};
      if (ledger !== undefined) return { index, n, state: "unknown" as const, key, sentAt, ledger };
      const isUnsent = !isOpen && !unreadable.has(recordId(jobId, index));
      return { index, n, state: isUnsent ? ("refused" as const) : ("unknown" as const), sentAt };
    });
    const job = new RunningJob({ id: jobId, operation, submittedAt, tasks }, this.#jobs);
    if (!job.isSettled) this.#live.add(job, ...job.tasks.flatMap((task) => task.id ?? []));
    return job;
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
    return planRequest(operation, request, this.#planning);
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
    if (idempotencyKey !== undefined && !idempotent && this.#journal === undefined) {
      warnings.push(`idempotencyKey was not sent: ${this.name} honours none`);
    }
    warnings.push(...strayOptions(plan.request.providerOptions, this.#provider));
    const keys = plan.split.map((_, index) => taskKey(idempotencyKey, index));
    const id = this.#jobId(idempotencyKey);
    const ledger = await within(clock, this.#ledgers(id, plan), { signal: call.signal });
    const hook = this.#hookFor(plan);
    const { fields } = plan.request;
    const { backstopMs } = this.#webhooks ?? {};
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
          ledger: ledger?.(index),
          ...(idempotent && { key: keys[index] ?? "" }),
        })),
        ...(hook?.isOurs && { backstopMs }),
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
        const webhookUrl = hook?.isOurs
          ? this.#receiver?.addressFor(hook.url, job.id, index)
          : hook?.url;
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
    if (saveTo === undefined || this.#journal !== undefined) return undefined;
    return () => new FileSink(resolve(saveTo));
  }

  /** With a journal the caller's key names the job, so that the same call finds it again. */
  #jobId(idempotencyKey: string | undefined): string {
    if (this.#journal === undefined || idempotencyKey === undefined) return newId();
    const { name, baseURL } = this.#provider;
    return digestOf([name, baseURL, idempotencyKey]).slice(0, 32);
  }

  async #ledgers(jobId: string, plan: Plan): Promise<((index: number) => TaskLedger) | undefined> {
    const journal = this.#journal;
    if (journal === undefined) return undefined;
    const { name: provider, baseURL } = this.#provider;
    const { split, request } = plan;
    const { operation } = request;
    const ownOptions = request.providerOptions[this.#provider.adapter.optionsName ?? provider];
    const requestDigest = await digestOfRequest(request, ownOptions);
    const facts = { jobId, provider, baseURL, operation, split, requestDigest };
    return (index) => new TaskLedger(journal, this.#jobs.clock, facts, index);
  }

  async #inputs({ request, description }: Plan, signal: EndSignal): Promise<ResolvedInputs> {
    const { inputs: rule } = description;
    if (rule === undefined) return { imageUrls: [], imageFiles: [] };
    const { transport } = this.#jobs;
    return resolveInputs(request.images, request.mask, {
      ...{ provider: this.name, rule, upload: this.#planning.upload },
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

/** A longer name is no provider's. */
const longestName = 256;

/** How many unknown names of webhooks are remembered while creates are on their way. */
const mostEarly = 1_000;

/** How often the journal may be read through because of webhooks. */
const scanGapMs = 1_000;

/** Where the provider shall post the outcome; an address of ours gets a token for each task. */
interface Hook {
  readonly url: string;
  readonly isOurs: boolean;
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

function capabilitiesOf({ adapter }: Provider): Capabilities {
  const { generate, edit } = adapter.operations;
  return {
    resumable: adapter.answersWith === "job",
    idempotent: adapter.idempotent,
    generate: operationCapabilities(generate),
    ...(edit !== undefined && { edit: operationCapabilities(edit) }),
  };
}

function operationCapabilities(operation: BoundOperation): OperationCapabilities {
  const { fields, maxImagesPerTask, dimensions, inputs } = operation;
  const translated = dimensions === undefined ? [] : ["size", "aspectRatio"];
  const sized = dimensions?.by === "size" || dimensions?.resolutions !== undefined;
  return {
    fields: [...new Set([...fields, ...translated, ...(sized ? ["resolution"] : [])])],
    maxImagesPerTask,
    ...(inputs !== undefined && { inputs }),
  };
}

/** A key of a task's own: minted once, or the same for the same key of the caller's. */
function taskKey(idempotencyKey: string | undefined, index: number): string {
  if (idempotencyKey === undefined) return newId();
  // Hashed, since a caller's key may hold what no header can.
  return digestOf([index, idempotencyKey]).slice(0, 32);
}

/** In one piece: Node joins a UUID of twenty strings, and would keep them all. */
function newId(): string {
  return Buffer.from(randomUUID()).toString();
}

function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortedKeys)).digest("hex");
}

/** The same value gives the same text, in whichever order its keys were written. */
function sortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Tells one request from another: by its fields, and by the content of the images that go in. */
async function digestOfRequest(request: ParsedRequest, options: unknown): Promise<string> {
  const { operation, n, fields, images, mask } = request;
  const inputs = await Promise.all([...images, ...(mask === undefined ? [] : [mask])].map(nameOf));
  return digestOf([operation, n, fields, inputs, mask !== undefined, options ?? {}]);
}

async function nameOf(input: ImageInput): Promise<string> {
  if (typeof input === "string" || input instanceof URL) return String(input);
  try {
    if (isLocalFile(input)) return digestOfBytes(await readFile(input.path));
    if (isLoadable(input)) return digestOfBytes(await input.bytes());
  } catch {
    // It is read once more to be sent, and what is wrong with it is said there, by name.
    return "unreadable";
  }
  return digestOfBytes(input instanceof Blob ? new Uint8Array(await input.arrayBuffer()) : input);
}

function digestOfBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function warnOfSkipped(id: string, reason: string): void {
  process.emitWarning(`The journal's ${id} was skipped: ${reason}`);
}
