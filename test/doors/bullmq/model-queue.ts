import type {
  ImageJobData,
  ImageProcessor,
  ListedJob,
  QueueState,
} from "../../../src/doors/bullmq/index";

/** A job of BullMQ, as far as the door knows one: what is written to it is what JSON keeps. */
export class ModelJob implements ListedJob {
  readonly id: string;
  readonly name: string = "image";
  readonly queueQualifiedName = "bull:images";
  readonly timestamp = 1_000;
  data: unknown;
  progress: unknown = 0;
  opts: { attempts?: number } = {};
  attemptsMade = 0;
  attemptsStarted = 0;
  state: QueueState = "wait";
  returnvalue: unknown = null;
  failedReason = "";
  finishedOn: number | undefined;
  /** How long it was to wait, each time. */
  readonly delaysMs: number[] = [];
  readonly progresses: unknown[] = [];
  /** Errors that the queue throws, in order, in place of what it was asked for. */
  readonly faults: unknown[] = [];

  constructor(id: string, data: unknown) {
    this.id = id;
    this.data = structuredClone(data);
  }

  get known(): ImageJobData {
    return this.data as ImageJobData;
  }

  #fail(): void {
    const fault = this.faults.shift();
    if (fault !== undefined) throw fault;
  }

  async updateData(data: ImageJobData): Promise<void> {
    this.#fail();
    this.data = JSON.parse(JSON.stringify(data));
  }

  async updateProgress(progress: object): Promise<void> {
    this.progress = JSON.parse(JSON.stringify(progress));
    this.progresses.push(this.progress);
  }

  async moveToDelayed(timestamp: number, token?: string): Promise<void> {
    this.#fail();
    if (!Number.isInteger(timestamp)) throw new Error("a fraction of a millisecond");
    if (token !== "token") throw Object.assign(new Error("Missing lock"), { code: -2 });
    this.delaysMs.push(timestamp - Date.now());
    this.state = "delayed";
  }

  async promote(): Promise<void> {
    if (this.state !== "delayed") throw Object.assign(new Error("not delayed"), { code: -3 });
    this.state = "wait";
  }

  async retry(state: "completed" | "failed"): Promise<void> {
    if (this.state !== state) throw new Error(`it is ${this.state}`);
    this.state = "wait";
  }
}

/** A queue and a worker of BullMQ: delays take no time, since the client's clock has its own. */
export class ModelQueue {
  readonly jobs = new Map<string, ModelJob>();
  readonly pausesMs: number[] = [];
  /** What the job's attempts ended with. */
  readonly errors: unknown[] = [];

  async add(name: string, data: ImageJobData, options: { jobId?: string; attempts?: number } = {}) {
    const { jobId = String(this.jobs.size + 1), attempts } = options;
    const job = new ModelJob(jobId, JSON.parse(JSON.stringify(data)));
    Object.assign(job, { name, opts: { attempts } });
    // BullMQ gives the new data of an id that is there, and keeps the old.
    if (!this.jobs.has(jobId)) this.jobs.set(jobId, job);
    return job;
  }

  async getJob(id: string): Promise<ModelJob | undefined> {
    return this.jobs.get(id);
  }

  async getJobs(states: QueueState[], start = 0, end = -1): Promise<ModelJob[]> {
    const all = [...this.jobs.values()].filter(({ state }) => states.includes(state));
    return all.reverse().slice(start, end < 0 ? undefined : end + 1);
  }

  async rateLimit(expireTimeMs: number): Promise<void> {
    this.pausesMs.push(expireTimeMs);
  }

  /** One run of a job by a worker, whose end BullMQ makes of what it resolves or throws. */
  async step(processor: ImageProcessor, job: ModelJob, signal?: AbortSignal): Promise<void> {
    job.state = "active";
    job.attemptsStarted += 1;
    try {
      job.returnvalue = JSON.parse(JSON.stringify(await processor(job, "token", signal)));
      job.state = "completed";
      job.finishedOn = Date.now();
    } catch (error) {
      const { name, message } = error as Error;
      if (name === "DelayedError") return;
      this.errors.push(error);
      job.attemptsMade += 1;
      const isOver = name === "UnrecoverableError" || job.attemptsMade >= (job.opts.attempts ?? 1);
      Object.assign(job, {
        state: isOver ? "failed" : "wait",
        failedReason: message,
        finishedOn: Date.now(),
      });
    }
  }

  /** Runs a job until it has ended. */
  async run(processor: ImageProcessor, job: ModelJob, mostSteps = 100): Promise<ModelJob> {
    for (let steps = 0; steps < mostSteps; steps += 1) {
      if (job.state === "completed" || job.state === "failed") return job;
      await this.step(processor, job);
    }
    throw new Error(`after ${mostSteps} steps it is ${job.state}`);
  }
}

/** The job as one worker sees it, with what is that worker's own. */
export function seenWith(job: ModelJob, own: object): ModelJob {
  return new Proxy(job, {
    get: (target, name) => Reflect.get(name in own ? own : target, name),
  });
}
