import { Account, changedAccountError } from "../journal/account";
import { type LedgerFacts, TaskLedger } from "../journal/entry";
import type { Journal } from "../journal/journal";
import { type KeyedPlace, placeUnder } from "../journal/keyed-place";
import { OwnRecords } from "../journal/own-records";
import {
  isFree,
  isSettledRecord,
  type JournalRecord,
  recordId,
  unpackSplit,
} from "../journal/record";
import { digestOfRequest, newId } from "../request/fingerprint";
import type { Plan } from "../request/plan";
import type { ImageJob } from "../types";
import type { ParsedReference } from "./job";
import type { LiveJobs, WebhookTarget } from "./registry";
import { type JobContext, RunningJob } from "./running-job";
import { parseSettlement, type Settlement, settle } from "./settlement";
import { TaskFinder } from "./task-finder";

/** What happens to records that are not handed out. */
export interface RecoverOptions {
  /** Settled jobs that ended longer ago than this, in milliseconds, are let go. Default: 30 days. */
  readonly retentionMs?: number;
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
  ledgerFor(index: number): TaskLedger;
}

/** What a client does with its journal: pages for its own jobs, and the jobs that others have left. */
export class Journaling {
  readonly #records: OwnRecords;
  readonly #account: Account;
  readonly #finder: TaskFinder;
  readonly #jobs: JobContext;
  readonly #live: LiveJobs;
  /** Jobs that a webhook has brought back from the journal, and that nobody was given. */
  readonly #unheld = new WeakSet<RunningJob>();

