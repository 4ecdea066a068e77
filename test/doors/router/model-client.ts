import {
  AuthenticationError,
  type CallOptions,
  type Charged,
  type Cost,
  GenerationFailedError,
  type ImageClient,
  type ImageError,
  type ImageEvent,
  type ImageJob,
  type ImageRequest,
  type ImageResult,
  InsufficientCreditsError,
  InvalidRequestError,
  type JobReference,
  ModerationError,
  type Operation,
  ProviderUnavailableError,
  RateLimitError,
  SubmissionUnknownError,
  TimeoutError,
  UnsupportedError,
} from "gpt-image-client";
import type { SimClock } from "./sim-clock";

/** What becomes of a create. */
export type Fate =
  | { readonly kind: "ok"; readonly durationMs: number; readonly cost?: Cost }
  | { readonly kind: "refused"; readonly error: ImageError; readonly delayMs?: number }
  /** The response is lost; whether it was taken is known here alone. */
  | { readonly kind: "lost"; readonly isTaken: boolean; readonly delayMs?: number }
  /** Taken, and failed without a bill. */
  | { readonly kind: "failed"; readonly durationMs: number; readonly error?: ImageError };

/** A purchase, as the provider would bill it. */
export interface Purchase {
  readonly client: string;
  /** The `metadata` of the call: which order it was. */
  readonly order: unknown;
  /** The key that its client was given. */
  readonly key: string | undefined;
  readonly job: string;
  readonly images: number;
  readonly at: number;
  readonly price: number;
}

export interface ModelOptions {
  readonly name: string;
  readonly clock: SimClock;
  readonly fate?: (call: { readonly request: ImageRequest; readonly at: number }) => Fate;
  readonly price?: Cost;
  /** Whether it answers with a job; otherwise with the images. Default true. */
  readonly hasJobs?: boolean;
  /** Whether the same key buys once. */
  readonly honoursKeys?: boolean;
  readonly cannot?: (request: ImageRequest) => string | undefined;
  /** Shared by the clients of several processes. */
  readonly provider?: ModelProvider;
  readonly onAsked?: (options: CallOptions) => void;
}

/** What a provider knows, whichever client asks. */
export class ModelProvider {
  readonly jobs = new Map<string, Job>();
  readonly keys = new Map<string, string>();
  readonly purchases: Purchase[] = [];
  count = 0;
}

interface Job {
  readonly reference: JobReference;
  readonly images: number;
  readonly end: Promise<Fate>;
  readonly order: unknown;
}

const facts = (provider: string, charged: Charged) => ({ provider, charged });

/** Errors as a provider's own client makes them, nothing charged. */
export const refusals = {
  rateLimited: (provider: string, retryAfterMs?: number) =>
    new RateLimitError({ ...facts(provider, "no"), retryAfterMs }),
  unavailable: (provider: string) => new ProviderUnavailableError(facts(provider, "no")),
  empty: (provider: string) => new InsufficientCreditsError(facts(provider, "no")),
  locked: (provider: string) => new AuthenticationError(facts(provider, "no")),
  moderated: (provider: string) => new ModerationError(facts(provider, "no")),
  invalid: (provider: string) => new InvalidRequestError(facts(provider, "no")),
  failed: (provider: string) =>
    new GenerationFailedError({ ...facts(provider, "no"), transient: true }),
};

/** A provider and its client in one, on a clock that jumps; it counts what it would bill. */
export class ModelClient implements ImageClient {
  readonly name: string;
  /** When it was asked. */
  readonly asked: number[] = [];
  /** Time-outs that it was given. */
  readonly timeouts: (number | undefined)[] = [];
  readonly requests: ImageRequest[] = [];
  readonly #options: ModelOptions;
  readonly #clock: SimClock;
  readonly #provider: ModelProvider;

  constructor(options: ModelOptions) {
    this.name = options.name;
    this.#options = options;
    this.#clock = options.clock;
    this.#provider = options.provider ?? new ModelProvider();
  }

  get purchases(): Purchase[] {
    return this.#provider.purchases;
  }

  get capabilities() {
    const operation = { fields: ["prompt", "size"], maxImagesPerTask: 10 };
    const { hasJobs = true, honoursKeys = false } = this.#options;
    return { resumable: hasJobs, idempotent: honoursKeys, generate: operation, edit: operation };
  }

  check(request: ImageRequest): readonly ImageError[] {
    const lacks = this.#options.cannot?.(request);
    if (lacks === undefined) return [];
    const { name: provider } = this;
    const taken = `no \`${lacks}\``;
    return [new UnsupportedError({ provider, charged: "no", field: lacks, given: "one", taken })];
  }

  estimate(request: ImageRequest): Cost | undefined {
    const { price } = this.#options;
    return price && { ...price, amount: price.amount * (request.n ?? 1), basis: "list" };
  }

  generate(request: ImageRequest, options: CallOptions = {}): Promise<ImageResult> {
    return this.#order("generate", request, options);
  }

  edit(request: ImageRequest, options: CallOptions = {}): Promise<ImageResult> {
    return this.#order("edit", request, options);
  }

  async submit(request: ImageRequest, options: CallOptions = {}): Promise<ImageJob> {
    const job = await this.#create("generate", request, options);
    if (this.#options.hasJobs === false) await this.#result(job, options);
    else void this.#result(job, options).catch(() => {});
    return this.#face(job);
  }

  resume(reference: unknown): ImageJob {
    const job = this.#provider.jobs.get((reference as JobReference).id);
    if (job === undefined || this.#options.hasJobs === false) {
      const field = "reference.provider";
      throw new InvalidRequestError({ provider: this.name, charged: "no", field });
    }
    return this.#face(job);
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}

  async #order(
    operation: Operation,
    request: ImageRequest,
    options: CallOptions,
  ): Promise<ImageResult> {
    const job = await this.#create(operation, request, options);
    return this.#result(job, options);
  }

