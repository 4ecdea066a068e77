import type { InputRule } from "./adapter/contract";
import { ProviderApi } from "./api/api";
import { type Clock, callerSignal, Ending, type EndSignal, within } from "./async/clock";
import { RateLimiter } from "./async/rate-limiter";
import { Semaphore } from "./async/semaphore";
import { inTurn } from "./async/turns";
import type { ClientOptions } from "./client-options";
import { CallbackError, isImageError } from "./errors";
import { Transport } from "./http/transport";
import type { ParsedReference } from "./job/job";
import { Preflight } from "./job/preflight";
import type { Journaling, RecoverOptions } from "./job/recovery";
import { LiveJobs } from "./job/registry";
import { type JobContext, RunningJob, type Scope, type TaskWait } from "./job/running-job";
import type { Settlement } from "./job/settlement";
import type { JobTask } from "./job/task";
import type { ImageSink } from "./media/decoded-image";
import { FileSink } from "./media/file-sink";
import { namesUnder, newId } from "./request/fingerprint";
import type { ResolvedInputs } from "./request/inputs";
import { firstOf, type ParsedCallOptions } from "./request/options";
import type { Plan } from "./request/plan";
import { resolveInputs } from "./request/read-inputs";
import type { ParsedRequest } from "./request/request";
import { ImageDownload } from "./result/image-download";
import { learnedSchedule, sizeClassOf } from "./schedule/learned-schedule";
import { fixedSchedule, isLoopback } from "./schedule/schedule";
import type { ImageJob, ImageResult } from "./types";
import type { Hook, WebhookHints } from "./webhooks/notifications";
import type { Webhooks } from "./webhooks/receiver";

/**
 * All of a client that sends, waits and fetches. It is loaded with the first call that needs it,
 * and with it whatever this client has beside it, so that nothing can be missing once it has paid.
 */
export class Runner {
  readonly #options: ClientOptions;
  readonly #jobs: JobContext;
  readonly #slots: Semaphore;
  readonly #preflight: Preflight;
  /** Jobs that this client works on, by id: `recover` leaves them alone. */
  readonly #live = new LiveJobs();
  #journaling: Journaling | undefined;
  #hints: WebhookHints | undefined;
  /** Creates, and calls whose create brings the image: `close` waits for them. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Aborts when `close` waits no longer. */
  readonly #tearing = new Ending();

