import {
  type ImageError,
  type ImageJob,
  isImageError,
  type JobReference,
  type ProviderImageClient,
} from "../../index";
import { isImageJobData, isImageJobResult } from "./data";
import { UnrecoverableError } from "./errors";
import { jobsOf, statesInOrder } from "./listing";
import { failureOf } from "./result";
import type { StepParts } from "./step";
import type {
  ImageJobData,
  ImageJobResult,
  ListedJob,
  QueueJob,
  QueueState,
  SweptQueue,
} from "./types";
import { isOpen, isUncharged, withoutSucceeded } from "./verdict";

/** The name of the job that sweeps. */
export const sweepName = "image-sweep";

const defaultEveryMs = 60_000;

/** A queue that has a schedule; a `Queue` of BullMQ 6 has one. */
export interface ScheduledQueue {
  upsertJobScheduler(
    id: string,
    repeat: { every: number },
    template: { name: string; data: never; opts: Record<string, unknown> },
  ): Promise<unknown>;
}

/**
 * Has the queue swept every minute, by whichever worker comes first: the sweep is a job itself. To be called
 * by anybody, as often as it pleases; the processors of the queue need the option `queue`.
 *
 * A sweep puts back what BullMQ has failed or completed without our word for it (a worker that died too
 * often, a connection that was lost at the end), lets the journal forget what was delivered, and looks
 * through it for jobs that no job of the queue is about.
 *
 * @example
 * ```ts
 * await scheduleImageSweep(queue);
 * ```
 */
export async function scheduleImageSweep(
  queue: ScheduledQueue,
  { everyMs = defaultEveryMs }: { readonly everyMs?: number } = {},
): Promise<void> {
  // Itself alone: by a number, or an age, BullMQ removes whatever has ended in the queue beyond it, orders too.
  const opts = { removeOnComplete: true, removeOnFail: true };
  // Its data is no order's, whatever the queue's type says of its jobs.
  const data = { everyMs } as never;
  await queue.upsertJobScheduler(sweepName, { every: everyMs }, { name: sweepName, data, opts });
}

/** How often a job is put back: one that fails for a reason of its own each time is left. */
const mostSweeps = 10;

/**
 * What a sweep has done: the `returnvalue` of its job, as a worker's event `completed` tells it. The queue
 * keeps no sweep that has ended.
 */
export interface SweepReport {
  /** Put back, by their ids in the queue. */
  readonly retried: readonly string[];
  /** How many records of delivered jobs were cleared away. */
  readonly released: number;
  /** Jobs of the journal that are no job's of the queue, by their ids there. */
  readonly orphans: readonly string[];
}

/** One sweep of the queue, and of the client's journal. */
export async function sweep(
  { data, timestamp }: QueueJob,
  { client, options, told }: Pick<StepParts, "client" | "options"> & { readonly told: Set<string> },
): Promise<ImageJobResult & SweepReport> {
  const { queue, onOrphan = warnOfOrphan } = options;
  if (queue === undefined) {
    throw new UnrecoverableError("createImageProcessor needs the option queue to sweep it");
  }
  const everyMs = everyMsOf(data);
  // What ended since well before the last sweep began.
  const since = Math.min(timestamp, Date.now()) - 3 * everyMs;
  const retried = [
    ...(await putBack(queue, "failed", since, ({ charged }) => charged === undefined)),
    ...(await putBack(queue, "completed", since, (_, job) => !isImageJobResult(job.returnvalue))),
  ];
  const orphans: string[] = [];
  let released = 0;
  if (canRecover(client)) {
    for await (const { job, is, ended } of leftOver(queue, client, Date.now() - 2 * everyMs)) {
      if (is === "delivered") {
        await job.release();
        released += 1;
      } else if (is === "settled") {
        if (ended !== undefined) await takeSettled(ended, job);
      } else if (ended !== undefined) {
        const state = ended.listedIn === "failed" ? "failed" : "completed";
        await retry(ended, state, withNews(ended, job));
        retried.push(ended.id);
      } else if (await costNothing(job)) {
        // Its order was tried again since, or was given up.
        await job.release();
        released += 1;
      } else {
        orphans.push(job.id);
        if (told.has(job.id)) continue;
        await onOrphan(job);
        remember(told, job.id);
      }
    }
  }
  const none = { files: [], provider: client.name, jobId: "", warnings: [], failures: [] };
  return { ...none, durationMs: 0, retried, released, orphans };
}

