import * as z from "zod/mini";
import { isoDateTime } from "../parse/core-schemas";

const cost = z.object({
  amount: z.number(),
  unit: z.string(),
  basis: z.enum(["reported", "usage", "list"]),
});

const count = z.int().check(z.minimum(1));

/** A record lists the tasks of its job one by one up to this many. */
const longestSplit = 16;

/** No request is split into more. */
const mostTasks = 10_000;

/**
 * One task of a job, as a journal keeps it. Version 1; a record of another version is left alone.
 *
 * `"submitting"`: the create may have left the machine, and no response was written. `"submitted"`: the
 * provider has accepted, under `taskId`. `"succeeded"`: the images are in the journal. `"failed"`:
 * the job ended without. `"unknown"`: nobody can know what became of the create.
 */
export const journalRecordSchema = z
  .object({
    v: z.literal(1),
    /** As {@link recordId} makes it. */
    id: z.string().check(z.regex(/^[\w-]+\.\d+$/)),
    jobId: z.string().check(z.regex(/^[\w-]+$/)),
    index: z.int().check(z.minimum(0)),
    /** How many images this task asks for. */
    n: z.int().check(z.minimum(1)),
    /** How many images each task of the job asks for, this one included; of few tasks. */
    split: z.optional(z.array(count).check(z.minLength(1))),
    /**
     * The same of many tasks: how many images, and how many tasks in a row ask for so many. Every task
     * has a record of its own, and none may grow with the number of the others.
     */
    runs: z.optional(
      z.array(z.tuple([count, count])).check(z.minLength(1), z.maxLength(longestSplit)),
    ),
    /**
     * Under a caller's key: how many tries before this one have failed without a charge. Each is a
     * record of its own, so that whoever is late with the end of one cannot touch the next.
     */
    attempt: z.optional(z.int().check(z.minimum(0))),
    /** The account that pays; absent in records written before accounts existed, which match every account. */
    account: z.optional(z.string().check(z.minLength(1))),
    provider: z.string().check(z.minLength(1)),
    baseURL: z.string().check(z.minLength(1)),
    operation: z.enum(["generate", "edit"]),
    /** When the marker was written, just before the create left: ISO 8601. */
    submittedAt: isoDateTime(),
    /** Who sends, or sent last: tells those who wait whether anybody still works on it, and whose it is to take back. */
    owner: z.optional(z.object({ host: z.string(), pid: z.int() })),
    /** When its owner took it over from another, to send its create again under its key: ISO 8601. */
    takenOverAt: z.optional(isoDateTime()),
    /** When it ended: ISO 8601. */
    settledAt: z.optional(isoDateTime()),
    /** What tells one request from another, without saying what it is. */
    requestDigest: z.string(),
    /** What was sent, so that a person can find it in the provider's console; without input bytes. */
    request: z.optional(z.unknown()),
    /** The idempotency key that went with the create, at a provider that honours one. */
    key: z.optional(z.string()),
    /** The create itself, at a provider that honours a key: anybody may send it again under the key. */
    call: z.optional(
      z.object({
        path: z.string(),
        headers: z.optional(z.record(z.string(), z.string())),
        json: z.unknown(),
      }),
    ),
    state: z.enum(["submitting", "submitted", "succeeded", "failed", "unknown"]),
    /** The provider's id of the job. */
    taskId: z.optional(z.string().check(z.minLength(1))),
    cost: z.optional(cost),
    usage: z.optional(z.record(z.string(), z.number())),
    model: z.optional(z.string()),
    /** The images that are kept beside the record, in order. */
    images: z.optional(
      z.array(z.object({ url: z.optional(z.string()), revisedPrompt: z.optional(z.string()) })),
    ),
    /** Why the job failed. */
    failure: z.optional(
      z.object({
        kind: z.string(),
        message: z.string(),
        charged: z.enum(["no", "yes", "unknown"]),
        code: z.optional(z.string()),
      }),
    ),
    /** It was released, and stays so that the key under which it failed leads on to the next try. */
    released: z.optional(z.literal(true)),
  })
  .check(
    z.refine(({ split, runs }) => {
      if (runs === undefined) return split !== undefined;
      // What a stranger wrote must not become a list that fills the memory.
      return runs.reduce((sum, [, tasks]) => sum + tasks, 0) <= mostTasks;
    }, "how many images each task asks for"),
  );

/** One task of a job, as a journal keeps it: plain JSON without the API key. */
export type JournalRecord = z.output<typeof journalRecordSchema>;

/** The id of the record of a task, at one of its tries under a caller's key. */
export function recordId(jobId: string, index: number, attempt = 0): string {
  return attempt === 0 ? `${jobId}.${index}` : `${jobId}-${attempt}.${index}`;
}

/** Whether the job of a record has ended. */
export function isSettledRecord({ state }: JournalRecord): boolean {
  return state === "succeeded" || state === "failed";
}

/** Whether a task has failed and was not charged: the caller's key is free for another try. */
export function isFree({ state, failure }: JournalRecord): boolean {
  return state === "failed" && failure?.charged === "no";
}

/** How many images each task asks for, as a record says it. */
export function packSplit(split: readonly number[]): Pick<JournalRecord, "split" | "runs"> {
  if (split.length <= longestSplit) return { split: [...split] };
  const runs: [number, number][] = [];
  for (const n of split) {
    const last = runs.at(-1);
    if (last?.[0] === n) last[1] += 1;
    else runs.push([n, 1]);
  }
  return { runs };
}

/** What {@link packSplit} packed. */
export function unpackSplit({ split = [], runs }: JournalRecord): readonly number[] {
  return runs?.flatMap(([n, tasks]) => Array.from({ length: tasks }, () => n)) ?? split;
}
