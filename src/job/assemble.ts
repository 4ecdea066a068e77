import type { Succeeded } from "../adapter/contract";
import { type Charged, type Cost, totalCost, type Usage } from "../cost";
import { MalformedResponseError, withFailures } from "../errors";
import type { GeneratedImage } from "../result/generated-image";
import { ImageResult } from "../result/result";
import type { ImageError, ImageJob, Timing } from "../types";
import type { Delivered } from "./pictures";

/** A task that gave pictures, of which some may not have been saved. */
export interface DeliveredTask extends Delivered {
  /** How many images it asked for. */
  readonly n: number;
  readonly cost: Cost | undefined;
  readonly succeeded: Succeeded;
  readonly raw: unknown;
}

/** How a task ended for a call. */
export type TaskOutcome = { readonly error: ImageError } | DeliveredTask;

/** When the tasks of a job were sent, and when they had settled. */
export interface TaskTimes {
  readonly sentAt: number | undefined;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
}

/**
 * What all the tasks of a job came to.
 *
 * @throws what {@link failureOf} gives, if none gave an image.
 */
export function assemble(
  outcomes: readonly TaskOutcome[],
  job: ImageJob,
  warnings: readonly string[],
  timing: Timing,
): ImageResult {
  const { provider } = job;
  const delivered: DeliveredTask[] = [];
  const images: GeneratedImage[] = [];
  const failures: ImageError[] = [];
  const raw: unknown[] = [];
  let model: string | undefined;
  for (const outcome of outcomes) {
    if ("error" in outcome) {
      failures.push(outcome.error);
      continue;
    }
    delivered.push(outcome);
    images.push(...outcome.images);
    failures.push(...outcome.failures);
    if (outcome.raw !== undefined) raw.push(outcome.raw);
    model ??= outcome.succeeded.model;
  }
  const [image, ...others] = images;
  if (image === undefined) throw failureOf(failures, job);
  return new ImageResult({
    images: [image, ...others],
    failures,
    provider,
    job,
    model,
    cost: totalCost(delivered.map((each) => each.cost)),
    usage: totalUsage(delivered.map((each) => each.succeeded.usage)),
    warnings: withCount(warnings, delivered),
    timing,
    raw,
  });
}

/**
 * The error of a call of which no task gave an image, with those of the other tasks in its `failures`: the
 * first that has to be looked into, or else that was charged. By the first of all, one would buy again what
 * another task may have paid for.
 */
export function failureOf(failures: readonly ImageError[], job: ImageJob): ImageError {
  const chargedAs = (wanted: Charged) => failures.find(({ charged }) => charged === wanted);
  const failure = chargedAs("unknown") ?? chargedAs("yes") ?? failures[0];
  if (failure !== undefined) {
    return withFailures([failure, ...failures.filter((each) => each !== failure)]);
  }
  // Only an adapter, or a record, that breaks the contract has neither.
  const detail = "It ended well, and without an image";
  return new MalformedResponseError({ provider: job.provider, charged: "yes", job, detail });
}

/** The warnings, those of the provider's own, and one where not as many images came as were paid for. */
function withCount(
  warnings: readonly string[],
  delivered: readonly DeliveredTask[],
): readonly string[] {
  let asked = 0;
  let came = 0;
  // The tasks of a split request are likely told the same.
  const all = new Set(warnings);
  for (const { n, succeeded } of delivered) {
    asked += n;
    came += succeeded.outputs.length;
    for (const each of succeeded.warnings ?? []) all.add(each);
  }
  if (came === asked) return [...all];
  const limit = came > asked ? ": of each task one too many is kept, and no more" : "";
  return [...all, `${asked} images were asked for and paid tasks gave ${came}${limit}`];
}

/** When a job was sent, and how long it took. */
export function timingOf(tasks: readonly TaskTimes[], polls: number): Timing {
  let submittedAt = Number.POSITIVE_INFINITY;
  let startedAt = Number.POSITIVE_INFINITY;
  let endedAt = 0;
  for (const task of tasks) {
    submittedAt = Math.min(submittedAt, task.sentAt ?? Number.POSITIVE_INFINITY);
    startedAt = Math.min(startedAt, task.startedAt ?? Number.POSITIVE_INFINITY);
    endedAt = Math.max(endedAt, task.endedAt ?? 0);
  }
  // The system's clock may have been set meanwhile: one date and one distance are told, not two dates.
  const durationMs = Math.round(Math.max(0, endedAt - startedAt));
  const completedAt = new Date(submittedAt + durationMs);
  return { submittedAt: new Date(submittedAt), completedAt, durationMs, polls };
}

function totalUsage(usages: readonly (Usage | undefined)[]): Usage | undefined {
  const known: Usage[] = [];
  for (const usage of usages) {
    if (usage !== undefined && Object.keys(usage).length > 0) known.push(usage);
  }
  if (known.length <= 1) return known[0];
  const total: Record<string, number> = {};
  for (const usage of known) {
    for (const [name, count] of Object.entries(usage)) {
      total[name] = (total[name] ?? 0) + count;
    }
  }
  return total;
}
