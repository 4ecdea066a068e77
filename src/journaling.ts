import { sleep } from "./clock";
import { JournalError, reasonOf } from "./errors";
import { digestOfRequest } from "./identity";
import type { ImageJob } from "./job";
import type { Journal } from "./journal";
import { type JournalRecord, journalRecordSchema } from "./journal-record";
import { recordId, TaskLedger } from "./ledger";
import type { LiveJobs } from "./live-jobs";
import type { Plan } from "./plan";
import { type JobContext, RunningJob } from "./running-job";
import type { WebhookTarget } from "./webhooks";

/** What happens to records that are not handed out. */
export interface RecoverOptions {
  /** Settled jobs that ended longer ago than this, in milliseconds, are let go. Default: 30 days. */
  readonly retentionMs?: number;
  /** Hears of what cannot be read as a record; it is left where it is. Default: a process warning. */
  readonly onSkipped?: (id: string, reason: string) => unknown;
}

/** How often the journal may be read through because of webhooks. */
const scanGapMs = 1_000;

/** What a client does with its journal: pages for its own jobs, and the jobs that others have left. */
export class Journaling {
  readonly #journal: Journal;
  readonly #jobs: JobContext;
  readonly #live: LiveJobs;
  /** Jobs that a webhook has brought back from the journal, and that nobody was given. */
  readonly #unheld = new WeakSet<RunningJob>();
  #scanning: Promise<readonly JournalRecord[]> | undefined;
  #scannedAt = 0;

  constructor(journal: Journal, jobs: JobContext, live: LiveJobs) {
    this.#journal = journal;
    this.#jobs = jobs;
    this.#live = live;
  }

  /** The pages of a new job, one a task. */
  async ledgersFor(
    jobId: string,
    { request, split, options }: Plan,
  ): Promise<(index: number) => TaskLedger> {
    const { clock, provider } = this.#jobs;
    const { name, baseURL } = provider;
    const { operation } = request;
    const requestDigest = await digestOfRequest(request, options);
    const facts = { jobId, provider: name, baseURL, operation, split, requestDigest };
    return (index) => new TaskLedger(this.#journal, clock, facts, index);
  }

  /** The jobs of the records that are unsettled, or settled and not yet released. */
  async *recover(options: RecoverOptions): AsyncIterableIterator<ImageJob> {
    const { retentionMs = 30 * 24 * 60 * 60 * 1000, onSkipped = warnOfSkipped } = options;
    const jobs = new Map<string, JournalRecord[]>();
    const unreadable = new Set<string>();
    const skip: typeof onSkipped = (id, reason) => {
      unreadable.add(id);
      return onSkipped(id, reason);
    };
    for await (const record of this.#records(skip)) {
      jobs.set(record.jobId, [...(jobs.get(record.jobId) ?? []), record]);
    }
    for (const [id, records] of jobs) {
      const live = this.#live.byJobId(id);
      // One that a webhook has asked after in vain, or that a call gave up on, is in nobody's hands.
      if (live !== undefined && !this.#unheld.delete(live) && !live.isGivenUp) continue;
      const job = live ?? this.#restore(records, unreadable);
      if (job === undefined) continue;
      const expired = records.every((record) => this.#isExpired(record, retentionMs));
      if (expired) await job.release();
      else yield job;
    }
  }

  /** The job of a record that waits for an answer and that nobody in this process works on. */
  async find(target: WebhookTarget): Promise<readonly RunningJob[]> {
    const wanted = (record: JournalRecord) =>
      record.state === "submitted" &&
      ("taskId" in target
        ? record.taskId === target.taskId
        : record.jobId === target.jobId && record.index === target.index);
    const records = await this.#scan();
    const found = records.find(wanted);
    if (found === undefined) return [];
    // The records were read for a while: this one may have been settled meanwhile.
    const newest = journalRecordSchema.safeParse(await this.#journal.read(found.id));
    if (!newest.success || !wanted(newest.data)) return [];
    const live = this.#live.find({ jobId: found.jobId, index: found.index });
    if (live.length > 0) return live;
    const job = this.#restore(records.filter((record) => record.jobId === found.jobId));
    if (job === undefined) return [];
    this.#unheld.add(job);
    return [job];
  }

  /** All records, read at most once a second however many calls come in. */
  #scan(): Promise<readonly JournalRecord[]> {
    if (this.#scanning === undefined) {
      const { clock, closing } = this.#jobs;
      const delayMs = Math.max(0, this.#scannedAt + scanGapMs - clock.now());
      this.#scanning = sleep(clock, delayMs, closing).then(async () => {
        this.#scannedAt = clock.now();
        // Whoever comes from here on may be about a record that this scan misses.
        this.#scanning = undefined;
        const records: JournalRecord[] = [];
        for await (const record of this.#records(() => {})) records.push(record);
        return records;
      });
    }
    return this.#scanning;
  }

  #isExpired(
    { state, submittedAt, settledAt = submittedAt }: JournalRecord,
    retentionMs: number,
  ): boolean {
    const settled = state === "succeeded" || state === "failed";
    return settled && this.#jobs.clock.now() - Date.parse(settledAt) > retentionMs;
  }

  async *#records(
    onSkipped: NonNullable<RecoverOptions["onSkipped"]>,
  ): AsyncIterableIterator<JournalRecord> {
    const { name, baseURL } = this.#jobs.provider;
    try {
      for await (const { id, record } of this.#journal.list()) {
        const parsed = journalRecordSchema.safeParse(record);
        if (!parsed.success || parsed.data.id !== id) {
          onSkipped(id, "it is no record of this version");
        } else if (parsed.data.provider === name && parsed.data.baseURL === baseURL) {
          yield parsed.data;
        }
      }
    } catch (cause) {
      const detail = reasonOf(cause);
      throw new JournalError({ provider: name, charged: "no", detail, cause });
    }
  }

  #restore(
    records: readonly JournalRecord[],
    unreadable: ReadonlySet<string> = new Set(),
  ): RunningJob | undefined {
    const [first] = records;
    if (first === undefined) return undefined;
    const { jobId, split, operation, provider, baseURL, requestDigest } = first;
    const facts = { jobId, split, operation, provider, baseURL, requestDigest };
    const submittedAt = Date.parse(first.submittedAt);
    const sentAt = submittedAt;
    const ledgers = records.map(
      (record) => new TaskLedger(this.#journal, this.#jobs.clock, facts, record.index, record),
    );
    // A marker is there before anything leaves: a task without one was never sent, unless what
    // stands there cannot be read, or the process that has the others is still at it.
    const isOpen = ledgers.some((ledger) => ledger.isOwnedElsewhere);
    const tasks = split.map((n, index) => {
      const ledger = ledgers.find((each) => each.record?.index === index);
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

function warnOfSkipped(id: string, reason: string): void {
  process.emitWarning(`The journal's ${id} was skipped: ${reason}`);
}
