import { reasonOf } from "../errors";
import { Account, changedAccountError } from "../journal/account";
import { TaskEntry } from "../journal/entry";
import type { Journal, JournalFilter } from "../journal/journal";
import { type KeyedPlace, placeUnder } from "../journal/keyed-place";
import { type ListingNotes, OwnRecords } from "../journal/own-records";
import { isOwnedElsewhere } from "../journal/owner";
import { isSettledRecord, type JournalRecord, recordId, unpackSplit } from "../journal/record";
import type { LedgerFacts } from "../journal/task-record";
import { digestOfRequest, newId } from "../request/fingerprint";
import type { Plan } from "../request/plan";
import type { ImageJob } from "../types";
import type { ParsedReference } from "./job";
import {
  byRank,
  isOnlyRecord,
  type JobRecords,
  jobRecords,
  newestOf,
  restingTasks,
} from "./job-records";
import type { LiveJobs, WebhookTarget } from "./registry";
import { RunningJob } from "./running-job";
import type { ClientServices } from "./services";
import { parseSettlement, type Settlement, settle } from "./settlement";
import { SkippedRecords } from "./skipped-records";
import { TaskFinder } from "./task-finder";

const monthMs = 30 * 24 * 60 * 60 * 1000;

/** What happens to records that are not handed out. */
export interface RecoverOptions {
  /** Settled jobs that ended longer ago than this, in milliseconds, are let go. Default: 30 days. */
  readonly retentionMs?: number;
  /**
   * Whether settled jobs that nobody released are handed out, too. Default true. With `false` a journal
   * such as the one on PostgreSQL reads no settled record: for a sweep that comes round often.
   */
  readonly settled?: boolean;
  /**
   * The `id` of a job: it alone is handed out, and what others have left is neither cleared away nor let
   * go. Nothing is handed out where the journal has no such job of this client's.
   */
  readonly jobId?: string;
  /**
   * Hears of what cannot be read as a record, and, once and with their number, of the jobs of other
   * accounts; all of it is left where it is. Default: a process warning.
   */
  readonly onSkipped?: (id: string, reason: string) => unknown;
}

/** What a journal gives a new job. */
export interface JournaledJob {
  readonly jobId: string;
  /** The idempotency key that goes with a task, where the call has one. */
  readonly taskKey: ((index: number) => string) | undefined;
  /** A task's page. */
  entryFor(index: number): TaskEntry;
}

/** What a client does with its journal: pages for its own jobs, and the jobs that others have left. */
export class Journaling {
  readonly #records: OwnRecords;
  readonly #account: Account;
  readonly #finder: TaskFinder;
  readonly #jobs: ClientServices;
  readonly #live: LiveJobs;
  /** Jobs that a webhook has brought back from the journal, and that nobody was given. */
  readonly #unheld = new WeakSet<RunningJob>();

  /** @param account the name that the caller gave it, if any. */
  constructor(journal: Journal, account: string | undefined, jobs: ClientServices, live: LiveJobs) {
    const { provider, api } = jobs;
    this.#account = new Account(account, provider, () => api.apiKey());
    this.#records = new OwnRecords(journal, provider, this.#account);
    this.#finder = new TaskFinder(this.#records, jobs);
    this.#jobs = jobs;
    this.#live = live;
  }