  /** @param account the name that the caller gave it, if any. */
  constructor(journal: Journal, account: string | undefined, jobs: JobContext, live: LiveJobs) {
    const { provider, gateway } = jobs;
    this.#account = new Account(account, provider, () => gateway.apiKey());
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
      firstId: recordId(jobId, 0, place?.attempts[0]),
    };
    const { journal } = this.#records;
    return {
      jobId,
      taskKey: place && ((index) => place.taskKey(index)),
      ledgerFor: (index) =>
        new TaskLedger(journal, clock, facts, index, undefined, place?.attempts[index]),
    };
  }

  /** A call may wait for hours before it is sent: its place was chosen for one account. */
  async #accountFor(place: KeyedPlace | undefined): Promise<string> {
    const account = await this.#account.current();
    if (place === undefined || place.account === account) return account;
    throw changedAccountError(this.#jobs.provider.name);
  }

  /** The jobs of the records that are unsettled, or settled and not yet released. */
  async *recover(options: RecoverOptions): AsyncIterableIterator<ImageJob> {
    const { retentionMs = 30 * 24 * 60 * 60 * 1000, onSkipped = warnOfSkipped } = options;
    const { journal } = this.#records;
    await this.#records.guarded("no", async () => journal.clean?.());
    const unreadable = new Set<string>();
    const foreign = new Map<string, string>();
    const notes = {
      unreadable(id: string) {
        unreadable.add(id);
        onSkipped(id, "it is no record of this version");
      },
      foreign({ jobId, id }: JournalRecord) {
        if (!foreign.has(jobId)) foreign.set(jobId, id);
      },
    };
    const jobs = new Map<string, JournalRecord[]>();
    for await (const record of this.#records.list(notes)) {
      // Under one key another request may have followed on one that was free.
      const name = `${record.jobId} ${record.requestDigest}`;
      const records = jobs.get(name);
      if (records === undefined) jobs.set(name, [record]);
      else records.push(record);
    }
    const [foreignId] = foreign.values();
    if (foreignId !== undefined) {
      const many = foreign.size === 1 ? "1 job" : `${foreign.size} jobs`;
      onSkipped(foreignId, `${many} of other accounts were left to them`);
    }
    // What ends in an error comes last: a loop that stops there has rescued the rest.
    for (const records of [...jobs.values()].sort((a, b) => rankOf(a) - rankOf(b))) {
      const [first] = records;
      const newest = newestOf(records);
      if (first === undefined || newest.every(({ released }) => released)) {
        if (this.#areExpired(records, retentionMs)) await this.#remove(records);
        continue;
      }
      const live = this.#live.byJobId(first.jobId);
      // One that a webhook has asked after in vain, or that a call gave up on, is in nobody's hands.
      if (live !== undefined && !this.#unheld.delete(live) && !live.isGivenUp) continue;
      if (this.#areExpired(records, retentionMs)) await this.#remove(records);
      else yield live ?? this.#restore(first, newest, unreadable);
    }
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

  /** The job of a record that waits for an answer and that nobody in this process works on. */
  async find(target: WebhookTarget): Promise<readonly RunningJob[]> {
    const id = await this.#finder.find(target);
    const found = id === undefined ? undefined : await this.#records.own(id);
    if (found?.state !== "submitted") return [];
    if ("taskId" in target && found.taskId !== target.taskId) return [];
    const { jobId } = found;
    const unreadable = new Set<string>();
    const notes = { unreadable: (id: string) => unreadable.add(id) };
    const read = (id: string) => this.#records.own(id, notes);
    const tries = await this.#records.tries(jobId, unpackSplit(found).length, read);
    // The records were read for a while: another call may have been quicker.
    const live = this.#live.find({ jobId, index: found.index });
    if (live.length > 0) return live;
    const job = this.#restore(found, newestOf(tries.flat()), unreadable);
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

  #restore(
    first: JournalRecord,
    records: readonly JournalRecord[],
    unreadable: ReadonlySet<string>,
  ): RunningJob {
    const { jobId, operation, provider, baseURL, requestDigest } = first;
    const split = unpackSplit(first);
    const facts = { jobId, split, operation, provider, baseURL, requestDigest };
    const submittedAt = Date.parse(first.submittedAt);
    const sentAt = submittedAt;
    const { journal } = this.#records;
    const ledgers = new Map(
      records.map((record) => [
        record.index,
        new TaskLedger(journal, this.#jobs.clock, facts, record.index, record),
      ]),
    );
    // A marker is there before anything leaves: a task without one was never sent, unless what
    // stands there cannot be read, or the process that has the others is still at it.
    const isOpen = [...ledgers.values()].some((ledger) => ledger.isOwnedElsewhere);
    const tasks = split.map((n, index) => {
      const ledger = ledgers.get(index);
      const { key } = ledger?.record ?? {};
      if (ledger !== undefined) return { index, n, state: "unknown" as const, key, sentAt, ledger };
      const isUnsent = !isOpen && !unreadable.has(recordId(jobId, index));
      return { index, n, state: isUnsent ? ("refused" as const) : ("unknown" as const), sentAt };
    });
    const job = new RunningJob({ id: jobId, operation, submittedAt }, tasks, this.#jobs);
    if (!job.isSettled) this.#live.add(job, ...job.tasks.flatMap((task) => task.id ?? []));
    return job;
  }
}

/** The newest try of each task. */
function newestOf(records: readonly JournalRecord[]): readonly JournalRecord[] {
  const newest = new Map<number, JournalRecord>();
  for (const record of records) {
    const { index, attempt = 0 } = record;
    if (attempt >= (newest.get(index)?.attempt ?? 0)) newest.set(index, record);
  }
  return [...newest.values()];
}

/** How sure it is that a job's result gives pictures: 0 most. */
function rankOf(records: readonly JournalRecord[]): number {
  const all = newestOf(records);
  const isOpen = (record: JournalRecord) =>
    record.state === "submitted" || (record.call !== undefined && !isSettledRecord(record));
  if (all.some(isOpen)) return 1;
  if (all.some(({ state }) => state === "succeeded")) return 0;
  return all.every(isFree) ? 2 : 3;
}

function warnOfSkipped(id: string, reason: string): void {
  process.emitWarning(`The journal's ${id} was skipped: ${reason}`);
}
