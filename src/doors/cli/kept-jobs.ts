import { hostname } from "node:os";
import type { Amount, Charged, JobReference, Journal, JournalRecord, Operation } from "../../index";
import { codeOf } from "./text";

/** How a job of the journal stands. */
export type JobState =
  /** The provider has accepted it, or part of it. */
  | "running"
  /** A process that is alive is sending it. */
  | "sending"
  /** Nobody can know what became of its create. */
  | "unknown"
  | "done"
  | "failed";

/** A job as the journal has it, whosever it is. */
export interface KeptJob {
  readonly id: string;
  readonly provider: string;
  readonly baseURL: string;
  readonly operation: Operation;
  readonly submittedAt: string;
  readonly settledAt?: string | undefined;
  /** How many pictures were asked for, in requests that were sent or not. */
  readonly pictures: number;
  readonly state: JobState;
  /** Whether it was charged, as far as its records tell. */
  readonly charged: Charged;
  readonly cost?: Amount | undefined;
  readonly prompt?: string | undefined;
  /** The process that sent it, where that is alive on this machine. */
  readonly liveProcess?: number | undefined;
  /** The newest record of each of its requests. */
  readonly records: readonly JournalRecord[];
  /** Those of earlier tries, too. */
  readonly allRecords: readonly JournalRecord[];
}

/** Every job of the journal, the oldest first. */
export async function keptJobs(journal: Journal): Promise<readonly KeptJob[]> {
  const jobs = new Map<string, JournalRecord[]>();
  for await (const { record: found } of journal.list()) {
    const record = recordOf(found);
    if (record === undefined) continue;
    const records = jobs.get(record.jobId) ?? [];
    records.push(record);
    jobs.set(record.jobId, records);
  }
  return [...jobs.values()].map(jobOf).sort((a, b) => (a.submittedAt < b.submittedAt ? -1 : 1));
}

/** The jobs whose id is, or begins with, what was given. */
export async function findJobs(journal: Journal, id: string): Promise<readonly KeptJob[]> {
  const jobs = await keptJobs(journal);
  const exact = jobs.filter((job) => job.id === id);
  return exact.length > 0 ? exact : jobs.filter((job) => job.id.startsWith(id));
}

/** What a journal has, if it is a record of this version. */
function recordOf(found: unknown): JournalRecord | undefined {
  if (typeof found !== "object" || found === null) return undefined;
  // Of a record of version 1 the rest is as its type says.
  const record = found as Partial<JournalRecord>;
  const isRecord =
    record.v === 1 &&
    [record.id, record.jobId, record.state, record.provider, record.baseURL].every(isText) &&
    isText(record.submittedAt) &&
    typeof record.index === "number" &&
    typeof record.n === "number";
  // Checked just now.
  return isRecord ? (record as JournalRecord) : undefined;
}

const isText = (value: unknown) => typeof value === "string";

function jobOf(all: readonly JournalRecord[]): KeptJob {
  const records = newestOf(all);
  const [first] = records;
  if (first === undefined) throw new Error("A job has a record at least");
  const { jobId, provider, baseURL, operation, submittedAt } = first;
  return {
    ...{ id: jobId, provider, baseURL, operation, submittedAt, records },
    allRecords: all,
    settledAt: records.map((record) => record.settledAt ?? "").reduce((a, b) => (a > b ? a : b)),
    pictures: picturesOf(first),
    state: stateOf(records),
    charged: chargedOf(records),
    cost: costOf(records),
    prompt: promptIn(first.request),
    liveProcess: records.map(liveOwner).find((pid) => pid !== undefined),
  };
}

/** Under a key a request that failed without a charge is tried again, each time as a record of its own. */
function newestOf(records: readonly JournalRecord[]): readonly JournalRecord[] {
  const newest = new Map<number, JournalRecord>();
  for (const record of records) {
    const { index, attempt = 0 } = record;
    if (attempt >= (newest.get(index)?.attempt ?? 0)) newest.set(index, record);
  }
  return [...newest.values()].sort((a, b) => a.index - b.index);
}

function stateOf(records: readonly JournalRecord[]): JobState {
  const has = (state: JournalRecord["state"]) => records.some((record) => record.state === state);
  if (has("submitted")) return "running";
  if (has("submitting")) {
    return records.some((record) => liveOwner(record) !== undefined) ? "sending" : "unknown";
  }
  if (has("unknown")) return "unknown";
  return has("succeeded") ? "done" : "failed";
}

function chargedOf(records: readonly JournalRecord[]): Charged {
  const charges = records.map(({ state, failure }): Charged => {
    if (state === "succeeded") return "yes";
    return state === "failed" ? (failure?.charged ?? "unknown") : "unknown";
  });
  return charges.includes("unknown") ? "unknown" : charges.includes("yes") ? "yes" : "no";
}

/** What all its requests ask for: a record of many has it by runs. */
function picturesOf({ n, split, runs }: JournalRecord): number {
  if (split !== undefined) return split.reduce((sum, each) => sum + each, 0);
  return runs?.reduce((sum, [each, times]) => sum + each * times, 0) ?? n;
}

/** The reference of a job, to say which one is meant. */
export function referenceOf(job: KeptJob): JobReference {
  const { id, provider, baseURL, operation, submittedAt, records } = job;
  const tasks = records.map(({ index, n }) => ({ index, n, state: "unknown" as const }));
  return { v: 1, id, provider, baseURL, operation, submittedAt, tasks };
}

/** What it cost in all, where every part that was paid for says so in one unit. */
function costOf(records: readonly JournalRecord[]): Amount | undefined {
  const paid = records.filter(({ state }) => state === "succeeded");
  const [first] = paid;
  const unit = first?.cost?.unit;
  if (unit === undefined || paid.some(({ cost }) => cost?.unit !== unit)) return undefined;
  return { amount: paid.reduce((sum, { cost }) => sum + (cost?.amount ?? 0), 0), unit };
}

/** The prompt in whatever the provider is sent. */
function promptIn(request: unknown, depth = 0): string | undefined {
  if (typeof request !== "object" || request === null || depth > 3) return undefined;
  for (const [name, value] of Object.entries(request)) {
    if (name === "prompt" && typeof value === "string") return value;
    const below = promptIn(value, depth + 1);
    if (below !== undefined) return below;
  }
  return undefined;
}

function liveOwner({ owner, state }: JournalRecord): number | undefined {
  const isOpen = state === "submitting" || state === "submitted";
  if (!isOpen || owner === undefined || owner.host !== hostname()) return undefined;
  // This process begins: what has its number is of one before it, as in a container.
  if (owner.pid === process.pid) return undefined;
  try {
    process.kill(owner.pid, 0);
    return owner.pid;
  } catch (error) {
    // Not allowed to signal it means that it lives.
    return codeOf(error) === "EPERM" ? owner.pid : undefined;
  }
}