/** Writes down what a person has found out of the failures of a completed order: the next sweep goes by it. */
async function takeSettled(ended: EndedJob, job: ImageJob): Promise<void> {
  const { data } = ended;
  if (data.result === undefined) return;
  let failures: readonly ImageError[];
  try {
    ({ failures } = await job.result());
  } catch (error) {
    // What was delivered was saved from an error, and is among the failures here: they cannot be told apart.
    if (isImageError(error)) return;
    throw error;
  }
  const result = { ...data.result, failures: failures.map(failureOf) };
  await ended.updateData({ ...data, reference: job.reference, result });
}

/** Whether a job has failed, and nothing was charged for any of it. */
async function costNothing(job: ImageJob): Promise<boolean> {
  if (job.reference.tasks.some(({ state }) => state !== "failed" && state !== "refused"))
    return false;
  try {
    await job.result();
    return false;
  } catch (error) {
    return isImageError(error) && isUncharged(error);
  }
}

/** How many orphans a process remembers that it has told of. */
const mostTold = 10_000;

function remember(told: Set<string>, id: string): void {
  told.add(id);
  const [oldest] = told;
  if (told.size > mostTold && oldest !== undefined) told.delete(oldest);
}

type EndedJob = ListedJob & { readonly id: string; readonly data: ImageJobData };

/** Lets what ended wrongly since then run again. */
async function putBack(
  queue: SweptQueue,
  state: "failed" | "completed",
  since: number,
  isWrong: (data: ImageJobData, job: ListedJob) => boolean,
): Promise<string[]> {
  const wrong: EndedJob[] = [];
  for await (const job of jobsOf(queue, state)) {
    if ((job.finishedOn ?? Number.POSITIVE_INFINITY) < since) break;
    const { data } = job;
    if (!isImageJobData(data) || !isWrong(data, job) || isSweptOut({ data })) continue;
    wrong.push(Object.assign(job, { data }));
  }
  for (const job of wrong) await retry(job, state);
  return wrong.map(({ id }) => id);
}

async function retry(
  job: EndedJob,
  state: "failed" | "completed",
  data: ImageJobData = job.data,
): Promise<void> {
  await job.updateData({ ...data, sweeps: (data.sweeps ?? 0) + 1 });
  await job.retry(state);
}

/** A job with the state that it was listed in. */
type KnownJob = EndedJob & { readonly listedIn: QueueState };

/** What the queue knows of the jobs in the journal. */
interface Known {
  /** By the ids of their references. */
  readonly jobs: ReadonlyMap<string, KnownJob>;
  /**
   * When the oldest job was added that was begun and has no reference: a worker may have died between the
   * two, and its record may be any that is younger.
   */
  readonly unnamedSince: number;
}

/** A job of the journal that no job of the queue will see to. */
interface LeftOver {
  readonly job: ImageJob;
  readonly is: "delivered" | "answered" | "settled" | "orphan";
  /** The job of the queue that ended before the response to a create of its was known after all. */
  readonly ended?: KnownJob;
}

/**
 * How long the journal keeps what was delivered. A worker that a network cuts off holds a statement for the
 * journal's `timeoutMs`, 30 s by default, and there are three before its create: later than this none leaves.
 */
const keptMs = 10 * 60 * 1000;

/** Two machines may have clocks that are so far apart. */
const skewMs = 5 * 60 * 1000;

/**
 * What nobody released may never have been delivered, and is not to expire: a hundred years, as the dates of
 * journals reach no further back than some thousand.
 */
const retentionMs = 100 * 365 * 24 * 60 * 60 * 1000;

/** No create takes longer. */
const orphanAgeMs = 60 * 60 * 1000;

async function* leftOver(
  queue: SweptQueue,
  client: Pick<ProviderImageClient, "recover">,
  before: number,
): AsyncIterableIterator<LeftOver> {
  const old: ImageJob[] = [];
  const sentAt = ({ reference }: ImageJob) => Date.parse(reference.submittedAt);
  for await (const job of client.recover({ retentionMs })) if (sentAt(job) < before) old.push(job);
  if (old.length === 0) return;
  const { jobs, unnamedSince } = await knownTo(queue);
  const orphansUntil = Math.min(Date.now() - orphanAgeMs, unnamedSince - skewMs);
  for (const job of old) {
    const known = jobs.get(job.id);
    if (known === undefined) {
      if (sentAt(job) < orphansUntil) yield { job, is: "orphan" };
    } else if (known.data.result !== undefined) {
      const { finishedOn = Number.POSITIVE_INFINITY } = known;
      if (finishedOn >= Date.now() - keptMs) continue;
      if (hasMore(known, job) || isUntold(known)) yield { job, is: "answered", ended: known };
      else if (isWhole(known.data.result)) {
        if (!hasNews(known, job.reference)) yield { job, is: "delivered" };
      } else if (isSettled(known.data.result, job)) yield { job, is: "settled", ended: known };
    } else if (isAnsweredByNow(known, job) || hasMore(known, job)) {
      yield { job, is: "answered", ended: known };
    }
  }
}