  /**
   * The pages of a new job, one a task. A caller's key names the job, so that the same call finds it
   * again.
   */
  async open(
    { request, split, options }: Plan,
    idempotencyKey: string | undefined,
  ): Promise<JournaledJob> {
    const { clock, provider } = this.#jobs;
    const { name, baseURL } = provider;
    const { operation } = request;
    const requestDigest = await digestOfRequest(request, options);
    const parts = { records: this.#records, provider, account: this.#account };
    const place =
      idempotencyKey === undefined
        ? undefined
        : await placeUnder(idempotencyKey, split.length, parts);
    const jobId = place?.jobId ?? newId();
    const facts: LedgerFacts = {
      ...{ jobId, provider: name, baseURL, operation, split, requestDigest },
      account: () => this.#accountFor(place),
      ...(place !== undefined && { firstId: recordId(jobId, 0, place.attempts[0]) }),
    };
    const { journal } = this.#records;
    return {
      jobId,
      taskKey: place && ((index) => place.taskKey(index)),
      entryFor: (index) =>
        new TaskEntry(journal, clock, facts, index, {
          attempt: place?.attempts[index],
          isTaken: place?.taken[index] ?? false,
        }),
    };
  }

  /** A call may wait for hours before it is sent: its place was chosen for one account. */
  async #accountFor(place: KeyedPlace | undefined): Promise<string> {
    const account = await this.#account.current();
    if (place === undefined || place.account === account) return account;
    throw changedAccountError(this.#jobs.provider.name);
  }

  /** The jobs of the records that are unsettled, and then of those that are settled and not yet released. */
  async *recover(options: RecoverOptions): AsyncIterableIterator<ImageJob> {
    const { retentionMs = monthMs, settled = true, jobId } = options;
    if (jobId !== undefined) {
      yield* this.#recoverOne(jobId, options);
      return;
    }
    const { journal } = this.#records;
    // Neither may keep jobs that were paid for from being handed out.
    await warnIfFails("cleaned", async () => journal.clean?.());
    const skipped = new SkippedRecords(options.onSkipped);
    const seen = new Set<string>();
    const open: JobRecords[] = [];
    const failed: { readonly id: string; readonly rank: number }[] = [];
    for await (const found of this.#jobsOf({ settled: false }, skipped, seen)) open.push(found);
    const isLast = ({ rank }: { readonly rank: number }) => rank >= 2;
    open.sort(byRank);
    for (const found of open) {
      if (!isLast(found)) yield* this.#handOut(found, retentionMs, skipped);
    }
    if (settled) {
      const account = await this.#records.accountIfKnown();
      const filter = { settled: true, ...(account !== undefined && { account }) };
      // Handed out while they are listed, and not kept: there may be any number.
      for await (const found of this.#jobsOf(filter, skipped, seen)) {
        if (isLast(found)) failed.push({ id: found.first.id, rank: found.rank });
        else yield* this.#handOut(found, retentionMs, skipped);
      }
    }
    skipped.tellOfOthers();
    // What ends in an error comes last: a loop that stops there has rescued the rest.
    for (const { id } of failed.sort(byRank)) {
      const first = await this.#records.own(id, skipped);
      if (first === undefined) continue;
      yield* this.#handOut(await this.#recordsOf(first, skipped), retentionMs, skipped);
    }
    for (const found of open) {
      if (isLast(found)) yield* this.#handOut(found, retentionMs, skipped);
    }
    const before = new Date(this.#jobs.clock.wallTime() - retentionMs);
    await warnIfFails("pruned", () => this.#records.prune(before));
  }

  /** The job of that name. */
  async *#recoverOne(jobId: string, options: RecoverOptions): AsyncIterableIterator<ImageJob> {
    const { retentionMs = Number.POSITIVE_INFINITY, onSkipped } = options;
    const skipped = new SkippedRecords(onSkipped);
    const first = await this.#records.firstOf(jobId, skipped);
    if (first === undefined) return;
    yield* this.#handOut(await this.#recordsOf(first, skipped), retentionMs, skipped);
  }

  /** The jobs of a listing, each once. */
  async *#jobsOf(
    filter: Pick<JournalFilter, "settled" | "account">,
    skipped: SkippedRecords,
    seen: Set<string>,
  ): AsyncIterableIterator<JobRecords> {
    for await (const record of this.#records.list(skipped, filter)) {
      // Under one key another request may have followed on one that was free.
      const name = `${record.jobId} ${record.requestDigest}`;
      if (seen.has(name)) continue;
      const isAlone = isOnlyRecord(record);
      // One that was unsettled may be settled by the time of the next listing.
      if (!isAlone || !filter.settled) seen.add(name);
      yield isAlone
        ? jobRecords(record, [record], () => true)
        : await this.#recordsOf(record, skipped);
    }
  }

  /** Every record of the job of one: its tasks, and their tries. */
  async #recordsOf(
    first: JournalRecord,
    notes: Pick<ListingNotes, "unreadable">,
  ): Promise<JobRecords> {
    const isResting = restingTasks(first);
    const read = (id: string) => this.#records.own(id, notes);
    const tries = await this.#records.tries(first.jobId, unpackSplit(first).length, read);
    const records = tries.flat().filter((each) => each.requestDigest === first.requestDigest);
    const isRead = records.some(({ id }) => id === first.id);
    return jobRecords(first, isRead ? records : [...records, first], isResting);
  }

  async *#handOut(
    found: JobRecords,
    retentionMs: number,
    { unreadableIds }: SkippedRecords,
  ): AsyncIterableIterator<ImageJob> {
    const { first, records } = found;
    const newest = newestOf(records);
    if (newest.every(({ released }) => released)) {
      // Nobody wants it: it stands only as long as its key might lead past it.
      if (this.#areExpired(records, Math.min(retentionMs, monthMs))) await this.#remove(records);
      return;
    }
    const live = this.#live.byJobId(first.jobId);
    // One that a webhook polled in vain, or that a call abandoned, has no owner.
    if (live !== undefined && !this.#unheld.delete(live) && !live.isGivenUp) return;
    if (this.#areExpired(records, retentionMs)) await this.#remove(records);
    else yield live ?? this.#restore(found, unreadableIds);
  }

  #areExpired(records: readonly JournalRecord[], retentionMs: number): boolean {
    const now = this.#jobs.clock.wallTime();
    return records.every((record) => {
      const { submittedAt, settledAt = submittedAt } = record;
      return isSettledRecord(record) && now - Date.parse(settledAt) > retentionMs;
    });
  }

  /** The newest try first: at no moment does a key lead past one that is still there. */
  async #remove(records: readonly JournalRecord[]): Promise<void> {
    const { journal } = this.#records;
    for (const { id } of records.toSorted((a, b) => (b.attempt ?? 0) - (a.attempt ?? 0))) {
      await this.#records.guarded("unknown", () => journal.delete(id));
    }
  }

  /** The job of an unsettled record that nothing in this process works on. */
  async find(target: WebhookTarget): Promise<readonly RunningJob[]> {
    const id = await this.#finder.find(target);
    const found = id === undefined ? undefined : await this.#records.own(id);
    if (found?.state !== "submitted") return [];
    if ("taskId" in target && found.taskId !== target.taskId) return [];
    const { jobId } = found;
    const unreadable = new Set<string>();
    const notes = { unreadable: (id: string) => unreadable.add(id) };
    const records = await this.#recordsOf(found, notes);
    // The records were read for a while: another call may have been quicker.
    const live = this.#live.find({ jobId, index: found.index });
    if (live.length > 0) return live;
    const job = this.#restore(records, unreadable);
    this.#unheld.add(job);
    return [job];
  }

  /** Whether a job has a record here that is this client's own. */
  async holds({ id, tasks }: ParsedReference): Promise<boolean> {
    for (const { index } of tasks) {
      const newest = (
        await this.#records.triesOf(id, index, (each) => this.#records.read(each))
      ).at(-1);
      if (newest !== undefined) return (await this.#records.own(newest.id)) !== undefined;
    }
    return false;
  }

  /** Ends what is unknown of a job by a person's word. */
  async settle(reference: ParsedReference, settlement: Settlement): Promise<void> {
    const parts = { records: this.#records, jobs: this.#jobs };
    await settle(reference, parseSettlement(settlement), parts);
  }

  #restore({ first, records, isResting }: JobRecords, unreadable: ReadonlySet<string>): RunningJob {
    const { jobId, operation, provider, baseURL, requestDigest } = first;
    const split = unpackSplit(first);
    const facts = { jobId, split, operation, provider, baseURL, requestDigest };
    const submittedAt = Date.parse(first.submittedAt);
    const sentAt = submittedAt;
    const { journal } = this.#records;
    const entries = new Map(
      newestOf(records).map((record) => [
        record.index,
        new TaskEntry(journal, this.#jobs.clock, facts, record.index, { record }),
      ]),
    );
    // The process that has the others may still come to a task that has none.
    const isOpen = [...entries.values()].some(
      ({ record }) => record !== undefined && isOwnedElsewhere(record),
    );
    const tasks = split.map((n, index) => {
      const entry = entries.get(index);
      const { key } = entry?.record ?? {};
      if (entry !== undefined) return { index, n, state: "unknown" as const, key, sentAt, entry };
      const isUnsent = !isOpen && isResting(index) && !unreadable.has(recordId(jobId, index));
      return { index, n, state: isUnsent ? ("refused" as const) : ("unknown" as const), sentAt };
    });
    const job = new RunningJob({ id: jobId, operation, submittedAt }, tasks, this.#jobs);
    this.#live.follow(job);
    return job;
  }
}

function warnIfFails(done: string, work: () => Promise<unknown>): Promise<unknown> {
  const warn = (error: unknown) =>
    process.emitWarning(`The journal could not be ${done}: ${reasonOf(error)}`);
  return work().catch(warn);
}
