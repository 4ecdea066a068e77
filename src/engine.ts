import { resolve } from "node:path";
import type { ClientOptions } from "./client-options";
import { type Clock, callerSignal, type EndSignal, within } from "./clock";
import type { ImageSink } from "./decoded-image";
import { CallbackError, isImageError } from "./errors";
import { FileSink } from "./file-sink";
import { Gateway } from "./gateway";
import { namesUnder, newId } from "./identity";
import { ImageDownload } from "./image-download";
import type { ResolvedInputs } from "./inputs";
import type { ImageJob, ParsedReference } from "./job";
import type { Journaling, RecoverOptions } from "./journaling";
import { learnedSchedule, sizeClassOf } from "./learned-schedule";
import { LiveJobs } from "./live-jobs";
import { firstOf, type ParsedCallOptions } from "./options";
import { Pace } from "./pace";
import type { Plan } from "./plan";
import type { InputRule, Provider } from "./provider";
import { resolveInputs } from "./read-inputs";
import type { ParsedRequest } from "./request";
import type { ImageResult } from "./result";
import { type JobContext, RunningJob, type Scope, type TaskWait } from "./running-job";
import { fixedSchedule } from "./schedule";
import { Slots } from "./slots";
import type { JobTask } from "./task";
import { Transport } from "./transport";
import { inTurn } from "./turns";
import type { Hook, WebhookHints } from "./webhook-hints";
import type { Webhooks } from "./webhooks";

/**
 * All of a client that sends, waits and fetches. It is loaded with the first call that needs it,
 * and with it whatever this client has beside it, so that nothing can be missing once it has paid.
 */
export class Engine {
  readonly #options: ClientOptions;
  readonly #jobs: JobContext;
  readonly #slots: Slots;
  /** Jobs that this client works on, by id: `recover` leaves them alone. */
  readonly #live = new LiveJobs();
  #journaling: Journaling | undefined;
  #hints: WebhookHints | undefined;
  /** Creates that go on though their callers were released: `close` waits for their answers. */
  readonly #creating = new Set<Promise<void>>();

  static async load(options: ClientOptions, clock: Clock, closing: EndSignal): Promise<Engine> {
    const engine = new Engine(options, clock, closing);
    await engine.#load();
    return engine;
  }