/** Nothing that was paid for, or may have been, is missing: else a person needs the record to settle it. */
function isWhole({ failures }: ImageJobResult): boolean {
  return failures.every(({ charged }) => charged === "no");
}

/** Its failures were of unknown fate, and a person has ended each. */
function isSettled({ failures }: ImageJobResult, { reference }: ImageJob): boolean {
  const ended = ["failed", "refused", "succeeded"];
  const wasUnknown = failures.some(({ charged }) => charged === "unknown");
  return wasUnknown && reference.tasks.every(({ state }) => ended.includes(state));
}

/** It was completed, and a task has its name by now: its image is to be had. */
function hasMore(ended: KnownJob, { reference }: ImageJob): boolean {
  const isCompleted = ended.listedIn === "completed" && isImageJobResult(ended.returnvalue);
  if (!isCompleted || isSweptOut(ended)) return false;
  const isNamed = withoutSucceeded(reference).tasks.some(
    (task) => task.id !== undefined && isOpen({ tasks: [task] }),
  );
  return isNamed || hasNews(ended, reference);
}

/** It was given up, and a worker that was cut off, or a person, has named what it bought by now. */
function isAnsweredByNow(ended: KnownJob, { reference }: ImageJob): boolean {
  const isGivenUp = ended.listedIn === "failed" && !isSweptOut(ended);
  return isUntold(ended) || (isGivenUp && hasNews(ended, reference));
}

/** It failed, and the late write of a worker that was cut off has removed what was known of the money. */
function isUntold(ended: KnownJob): boolean {
  return ended.listedIn === "failed" && ended.data.charged === undefined && !isSweptOut(ended);
}

/** What a job is put back with. */
function withNews({ data, listedIn }: KnownJob, { reference }: ImageJob): ImageJobData {
  // What was saved is its result. One that it was completed with would be returned again.
  if (listedIn === "failed" && data.result !== undefined) return data;
  const { result: _, ...rest } = data;
  // The next run may not get to look it up.
  const doubt = data.charged === "no" ? { charged: "unknown" as const } : {};
  return { ...rest, ...doubt, reference };
}

/** Whether the journal names a task that the queue does not, or has its pictures. */
function hasNews({ data }: EndedJob, { tasks }: JobReference): boolean {
  const told = new Map(data.reference?.tasks.map((task) => [task.index, task]));
  const isGivenUp = data.charged === "no" || data.charged === "unknown";
  return tasks.some(({ index, id, state }) => {
    const known = told.get(index);
    if (id !== undefined && id !== known?.id) return true;
    // With pictures of its own an order is not given up, whatever a late write has told of them.
    return state === "succeeded" && (isGivenUp || known?.state !== "succeeded");
  });
}

function isSweptOut({ data }: Pick<EndedJob, "data">): boolean {
  return (data.sweeps ?? 0) >= mostSweeps;
}

async function knownTo(queue: SweptQueue): Promise<Known> {
  const jobs = new Map<string, KnownJob>();
  let unnamedSince = Number.POSITIVE_INFINITY;
  for (const state of statesInOrder) {
    for await (const job of jobsOf(queue, state)) {
      const { data, timestamp, attemptsStarted } = job;
      if (!isImageJobData(data)) continue;
      const { reference, charged } = data;
      if (reference !== undefined)
        jobs.set(reference.id, Object.assign(job, { data, listedIn: state }));
      else if (attemptsStarted > 0 && charged !== "no") {
        unnamedSince = Math.min(unnamedSince, timestamp);
      }
    }
  }
  return { jobs, unnamedSince };
}

function everyMsOf(data: unknown): number {
  const isGiven = typeof data === "object" && data !== null && "everyMs" in data;
  const given = isGiven ? Number(data.everyMs) : defaultEveryMs;
  return given > 0 ? given : defaultEveryMs;
}

function canRecover(client: object): client is Pick<ProviderImageClient, "recover"> {
  return "recover" in client && typeof client.recover === "function";
}

function warnOfOrphan({ id, provider }: ImageJob): void {
  process.emitWarning(
    `The journal has the job ${id} of ${provider}, and the queue has none about it: it may have been paid for`,
  );
}
