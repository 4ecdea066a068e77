import type { InputRule } from "./adapter/contract";
import { ProviderApi } from "./api/api";
import {
  type AbortSignalLike,
  type Clock,
  callerSignal,
  LightAbortSignal,
  within,
} from "./async/clock";
import { RateLimiter } from "./async/rate-limiter";
import { Semaphore } from "./async/semaphore";
import { inTurn } from "./async/turns";
import { UnderWay } from "./async/under-way";
import type { ClientOptions } from "./client-options";
import { Transport } from "./http/transport";
import { failureOf } from "./job/assemble";
import { RunningCall } from "./job/call";
import type { ParsedReference } from "./job/job";
import { Preflight } from "./job/preflight";
import type { JournaledJob, Journaling, RecoverOptions } from "./job/recovery";
import { LiveJobs } from "./job/registry";
import { RunningJob, type TaskWait } from "./job/running-job";
import type { ClientServices } from "./job/services";
import type { Settlement } from "./job/settlement";
import type { JobTask } from "./job/task";
import type { ImageSink } from "./media/decoded-image";
import { FileSink } from "./media/file-sink";
import { newId, taskKeyUnder } from "./request/fingerprint";
import type { ResolvedInputs } from "./request/inputs";
import type { ParsedCallOptions } from "./request/options";
import type { Plan } from "./request/plan";
import { resolveInputs } from "./request/read-inputs";
import type { ParsedRequest } from "./request/request";
import { ImageDownload } from "./result/image-download";
import { learnedSchedule, sizeClassOf } from "./schedule/learned-schedule";
import { fixedSchedule, isLoopback } from "./schedule/schedule";
import type { ImageJob, ImageResult } from "./types";
import type { Hook, WebhookNotifications } from "./webhooks/notifications";
import type { Webhooks } from "./webhooks/receiver";

/**
 * All of a client that sends, waits and fetches. It is loaded with the first call that needs it,
 * and with it whatever this client has beside it, so that nothing can be missing once it has paid.
 */
export class Runner {
  readonly #options: ClientOptions;
  readonly #services: ClientServices;
  readonly #preflight: Preflight;
  /** Jobs that this client works on, by id: `recover` leaves them alone. */
  readonly #live = new LiveJobs();
  #journaling: Journaling | undefined;
  #hints: WebhookNotifications | undefined;
  /** Aborts when `close` waits no longer. */
  readonly #tearing = new LightAbortSignal();