  private constructor(options: ClientOptions, clock: Clock, closing: EndSignal) {
    const { provider, timeoutMs, attemptTimeoutMs, onEvent, poll = learnedSchedule() } = options;
    const trustedHostname = new URL(provider.baseURL).hostname;
    const transport = new Transport({ ...options, clock, trustedHostname });
    this.#options = options;
    this.#slots = new Slots(options.concurrency);
    const sharesAddress = provider.adapter.webhook?.address === "account";
    this.#jobs = {
      ...{ provider, transport, clock, timeoutMs, attemptTimeoutMs, onEvent, closing },
      gateway: new Gateway(provider, transport),
      pace: new Pace(clock),
      schedule: typeof poll === "number" ? fixedSchedule(poll) : poll,
      backstopMs: sharesAddress ? options.webhooks?.backstopMs : undefined,
      accepted: (job, taskId) => {
        if (this.#remembers) this.#live.add(job, taskId);
        this.#hints?.accepted(taskId);
      },
      settled: (job) => {
        if (this.#remembers) this.#live.delete(job);
      },
    };
  }

  async #load(): Promise<void> {
    const { journal, webhooks, provider } = this.#options;
    await this.#jobs.transport.prepare();
    const { webhook } = provider.adapter;
    if (journal !== undefined) {
      const { Journaling } = await import("./journaling");
      this.#journaling = new Journaling(journal, this.#jobs, this.#live);
    }
    if (webhook !== undefined && webhooks !== undefined) {
      const { WebhookHints } = await import("./webhook-hints");
      this.#hints = new WebhookHints(webhook, webhooks, {
        live: this.#live,
        closing: this.#jobs.closing,
        isCreating: () => this.#creating.size > 0,
        find: async (target) => this.#journaling?.find(target) ?? [],
      });
    }
  }

  /** A job is remembered only where something may ask for it by name. */
  get #remembers(): boolean {
    return this.#journaling !== undefined || this.#hints !== undefined;
  }

  /** The receiving end of webhooks, where there is one. */
  get receiver(): Webhooks | undefined {
    return this.#hints?.receiver;
  }

  /** The jobs that the journal keeps. */
  async *recover(options: RecoverOptions): AsyncIterableIterator<ImageJob> {
    if (this.#journaling !== undefined) yield* this.#journaling.recover(options);
  }

  /** Sends, and waits for the pictures. */
  async run(plan: Plan, options: ParsedCallOptions): Promise<ImageResult> {
    const { saveTo } = options;
    const call = await this.#open(plan, options, { createSink: this.#sinkFor(saveTo) });
    const { job } = call;
    const outcomeOf = (task: JobTask) =>
      this.#sendTask(call, task, (limits) => job.outcome(task, limits, saveTo));
    return this.#end(call, job.tasks.map(outcomeOf), (outcomes) => job.assemble(outcomes));
  }

  /** Sends, and waits until every task is accepted, refused or of unknown fate. */
  async submit(plan: Plan, options: ParsedCallOptions): Promise<ImageJob> {
    const call = await this.#open(plan, options, { resultSaveTo: options.saveTo });
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

  /** The job of a reference that is this provider's. */
  resume({ id, operation, submittedAt, tasks }: ParsedReference): RunningJob {
    const sentAt = Date.parse(submittedAt);
    const seeds = tasks.map((task) => ({ ...task, sentAt }));
    return new RunningJob({ id, operation, submittedAt: sentAt }, seeds, {
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

  /** Waits for the creates that are on their way, though no longer than one of them may take. */
  async drain(): Promise<void> {
    const { clock, attemptTimeoutMs } = this.#jobs;
    const deadlineAt = clock.now() + attemptTimeoutMs;
    // A function of the caller's that never ends must not hold it for ever.
    await within(clock, Promise.allSettled(this.#creating), { deadlineAt }).catch(() => {});
  }

  /**
   * Everything before the first create. What it needs ends with it, as does all that each create
   * needs once that was answered: thousands of calls may wait for minutes.
   */
  async #open(
    plan: Plan,
    call: ParsedCallOptions,
    { createSink, resultSaveTo }: Saving,
  ): Promise<RunningCall> {
    const { clock, provider } = this.#jobs;
    const { idempotencyKey, onSubmitted, onEvent, metadata } = call;
    const { idempotent } = provider.adapter;
    const { request } = plan;
    const { fields, operation } = request;
    const stray = strayOptions(request.providerOptions, provider);
    const warnings = stray.length === 0 ? plan.warnings : [...plan.warnings, ...stray];
    const unsent = idempotencyKey !== undefined && !idempotent && this.#journaling === undefined;
    const names = idempotencyKey === undefined ? undefined : namesUnder(idempotencyKey, provider);
    // With a journal the caller's key names the job, so that the same call finds it again.
    const id = this.#journaling && (names?.jobId ?? newId());
    // Its pages in the journal, where there is one.
    const ledgers = id === undefined ? undefined : this.#journaling?.ledgersFor(id, plan);
    const signal = call.signal && callerSignal(call.signal);
    const ledgerFor = ledgers && (await within(clock, ledgers, { signal }));
    const mint = idempotent ? newId : () => "";
    const keys = plan.split.map((_, index) => names?.taskKey(index) ?? mint());
    const hook = this.#hookFor(plan);
    const tasks = plan.split.map((n, index) => ({
      index,
      n,
      state: "waiting" as const,
      ledger: ledgerFor?.(index),
      key: idempotent ? keys[index] : undefined,
    }));
    const job = new RunningJob(
      {
        id,
        operation,
        quality: typeof fields.quality === "string" ? fields.quality : undefined,
        sizeClass: sizeClassOf({ size: fields.size, resolution: fields.resolution }),
        backstopMs: hook?.isOurs ? this.#options.webhooks?.backstopMs : undefined,
        submittedAt: clock.now(),
        warnings: unsent
          ? [...warnings, `idempotencyKey was not sent: ${provider.name} honours none`]
          : warnings,
        resultSaveTo,
        onSubmitted,
        onEvent,
        metadata,
      },
      tasks,
      this.#jobs,
    );
    if (this.#remembers) this.#live.add(job);
    const scope = job.scope(call.signal);
    const opened = { job, scope, timeoutMs: call.timeoutMs ?? this.#jobs.timeoutMs };
    try {
      scope.throwIfAborted();
      const place = inTurn();
      if (place !== undefined) await within(clock, place, { signal: scope });
      const { inputs: rule } = plan.description;
      const inputs = rule === undefined ? none : await this.#inputs(request, rule, scope);
      for (const task of job.tasks) {
        const { index, n } = task;
        const webhookUrl = hook?.addressFor(job.id, index);
        const sending = { operation, n, key: keys[index] ?? "", ...inputs };
        const given = webhookUrl === undefined ? sending : { webhookUrl, ...sending };
        task.prepare(plan.task.create(given), createSink);
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
    scope.abort(reason);
    for (const task of job.tasks) task.abandon();
    scope.end();
  }

  /** Where the images of an answer go while it comes; a journal takes them from memory. */
  #sinkFor(saveTo: string | undefined): (() => ImageSink) | undefined {
    if (saveTo === undefined || this.#journaling !== undefined) return undefined;
    return () => new FileSink(resolve(saveTo));
  }

  /** Where the outcome is to be posted, at a provider that takes the address with the request. */
  #hookFor({ request, description }: Plan): Hook | undefined {
    if (!description.fields.includes("webhookUrl")) return undefined;
    const { webhookUrl } = request.fields;
    const given = typeof webhookUrl === "string" ? webhookUrl : undefined;
    if (this.#hints !== undefined) return this.#hints.hookFor(given);
    return given === undefined ? undefined : { isOurs: false, addressFor: () => given };
  }

  #inputs(request: ParsedRequest, rule: InputRule, signal: EndSignal): Promise<ResolvedInputs> {
    const { clock, provider, transport } = this.#jobs;
    const reading = resolveInputs(request.images, request.mask, {
      ...{ provider: provider.name, rule, upload: this.#options.upload },
      trustedHostname: new URL(provider.baseURL).hostname,
      signal,
      fetchBytes: (url) => {
        const download = new ImageDownload();
        return transport.download(url, (body) => download.bytes(body), { signal });
      },
    });
    return within(clock, reading, { signal });
  }

  /** One task: waits for a slot, creates, tells the caller, and goes on with `then` inside the slot. */
  async #sendTask<Value>(
    call: RunningCall,
    task: JobTask,
    then: (limits: TaskWait) => Promise<Value>,
  ): Promise<Value> {
    const { timeoutMs, scope: signal } = call;
    const slot = this.#slots.acquire(signal);
    const release = slot instanceof Promise ? await slot : slot;
    const limits = { signal, deadlineAt: this.#jobs.clock.now() + timeoutMs, timeoutMs };
    const isAnswered = await this.#create(call.job, task, limits, release);
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
  ): Promise<boolean> {
    const { clock, provider } = this.#jobs;
    const creating = task.create(signal, deadlineAt).then(() => job.announce(task));
    this.#creating.add(creating);
    try {
      const onDeadline = () => task.timeoutError(timeoutMs);
      // A create that answers with the images ends by itself, and knows which of them have come.
      const graceMs = provider.adapter.answersWith === "images" ? 1_000 : 0;
      await within(clock, creating, { signal, deadlineAt: deadlineAt + graceMs, onDeadline });
      this.#creating.delete(creating);
      return true;
    } catch (error) {
      // Whoever still waits gets what went wrong below; whoever has left heard of it as an event.
      const forget = () => {
        this.#creating.delete(creating);
      };
      const settledCreating = creating.then(forget, forget);
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

const none: ResolvedInputs = { imageUrls: [], imageFiles: [] };

/** Where the images of a call go. */
interface Saving {
  /** While they come. */
  readonly createSink?: (() => ImageSink) | undefined;
  /** Once somebody asks for the result. */
  readonly resultSaveTo?: string | undefined;
}

/** What a call holds until it ends. */
interface RunningCall {
  readonly job: RunningJob;
  readonly scope: Scope;
  readonly timeoutMs: number;
}

const knownOptions = ["shortapi", "aigptimage", "trinetra", "openai"];

/** Entries of providerOptions that are nobody's we know: misspelt, or another custom provider's. */
function strayOptions(given: object, { name, adapter }: Provider): string[] {
  const known = [...knownOptions, adapter.optionsName ?? name];
  const stray = Object.keys(given).filter((each) => !known.includes(each));
  return stray.map((each) => `providerOptions.${each} was not used: it is not ${name}'s`);
}
