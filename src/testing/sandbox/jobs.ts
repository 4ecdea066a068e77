import type { SandboxFault } from "./fault-types";
import type { SandboxResponse } from "./http";
import type { PictureFormat } from "./media";
import { draw, drawPartial } from "./pictures";
import type { SandboxProvider } from "./targets";
import type { SandboxCharge, SandboxJobState } from "./types";

/** How a job failed. */
export interface Failure {
  readonly moderated: boolean;
  readonly message?: string;
  readonly refunded: boolean;
  readonly stage: "input" | "output";
  readonly categories: readonly string[];
}

/** A job as a provider's response tells of it. */
export interface Sight {
  readonly jobId: string;
  readonly state: SandboxJobState;
  /** Stands in place of the provider's own word for the state. */
  readonly unknownWord?: string | number;
  readonly failure?: Failure;
  /** How many images the response holds; 0 until it has succeeded. */
  readonly count: number;
  readonly createdAt: number;
  readonly completedAt: number;
  /** Fresh URLs on the CDN, `count` of them. */
  urls(): string[];
  /** The images themselves, `count` of them. */
  images(): Promise<Buffer[]>;
}

/** What a valid create asks for, and how its provider talks about it afterwards. */
export interface Order {
  readonly prompt: string;
  readonly count: number;
  readonly width: number;
  readonly height: number;
  readonly format: PictureFormat;
  readonly compression?: number;
  readonly transparent?: boolean;
  /** The first input of an edit. */
  readonly input?: string | Buffer;
  readonly idempotencyKey?: string;
  /** Where the job's end shall be posted, as the request says it. */
  readonly callbackUrl?: string;
  /** For so many images. */
  price(images: number): Pick<SandboxCharge, "amount" | "unit">;
  /** The response to the create; absent where the create is answered with the images. */
  accepted?(jobId: string): SandboxResponse;
  /** How the create is answered as a stream of events, where it asks for one. */
  readonly stream?: OrderStream;
  /** The response to a query, or of a provider that answers with the images. */
  report(sight: Sight): SandboxResponse | Promise<SandboxResponse>;
}

/** The events of a stream. */
export interface OrderStream {
  /** How many partial images are asked for. */
  readonly partials: number;
  /** The event that shows one. */
  partial(index: number, image: Buffer): string;
  /** The event that ends it: the picture, or why there is none. */
  end(sight: Sight): Promise<string>;
}

/** What a fault has in store for a job. */
interface Fate {
  readonly failure?: Failure;
  readonly imageLimit?: number;
  readonly runningWord?: string | number;
  firstUrlsExpireAs?: number;
}

export interface Job {
  readonly provider: SandboxProvider;
  readonly jobId: string;
  readonly order: Order;
  readonly createdAt: number;
  dueAt: number;
  fate: Fate;
  isSettled: boolean;
  /** A webhook has said that it ended, or would have. */
  isTold: boolean;
  readonly pictures: Map<number, Promise<Buffer>>;
}

/** The failure that a `failure` or `moderation` fault brings; undefined for other faults. */
function failureOf(fault: SandboxFault): Failure | undefined {
  const refundsByItself = fault.provider === "shortapi";
  if (fault.fault === "moderation")
    return {
      moderated: true,
      refunded: refundsByItself,
      stage: fault.stage ?? "output",
      categories: fault.categories ?? ["violence"],
    };
  if (fault.fault === "stream-error" && fault.billed !== true)
    return { moderated: false, refunded: true, stage: "output", categories: [] };
  if (fault.fault !== "failure") return undefined;
  return {
    moderated: false,
    refunded: fault.refunded ?? refundsByItself,
    stage: "output",
    categories: [],
    ...(fault.message !== undefined && { message: fault.message }),
  };
}