  static async load(
    options: ClientOptions,
    clock: Clock,
    closing: AbortSignalLike,
  ): Promise<Runner> {
    const runner = new Runner(options, clock, closing);
    await runner.#load().catch((error: unknown) => {
      // A proxy's address that cannot be read is on the error, with the password in it.
      throw runner.#services.api.safe(error);
    });
    return runner;
  }

  private constructor(options: ClientOptions, clock: Clock, closing: AbortSignalLike) {
    const { provider, timeoutMs, attemptTimeoutMs, onEvent, poll = learnedSchedule() } = options;
    const trustedOrigin = new URL(provider.baseURL).origin;
    const transport = new Transport({ ...options, clock, trustedOrigin });
    this.#options = options;
    this.#preflight = new Preflight(provider.name, clock, options.journal);
    const sharesAddress = provider.adapter.webhook?.address === "account";
    this.#services = {
      ...{ provider, transport, clock, timeoutMs, attemptTimeoutMs, onEvent, closing },
      tearing: this.#tearing,
      underWay: new UnderWay(),
      slots: new Semaphore(options.concurrency, clock),
      api: new ProviderApi(provider, transport, secretsOf(options)),
      pollLimiter: new RateLimiter(clock),
      pollsLocally: options.poll === undefined && isLoopback(provider.baseURL),
      schedule: typeof poll === "number" ? fixedSchedule(poll) : poll,
      backstopMs: sharesAddress ? options.webhooks?.backstopMs : undefined,
    };
  }

  async #load(): Promise<void> {
    const { account, journal, webhooks, provider } = this.#options;
    await this.#services.transport.prepare();
    const { webhook } = provider.adapter;
    if (journal !== undefined) {
      const { Journaling } = await import("./job/recovery");
      this.#journaling = new Journaling(journal, account, this.#services, this.#live);
    }
    if (webhook !== undefined && webhooks !== undefined) {
      const { WebhookNotifications } = await import("./webhooks/notifications");
      this.#hints = new WebhookNotifications(webhook, webhooks, {
        live: this.#live,
        closing: this.#services.closing,
        isCreating: () => !this.#services.underWay.isIdle,
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
    return call.sendAll(
      (task, limits) => job.outcome(task, limits, saveTo),
      (outcomes) => job.assemble(outcomes),
    );
  }

  /** Sends, and waits until every task is accepted, refused or of unknown fate. */
  async submit(plan: Plan, options: ParsedCallOptions): Promise<ImageJob> {
    const call = await this.#open(plan, options, { resultSaveTo: options.saveTo, isSubmit: true });
    const { job } = call;
    const refusalOf = async (task: JobTask, limits: TaskWait) => {
      if (task.progress.isAccepted) return [];
      const outcome = await job.outcome(task, limits, undefined);
      return "error" in outcome ? [outcome.error] : [];
    };
    return call.sendAll(refusalOf, (refusals) => {
      if (options.detached) this.#live.forget(job);
      if (job.tasks.some((task) => task.progress.isAccepted)) return job;
      throw failureOf(refusals.flat(), job);
    });
  }

  /** The job of a reference that is this provider's. */
  resume({ id, operation, submittedAt, tasks }: ParsedReference): RunningJob {
    const sentAt = Date.parse(submittedAt);
    const seeds = tasks.map((task) => ({ ...task, sentAt }));
    const job = new RunningJob({ id, operation, submittedAt: sentAt }, seeds, this.#services);
    if (this.#remembers) this.#live.followWhileAwaited(job);
    return job;
  }

  /** Waits for what is on its way, and tears what is not there by then. */
  async drain(timeoutMs: number): Promise<void> {
    const { clock, underWay } = this.#services;
    await underWay.idle(clock, timeoutMs);
    const late = `What was under way was given up ${timeoutMs} ms after \`close\` was called`;
    this.#tearing.abort(new Error(late));
    // Those who were torn say so, and write it down.
    await underWay.idle(clock, tornMs);
  }

  /**
   * Prepares a call up to its first create. Retains nothing afterwards, nor does a create once it has
   * its response: thousands of calls may wait for minutes.
   */
  async #open(plan: Plan, options: ParsedCallOptions, saving: Saving): Promise<RunningCall> {
    const { clock } = this.#services;
    const { idempotencyKey, saveTo, retryRefused = true } = options;
    const signal = options.signal && callerSignal(options.signal);
    const trial = this.#preflight.check(saveTo);
    if (trial !== undefined) await within(clock, trial, { signal });
    // Its entries in the journal, where there is one.
    const opening = this.#journaling?.open(plan, idempotencyKey);
    const journaled = opening && (await within(clock, opening, { signal }));
    const { account, provider } = this.#options;
    const taskKey = journaled?.taskKey ?? taskKeyUnder(idempotencyKey, provider, account);
    const keys = this.#keysOf(plan, taskKey);
    const hook = this.#hookFor(plan);
    const job = this.#jobOf(plan, options, { saving, journaled, keys, hook });
    const { timeoutMs = this.#services.timeoutMs } = options;
    const call = new RunningCall(job, this.#services, {
      signal: options.signal,
      timeoutMs,
      isSubmit: saving.isSubmit ?? false,
    });
    try {
      call.stop.throwIfAborted();
      const place = inTurn();
      if (place !== undefined) await within(clock, place, { signal: call.stop });
      const rule = plan.description.inputs;
      const inputs = rule === undefined ? none : await this.#inputs(plan.request, rule, call.stop);
      const { createSink } = saving;
      prepare(job, plan, { inputs, keys, hook, createSink, retryRefused });
    } catch (error) {
      call.abandon(error);
      throw error;
    }
    return call;
  }

  /** The job of a plan, with a task for each native request, of which nothing is sent yet. */
  #jobOf(plan: Plan, options: ParsedCallOptions, parts: JobParts): RunningJob {
    const { clock, provider } = this.#services;
    const { fields, operation } = plan.request;
    const { idempotencyKey, onSubmitted, onEvent, metadata } = options;
    const { saving, journaled, keys, hook } = parts;
    const { idempotent } = provider.adapter;
    const isUnsent = idempotencyKey !== undefined && !idempotent && this.#journaling === undefined;
    const seed = {
      id: journaled?.jobId,
      operation,
      quality: typeof fields.quality === "string" ? fields.quality : undefined,
      sizeClass: sizeClassOf({ size: fields.size, resolution: fields.resolution }),
      backstopMs: hook?.isOurs ? this.#options.webhooks?.backstopMs : undefined,
      submittedAt: clock.wallTime(),
      warnings: isUnsent
        ? [...plan.warnings, `idempotencyKey was not sent: ${provider.name} honours none`]
        : plan.warnings,
      resultSaveTo: saving.resultSaveTo,
      onSubmitted,
      onEvent,
      metadata,
    };
    const tasks = plan.split.map((n, index) => ({
      index,
      n,
      state: "waiting" as const,
      entry: journaled?.entryFor(index),
      key: idempotent ? keys[index] : undefined,
    }));
    const job = new RunningJob(seed, tasks, this.#services);
    if (this.#remembers) this.#live.follow(job);
    return job;
  }

  /** The idempotency keys of the tasks: those of the caller's own, or new ones where the provider honours any. */
  #keysOf(plan: Plan, taskKey: ((index: number) => string) | undefined): readonly string[] {
    const mint = this.#services.provider.adapter.idempotent ? newId : () => "";
    return plan.split.map((_, index) => taskKey?.(index) ?? mint());
  }

  /** Where the images of a response go while it comes; a journal takes them from memory. */
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

  #inputs(
    request: ParsedRequest,
    rule: InputRule,
    signal: AbortSignalLike,
  ): Promise<ResolvedInputs> {
    const { clock, provider, transport } = this.#services;
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
}

