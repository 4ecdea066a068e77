import type { Provider } from "../adapter/provider";
import type { Charged } from "../cost";
import { isImageError, JournalError, reasonOf } from "../errors";
import type { Account } from "./account";
import type { Journal, JournalFilter } from "./journal";
import {
  isFree,
  isSettledRecord,
  type JournalRecord,
  journalRecordSchema,
  recordId,
} from "./record";

/** What a listing leaves out. */
export interface ListingNotes {
  /** It cannot be read as a record. */
  unreadable(id: string): unknown;
  /** It is this provider's, and another account's. */
  foreign(record: JournalRecord): unknown;
}

/** How many records of one job are read at once. */
const batchSize = 32;

/** A journal as one client sees it: the records of its own provider and account. */
export class OwnRecords {
  readonly journal: Journal;
  readonly #provider: Provider;
  readonly #account: Account;

  constructor(journal: Journal, provider: Provider, account: Account) {
    this.journal = journal;
    this.#provider = provider;
    this.#account = account;
  }

  /**
   * A record, whosever it is.
   *
   * @throws {@link JournalError} if it cannot be read, or is no record of this version.
   */
  async read(id: string): Promise<JournalRecord | undefined> {
    const found = await this.guarded("no", () => this.journal.read(id));
    if (found === undefined) return undefined;
    const { data: record } = journalRecordSchema.safeParse(found);
    if (record !== undefined) return record;
    const detail = `What stands under ${id} is no record of this version`;
    throw new JournalError({ provider: this.#provider.name, charged: "no", detail });
  }

  /** A record of this client's own; `undefined` for whatever else is there. */
  async own(
    id: string,
    notes?: Pick<ListingNotes, "unreadable">,
  ): Promise<JournalRecord | undefined> {
    const found = await this.guarded("no", () => this.journal.read(id));
    if (found === undefined) return undefined;
    const { data: record } = journalRecordSchema.safeParse(found);
    if (record === undefined || record.id !== id) notes?.unreadable(id);
    else if (this.#isOfProvider(record) && (await this.#isOfAccount(record))) return record;
    return undefined;
  }

  /** A record of a job of this client's own: mostly that of its first task, which may have been settled away. */
  async firstOf(jobId: string, notes: ListingNotes): Promise<JournalRecord | undefined> {
    // What could be no part of a record's name names no job.
    if (!/^[\w-]+$/.test(jobId)) return undefined;
    const found = await this.own(recordId(jobId, 0), notes);
    if (found !== undefined) return found;
    for (const settled of [false, true]) {
      for await (const record of this.list(notes, { settled })) {
        if (record.jobId === jobId) return record;
      }
    }
    return undefined;
  }

  /** Every record of this client's own, also those of a version without accounts. */
  async *list(
    notes: ListingNotes,
    filter: Pick<JournalFilter, "settled" | "account">,
  ): AsyncIterableIterator<JournalRecord> {
    // Asked for once it is needed: a journal without accounts can be read without a key.
    let account: string | undefined;
    for await (const record of this.#ofProvider(filter, notes)) {
      if (record.account !== undefined) account ??= await this.#account.current();
      if (record.account === undefined || record.account === account) yield record;
      else notes.foreign(record);
    }
  }

  /** The unsettled records of this provider that have an account, and not this one. */
  async *unsettledOfOthers(account: string): AsyncIterableIterator<JournalRecord> {
    for await (const record of this.#ofProvider({ settled: false })) {
      if (record.account !== undefined && record.account !== account) yield record;
    }
  }

  /**
   * Puts `next` in the place of a record, or forgets it where there is none. False where another process has
   * written since it was read, which a journal without `compareAndSwap` cannot tell.
   */
  async replace(record: JournalRecord, next: JournalRecord | undefined): Promise<boolean> {
    const { journal } = this;
    return this.guarded("unknown", async () => {
      if (journal.compareAndSwap === undefined) {
        await (next === undefined ? journal.delete(record.id) : journal.update(next));
        return true;
      }
      const stored = await journal.read(record.id);
      const { data } = journalRecordSchema.safeParse(stored);
      if (JSON.stringify(data) !== JSON.stringify(record)) return false;
      return journal.compareAndSwap(record.id, stored, next);
    });
  }

  /** Has the journal forget the jobs that settled before a time, where it can find them by itself. */
  async prune(settledBefore: Date): Promise<void> {
    const { journal } = this;
    if (journal.prune === undefined) return;
    const { name: provider, baseURL } = this.#provider;
    const account = await this.accountIfKnown();
    const whose = { provider, baseURL, ...(account !== undefined && { account }) };
    await this.guarded("no", async () => journal.prune?.({ ...whose, settledBefore }));
  }

  /** `undefined` where the API key says it, and there is none: records without an account need none. */
  async accountIfKnown(): Promise<string | undefined> {
    try {
      return await this.#account.current();
    } catch (error) {
      if (isImageError(error) && error.code === "authentication") return undefined;
      throw error;
    }
  }

  /** The records of this provider that a filter is for, and no others. */
  async *#ofProvider(filter: JournalFilter, notes?: Pick<ListingNotes, "unreadable">) {
    for await (const { id, record: found } of this.#entries(filter)) {
      const { data: record } = journalRecordSchema.safeParse(found);
      if (record === undefined || record.id !== id) notes?.unreadable(id);
      else if (this.#isOfProvider(record) && isSettledRecord(record) === filter.settled)
        yield record;
    }
  }

  async *#entries(filter: JournalFilter) {
    const { name: provider, baseURL } = this.#provider;
    try {
      yield* this.journal.list({ ...filter, provider, baseURL });
    } catch (cause) {
      throw this.#failure("no", cause);
    }
  }

  /**
   * The tries of each task of a job, the newest last: all but it have failed without a charge.
   *
   * @param read gives a record by its id.
   */
  async tries(
    jobId: string,
    tasks: number,
    read: (id: string) => Promise<JournalRecord | undefined>,
  ): Promise<readonly (readonly JournalRecord[])[]> {
    const tries: (readonly JournalRecord[])[] = [];
    for (let from = 0; from < tasks; from += batchSize) {
      const length = Math.min(batchSize, tasks - from);
      const batch = Array.from({ length }, (_, at) => this.triesOf(jobId, from + at, read));
      tries.push(...(await Promise.all(batch)));
    }
    return tries;
  }

  /** The same of one task. */
  async triesOf(
    jobId: string,
    index: number,
    read: (id: string) => Promise<JournalRecord | undefined>,
  ): Promise<readonly JournalRecord[]> {
    const tries: JournalRecord[] = [];
    for (;;) {
      const record = await read(recordId(jobId, index, tries.length));
      if (record !== undefined) tries.push(record);
      if (record === undefined || !isFree(record)) return tries;
    }
  }

  /** @throws {@link JournalError} in place of what the journal throws. */
  async guarded<Value>(charged: Charged, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (cause) {
      throw this.#failure(charged, cause);
    }
  }

  #failure(charged: Charged, cause: unknown): JournalError {
    const { name: provider } = this.#provider;
    return new JournalError({ provider, charged, detail: reasonOf(cause), cause });
  }

  #isOfProvider({ provider, baseURL }: JournalRecord): boolean {
    return provider === this.#provider.name && baseURL === this.#provider.baseURL;
  }

  async #isOfAccount({ account }: JournalRecord): Promise<boolean> {
    return account === undefined || account === (await this.#account.current());
  }
}