function fateBy(fault: SandboxFault | undefined): Fate {
  if (fault === undefined) return {};
  const failure = failureOf(fault);
  if (failure) return { failure };
  if (fault.fault === "no-image") return { imageLimit: 0 };
  if (fault.fault === "fewer-images") return { imageLimit: fault.images };
  if (fault.fault === "unknown-state") return { runningWord: fault.word };
  return fault.fault === "expired" ? { firstUrlsExpireAs: fault.status ?? 403 } : {};
}

export interface JobTimes {
  readonly jobDurationMs: number;
  readonly queueDurationMs: number;
}

interface JobsOptions {
  readonly times: JobTimes;
  readonly plainImages: boolean;
  /** Reads the first input of an edit; undefined when it cannot be had. */
  readonly readInput: (input: string | Buffer) => Promise<Buffer | undefined>;
  /** Mints a URL for one image; `expiredAs` makes it one that never works. */
  readonly issueUrl: (job: Job, index: number, expiredAs: number | undefined) => string;
}

/** Who bills only for what succeeded; the others bill at acceptance. */
const billsOnSuccess: ReadonlySet<SandboxProvider> = new Set(["trinetra", "openaiCompatible"]);

/**
 * All jobs, and the bill. A job's state follows from its age whenever somebody looks, so that no
 * timer runs for it.
 */
export class Jobs {
  readonly charges: SandboxCharge[] = [];
  readonly #jobs = new Map<string, Job>();
  readonly #byIdempotencyKey = new Map<string, Job>();
  readonly #options: JobsOptions;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** A new job; or, with an idempotency key that was seen before, the job of that key. */
  accept(provider: SandboxProvider, jobId: string, order: Order, fault?: SandboxFault): Job {
    const key = order.idempotencyKey;
    const existing = key === undefined ? undefined : this.#byIdempotencyKey.get(key);
    if (existing) return existing;
    const createdAt = Date.now();
    const job: Job = {
      provider,
      jobId,
      order,
      createdAt,
      dueAt: createdAt + this.#options.times.jobDurationMs,
      fate: fateBy(fault),
      isSettled: false,
      isTold: false,
      pictures: new Map(),
    };
    this.#jobs.set(jobId, job);
    if (key !== undefined) this.#byIdempotencyKey.set(key, job);
    if (!billsOnSuccess.has(provider)) this.#bill(job, order.count);
    return job;
  }

  find(provider: SandboxProvider, jobId: string): Job | undefined {
    const job = this.#jobs.get(jobId);
    return job?.provider === provider ? job : undefined;
  }