/** How long `close` waits for those that it has torn. */
const tornMs = 1_000;

/** Values not sent to the provider verbatim that must still be redacted. */
function secretsOf({ webhooks }: ClientOptions): readonly string[] {
  return webhooks === undefined ? [] : [webhooks.secret];
}

const none: ResolvedInputs = { imageUrls: [], imageFiles: [] };

/** Where the images of a call go, and whether it waits for them. */
interface Saving {
  /** While they come. */
  readonly createSink?: (() => ImageSink) | undefined;
  /** Once the result is requested. */
  readonly resultSaveTo?: string | undefined;
  readonly isSubmit?: boolean;
}

/** What a job is made of beside its plan. */
interface JobParts {
  readonly saving: Saving;
  readonly journaled: JournaledJob | undefined;
  readonly keys: readonly string[];
  readonly hook: Hook | undefined;
}

/** Gives each task what its create sends. */
function prepare(
  job: RunningJob,
  { task: planned, request }: Plan,
  parts: {
    readonly inputs: ResolvedInputs;
    readonly keys: readonly string[];
    readonly hook: Hook | undefined;
    readonly createSink: Saving["createSink"];
    readonly retryRefused: boolean;
  },
): void {
  const { operation } = request;
  const { createSink, retryRefused } = parts;
  for (const task of job.tasks) {
    const { index, n } = task.progress;
    const webhookUrl = parts.hook?.addressFor(job.id, index);
    const sending = { operation, n, key: parts.keys[index] ?? "", ...parts.inputs };
    const given = webhookUrl === undefined ? sending : { webhookUrl, ...sending };
    task.prepare({ call: planned.create(given), createSink, retryRefused });
  }
}