  static async load(options: ClientOptions, clock: Clock, closing: EndSignal): Promise<Runner> {
    const runner = new Runner(options, clock, closing);
    await runner.#load().catch((error: unknown) => {
      // A proxy's address that cannot be read is on the error, with the password in it.
      throw runner.#jobs.gateway.safe(error);
    });
    return runner;
  }

  private constructor(options: ClientOptions, clock: Clock, closing: EndSignal) {
    const { provider, timeoutMs, attemptTimeoutMs, onEvent, poll = learnedSchedule() } = options;
    const trustedOrigin = new URL(provider.baseURL).origin;
    const transport = new Transport({ ...options, clock, trustedOrigin });
    this.#options = options;
    this.#slots = new Semaphore(options.concurrency, clock);
    this.#preflight = new Preflight(provider.name, clock, options.journal);
    const sharesAddress = provider.adapter.webhook?.address === "account";
    this.#jobs = {
      ...{ provider, transport, clock, timeoutMs, attemptTimeoutMs, onEvent, closing },
      tearing: this.#tearing,
      underWay: (work) => this.#track(work),
      gateway: new ProviderApi(provider, transport, secretsOf(options)),
      pace: new RateLimiter(clock),
      pollsLocally: options.poll === undefined && isLoopback(provider.baseURL),
      schedule: typeof poll === "number" ? fixedSchedule(poll) : poll,
      backstopMs: sharesAddress ? options.webhooks?.backstopMs : undefined,
      accepted: (job, taskId) => {
        if (this.#remembers) this.#live.add(job, taskId);
        this.#hints?.accepted(taskId);
      },
      vacate: (taskId) => this.#slots.vacate(taskId),
      settled: (job) => {
        if (this.#remembers) this.#live.delete(job);
      },
    };
  }

  async #load(): Promise<void> {
    const { account, journal, webhooks, provider } = this.#options;
    await this.#jobs.transport.prepare();
    const { webhook } = provider.adapter;
    if (journal !== undefined) {
      const { Journaling } = await import("./job/recovery");
      this.#journaling = new Journaling(journal, account, this.#jobs, this.#live);
    }
    if (webhook !== undefined && webhooks !== undefined) {
      const { WebhookHints } = await import("./webhooks/notifications");
      this.#hints = new WebhookHints(webhook, webhooks, {
        live: this.#live,
        closing: this.#jobs.closing,
        isCreating: () => this.#underWay.size > 0,
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

  /** Whether the journal has a record of a job that is this client's own. */
  async holds(reference: ParsedReference): Promise<boolean> {
    return (await this.#journaling?.holds(reference)) ?? false;
  }

  /** Ends what is unknown of a job in the journal. */
  async settle(reference: ParsedReference, settlement: Settlement): Promise<void> {
    await this.#journaling?.settle(reference, settlement);
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
    const opened = await this.#open(plan, options, { resultSaveTo: options.saveTo });
    const queued: Queued = { count: 0, end: new Ending() };
    const call: RunningCall = { ...opened, queued };
    const { job } = call;
    const refusalOf = (task: JobTask) =>
      this.#sendTask(call, task, async (limits) => {
        if (task.accepted) {
          // Nobody has the job yet who could learn its end, and the rest of it may wait for just that.
          if (queued.count > 0) task.wait({ signal: queued.end }).catch(() => {});
          return [];
        }
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

  /** Waits for what is on its way, and tears what is not there by then. */
  async drain(timeoutMs: number): Promise<void> {
    await this.#settled(timeoutMs);
    const late = `What was under way was given up ${timeoutMs} ms after \`close\` was called`;
    this.#tearing.abort(new Error(late));
    // Those who were torn say so, and write it down.
    await this.#settled(tornMs);
  }

  async #settled(withinMs: number): Promise<void> {
    const { clock } = this.#jobs;
    const deadlineAt = clock.now() + withinMs;
    // A function of the caller's that never ends must not hold it for ever.
    await within(clock, Promise.allSettled(this.#underWay), { deadlineAt }).catch(() => {});
  }

  #track(work: Promise<unknown>): void {
    this.#underWay.add(work);
    const forget = () => {
      this.#underWay.delete(work);
    };
    work.then(forget, forget);
  }

  /** The answer to its create is what the caller waits for. */
  get #answersWithImages(): boolean {
    return this.#jobs.provider.adapter.answersWith === "images";
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
    const unsent = idempotencyKey !== undefined && !idempotent && this.#journaling === undefined;
    const signal = call.signal && callerSignal(call.signal);
    const trial = this.#preflight.check(call.saveTo);
    if (trial !== undefined) await within(clock, trial, { signal });
    // Its pages in the journal, where there is one.
    const opening = this.#journaling?.open(plan, idempotencyKey);
    const journaled = opening && (await within(clock, opening, { signal }));
    const taskKey = journaled ? journaled.taskKey : this.#taskKeyUnder(idempotencyKey);
    const mint = idempotent ? newId : () => "";
    const keys = plan.split.map((_, index) => taskKey?.(index) ?? mint());
    const hook = this.#hookFor(plan);
    const tasks = plan.split.map((n, index) => ({
      index,
      n,
      state: "waiting" as const,
      ledger: journaled?.ledgerFor(index),
      key: idempotent ? keys[index] : undefined,
    }));
    const job = new RunningJob(
      {
        id: journaled?.jobId,
        operation,
        quality: typeof fields.quality === "string" ? fields.quality : undefined,
        sizeClass: sizeClassOf({ size: fields.size, resolution: fields.resolution }),
        backstopMs: hook?.isOurs ? this.#options.webhooks?.backstopMs : undefined,
        submittedAt: clock.wallTime(),
        warnings: unsent
          ? [...plan.warnings, `idempotencyKey was not sent: ${provider.name} honours none`]
          : plan.warnings,
        resultSaveTo,
        onSubmitted,
        onEvent,
        metadata,
      },
      tasks,
      this.#jobs,
    );
    if (this.#remembers) this.#live.add(job);
    const stop = job.scope(call.signal);
    // An image that is on its way when the client is closed is the caller's: it was paid for.
    const scope = this.#answersWithImages ? job.scope(call.signal, this.#tearing) : stop;
    const opened = { job, stop, scope, timeoutMs: call.timeoutMs ?? this.#jobs.timeoutMs };
    try {
      stop.throwIfAborted();
      const place = inTurn();
      if (place !== undefined) await within(clock, place, { signal: stop });
      const { inputs: rule } = plan.description;
      const inputs = rule === undefined ? none : await this.#inputs(request, rule, stop);
      for (const task of job.tasks) {
        const { index, n } = task;
        const webhookUrl = hook?.addressFor(job.id, index);
        const sending = { operation, n, key: keys[index] ?? "", ...inputs };
        const given = webhookUrl === undefined ? sending : { webhookUrl, ...sending };
        task.prepare(plan.task.create(given), createSink, call.retryRefused ?? true);
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
      if (this.#answersWithImages) for (const work of works) this.#track(work);
      const result = sumOf(await Promise.all(works));
      endScopes(call);
      return result;
    } catch (error) {
      this.#abandon(call, error);
      throw error;
    }
  }

  /** Ends the creates still waiting when the whole call ends, as when `onSubmitted` throws. */
  #abandon(call: RunningCall, reason: unknown): void {
    call.stop.abort(reason);
    call.scope.abort(reason);
    for (const task of call.job.tasks) task.abandon();
    endScopes(call);
  }

  /** What a caller's key sends with each task, where no journal knows of earlier tries. */
  #taskKeyUnder(idempotencyKey: string | undefined): ((index: number) => string) | undefined {
    if (idempotencyKey === undefined) return undefined;
    const { account, provider } = this.#options;
    const names = namesUnder(idempotencyKey, provider, account);
    return (index) => names.taskKey(index);
  }

  /** Where the images of an answer go while it comes; a journal takes them from memory. */
  #sinkFor(saveTo: string | undefined): (() => ImageSink) | undefined {
    if (saveTo === undefined || this.#journaling !== undefined) return undefined;
    return () => new FileSink(saveTo);
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
      trustedOrigin: new URL(provider.baseURL).origin,
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
    const { timeoutMs, stop, scope: signal } = call;
    const limitsFromNow = () => {
      return { signal, deadlineAt: this.#jobs.clock.now() + timeoutMs, timeoutMs };
    };
    let release: () => void;
    try {
      const slot = this.#slots.acquire(stop);
      release = slot instanceof Promise ? await inQueue(slot, call.queued) : slot;
    } catch (error) {
      if (signal.aborted) throw error;
      // The client is being closed: the tasks that were sent go on, and this one never leaves.
      task.abandon();
      return then(limitsFromNow());
    }
    const limits = limitsFromNow();
    const isAnswered = await this.#create(call, task, limits, release);
    try {
      return await then(limits);
    } finally {
      if (isAnswered) this.#holdOrRelease(call, task, limits.deadlineAt, release);
    }
  }

  /** What was submitted is at the provider still, and nobody may be waiting for it. */
  #holdOrRelease(call: RunningCall, task: JobTask, until: number, release: () => void): void {
    const isThere = call.queued !== undefined && task.id !== undefined && !task.hasEnded;
    if (isThere) this.#slots.hold(task.id, release, until);
    else release();
  }

  /**
   * Creates, and tells the caller. A create that outlives its caller keeps its slot until it has been
   * answered, whether this throws or gives false.
   */
  async #create(
    call: RunningCall,
    task: JobTask,
    { signal, deadlineAt, timeoutMs }: TaskWait & { deadlineAt: number; signal: EndSignal },
    release: () => void,
  ): Promise<boolean> {
    const { clock } = this.#jobs;
    const { job, stop } = call;
    const tear = this.#answersWithImages ? signal : this.#tearing;
    const creating = task.create(stop, deadlineAt, tear).then(() => job.announce(task));
    this.#track(creating);
    try {
      const onDeadline = () => task.giveUp(timeoutMs);
      // A create that answers with the images ends by itself, and knows which of them have come.
      const graceMs = this.#answersWithImages ? 1_000 : 0;
      await within(clock, creating, { signal, deadlineAt: deadlineAt + graceMs, onDeadline });
      return true;
    } catch (error) {
      // Whoever still waits gets what went wrong below; whoever has left heard of it as an event.
      // The slot is held while the create is, though no longer than its call could have been.
      void within(clock, creating, { deadlineAt })
        .catch(() => {})
        .finally(() => this.#holdOrRelease(call, task, deadlineAt, release));
      // A time-out is this task's own; anything else ends the call.
      if (signal.aborted || !isImageError(error) || error instanceof CallbackError) throw error;
      return false;
    }
  }
}

/** How long `close` waits for those that it has torn. */
const tornMs = 1_000;

/** What no provider is sent as it is, and nobody may see all the same. */
function secretsOf({ webhooks }: ClientOptions): readonly string[] {
  return webhooks === undefined ? [] : [webhooks.secret];
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
  /** Nothing is sent after its end. */
  readonly stop: Scope;
  /** Nobody waits after its end: the same one, where nothing that was paid for is lost by that. */
  readonly scope: Scope;
  readonly timeoutMs: number;
  /** Present in a submit, whose jobs keep their slots. */
  readonly queued?: Queued;
}

/** The tasks of a submit that wait for slots. */
interface Queued {
  count: number;
  /** Aborts when none of them waits any more. */
  readonly end: Ending;
}

async function inQueue<Value>(slot: Promise<Value>, queued: Queued | undefined): Promise<Value> {
  if (queued === undefined) return slot;
  queued.count += 1;
  try {
    return await slot;
  } finally {
    queued.count -= 1;
    if (queued.count === 0) queued.end.abort(new Error("no task waits for a slot"));
  }
}

function endScopes({ stop, scope }: RunningCall): void {
  stop.end();
  if (scope !== stop) scope.end();
}