  all(): Job[] {
    return [...this.#jobs.values()];
  }

  clear(): void {
    this.#jobs.clear();
    this.#byIdempotencyKey.clear();
    this.charges.length = 0;
  }

  stateOf(job: Job): SandboxJobState {
    const now = Date.now();
    if (now >= job.dueAt) return job.fate.failure ? "failed" : "succeeded";
    return now - job.createdAt < this.#options.times.queueDurationMs ? "queued" : "running";
  }

  /** Brings the bill up to date with the jobs that have ended by now. */
  settleAll(): void {
    for (const job of this.#jobs.values()) this.#settle(job);
  }

  /** How the job stands; a fault on this very query may change what is seen. */
  look(job: Job, fault?: SandboxFault): Sight {
    const failure = fault && failureOf(fault);
    if (failure) this.#failNow(job, failure);
    const succeedsNow = fault?.fault === "no-image" || fault?.fault === "fewer-images";
    if (succeedsNow) {
      job.fate = fateBy(fault);
      job.dueAt = Math.min(job.dueAt, Date.now());
    }
    this.#settle(job);
    const state = this.stateOf(job);
    const running = state === "running" || state === "queued" ? job.fate.runningWord : undefined;
    const unknownWord = fault?.fault === "unknown-state" ? fault.word : running;
    const count = state === "succeeded" ? this.#imagesOf(job) : 0;
    const indexes = Array.from({ length: count }, (_, index) => index);
    return {
      jobId: job.jobId,
      state,
      ...(unknownWord !== undefined && { unknownWord }),
      ...(job.fate.failure && { failure: job.fate.failure }),
      count,
      createdAt: job.createdAt,
      completedAt: job.dueAt,
      urls: () => this.#urls(job, indexes),
      images: () => Promise.all(indexes.map((index) => this.picture(job, index))),
    };
  }

  /** How the job stands, for a webhook: what is in store for the first query stays in store. */
  lookAside(job: Job): Sight {
    const sight = this.look(job);
    const urls = () => {
      const { firstUrlsExpireAs } = job.fate;
      const issued = sight.urls();
      if (firstUrlsExpireAs !== undefined) job.fate.firstUrlsExpireAs = firstUrlsExpireAs;
      return issued;
    };
    return { ...sight, urls };
  }

  /** One image of a job, drawn when it is first asked for. */
  picture(job: Job, index: number): Promise<Buffer> {
    const known = job.pictures.get(index);
    if (known) return known;
    const drawing = this.#draw(job, index);
    job.pictures.set(index, drawing);
    return drawing;
  }

  /** How the image of a job looks when `step` of `steps` partial ones have come. */
  async partial(job: Job, step: number, steps: number): Promise<Buffer> {
    const { provider, order } = job;
    const picture = { ...pictureOf(order), provider, index: 0, plain: this.#isPlain(order) };
    return drawPartial(picture, () => this.picture(job, 0), step / (steps + 1));
  }

  #isPlain({ prompt }: Order): boolean {
    return this.#options.plainImages || /^test/i.test(prompt);
  }

  async #draw({ provider, order }: Job, index: number): Promise<Buffer> {
    const plain = this.#isPlain(order);
    const wanted = plain ? undefined : order.input;
    const input = wanted === undefined ? undefined : await this.#options.readInput(wanted);
    return draw({ ...pictureOf(order), provider, index, plain, ...(input && { input }) });
  }

  #urls(job: Job, indexes: readonly number[]): string[] {
    const expiredAs = job.fate.firstUrlsExpireAs;
    delete job.fate.firstUrlsExpireAs;
    return indexes.map((index) => this.#options.issueUrl(job, index, expiredAs));
  }

  #imagesOf({ order, fate }: Job): number {
    return Math.min(order.count, fate.imageLimit ?? order.count);
  }

  #bill(job: Job, images: number): void {
    const { provider, jobId, order } = job;
    const { idempotencyKey } = order;
    this.charges.push({
      provider,
      jobId,
      images,
      ...order.price(images),
      ...(idempotencyKey !== undefined && { idempotencyKey }),
    });
  }

  #refund(job: Job): void {
    const place = this.charges.findIndex(({ jobId }) => jobId === job.jobId);
    if (place >= 0) this.charges.splice(place, 1);
  }

  #settle(job: Job): void {
    if (job.isSettled || Date.now() < job.dueAt) return;
    // A job that was forgotten while its response was still on the way is no longer billed.
    if (this.#jobs.get(job.jobId) !== job) return;
    job.isSettled = true;
    const { failure } = job.fate;
    if (failure) {
      if (failure.refunded) this.#refund(job);
    } else if (billsOnSuccess.has(job.provider)) {
      // A success without an image is a fault of the response, not of the bill.
      this.#bill(job, this.#imagesOf(job) || job.order.count);
    }
  }

  #failNow(job: Job, failure: Failure): void {
    if (job.isSettled && billsOnSuccess.has(job.provider)) this.#refund(job);
    job.fate = { failure };
    job.dueAt = Math.min(job.dueAt, Date.now());
    job.isSettled = false;
  }
}

function pictureOf(order: Order) {
  const { prompt, count, width, height, format, compression, transparent } = order;
  return {
    prompt,
    count,
    width,
    height,
    format,
    ...(compression !== undefined && { compression }),
    ...(transparent !== undefined && { transparent }),
  };
}