  /** Sends, and hears whether it was taken. */
  async #create(operation: Operation, request: ImageRequest, options: CallOptions): Promise<Job> {
    const { idempotencyKey: key, signal } = options;
    signal?.throwIfAborted();
    const { fate = () => ok, honoursKeys, onAsked } = this.#options;
    onAsked?.(options);
    this.asked.push(this.#clock.now());
    this.timeouts.push(options.timeoutMs);
    this.requests.push(request);
    const known =
      key === undefined ? undefined : this.#provider.jobs.get(this.#provider.keys.get(key) ?? "");
    if (honoursKeys && known !== undefined) {
      const end = await Promise.race([known.end, undefined]);
      if (end?.kind !== "failed") return known;
    }
    const id = `${this.name}-${++this.#provider.count}`;
    const tell = (event: object) =>
      options.onEvent?.({
        ...{ provider: this.name, jobId: id, task: 0, at: this.#clock.wallTime() },
        ...(event as { type: "submitting" }),
      } satisfies ImageEvent);
    tell({ type: "submitting" });
    const what = fate({ request, at: this.#clock.now() });
    const n = request.n ?? 1;
    const isTaken = what.kind === "lost" ? what.isTaken : what.kind === "ok";
    if (isTaken) {
      const price = (this.#options.price?.amount ?? 1) * n;
      const order = options.metadata;
      const at = this.#clock.now();
      this.purchases.push({ client: this.name, order, key, job: id, images: n, at, price });
    }
    const reference: JobReference = {
      ...{ v: 1, id, provider: this.name, baseURL: `https://${this.name}.test`, operation },
      submittedAt: new Date(this.#clock.wallTime()).toISOString(),
      tasks: [{ index: 0, n, id: `task-${id}`, state: "running" }],
    };
    const durationMs = "durationMs" in what ? what.durationMs : 0;
    const { hasJobs = true } = this.#options;
    const end = this.#clock.sleep(50 + durationMs).then(() => what);
    const job: Job = { reference, images: n, order: options.metadata, end };
    if (what.kind === "refused") {
      await this.#clock.sleep(what.delayMs ?? 50);
      throw what.error;
    }
    // Before its response: a second one under the key meets it.
    if (isTaken || what.kind === "failed") {
      this.#provider.jobs.set(id, job);
      if (key !== undefined) this.#provider.keys.set(key, id);
    }
    if (what.kind === "lost") {
      await this.#clock.sleep(what.delayMs ?? 50);
      if (honoursKeys && key !== undefined && isTaken) return job;
      throw new SubmissionUnknownError(facts(this.name, "unknown"));
    }
    await this.#clock.sleep(50);
    if (hasJobs) {
      tell({ type: "submitted", id: `task-${id}` });
      await options.onSubmitted?.(this.#face(job));
    }
    return job;
  }

  /** Waits for the end, within the time-out. */
  async #result(job: Job, { timeoutMs = 600_000, signal, onEvent }: CallOptions) {
    let cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      const provider = this.name;
      const face = this.#face(job);
      cancel = this.#clock.after(timeoutMs, () =>
        reject(new TimeoutError({ ...facts(provider, "unknown"), timeoutMs, job: face })),
      );
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
    try {
      const end = await Promise.race([job.end, late]);
      const { id: jobId } = job.reference;
      const base = { provider: this.name, jobId, task: 0, at: this.#clock.wallTime() };
      if (end.kind === "failed") {
        const error = end.error ?? refusals.failed(this.name);
        onEvent?.({ ...base, type: "failed", error });
        throw error;
      }
      const cost = end.kind === "ok" ? end.cost : undefined;
      onEvent?.({ ...base, type: "succeeded", images: job.images, ...(cost && { cost }) });
      return this.#pictures(job, cost);
    } finally {
      cancel();
    }
  }

  #pictures(job: Job, cost: Cost | undefined): ImageResult {
    // Nobody looks at them here.
    const images = Array.from({ length: job.images }, () => ({ warnings: [] }));
    return {
      ...{ image: images[0], images, failures: [], provider: this.name, job: this.#face(job) },
      ...{ raw: [], warnings: [], toJSON: () => ({}) },
      ...(cost !== undefined && { cost }),
      timing: { submittedAt: new Date(0), completedAt: new Date(0), durationMs: 0, polls: 0 },
    } as unknown as ImageResult;
  }

  #face(job: Job): ImageJob {
    const { reference } = job;
    return {
      ...{ id: reference.id, provider: this.name, reference, toJSON: () => reference },
      status: async () => ({ state: "running", settled: false, tasks: reference.tasks }),
      result: async (options) => {
        const result = await this.#result(job, { ...options });
        return result;
      },
      release: async () => {
        for (const [key, id] of this.#provider.keys)
          if (id === reference.id) this.#provider.keys.delete(key);
      },
      async *events() {},
    };
  }
}

export const ok: Fate = { kind: "ok", durationMs: 10_000 };

/** One fate after another, and then the last. */
export function fates(...all: readonly Fate[]): () => Fate {
  let next = 0;
  return () => all[Math.min(next++, all.length - 1)] ?? ok;
}
