import type { JournalRecord } from "./record";

/** What a journal holds under an id: to be checked, since anybody may have written it. */
export interface JournalEntry {
  readonly id: string;
  /** A {@link JournalRecord}, or whatever was found. */
  readonly record: unknown;
}

/** Which records a listing is for. */
export interface JournalFilter {
  /** `false`: those whose job has not ended; `true`: those in state `"succeeded"` or `"failed"`. */
  readonly settled?: boolean;
  readonly provider?: string;
  readonly baseURL?: string;
  /** Those of this account, and those of none. */
  readonly account?: string;
}

/** Whose jobs may go, and which: those of which every record is settled, and was before that time. */
export interface ExpiredJobs {
  readonly provider: string;
  readonly baseURL: string;
  /** Records of this account, and those of none; without it the latter alone. */
  readonly account?: string;
  readonly settledBefore: Date;
}

/** What names a task at its provider. */
export type TaskName = Pick<JournalRecord, "provider" | "baseURL"> & { readonly taskId: string };

/**
 * Where jobs outlive the process. Records are small JSON; images are bytes beside them. Several
 * processes may share one journal: `create` alone decides who may send.
 *
 * Seven members are enough. The optional ones save reading: without `findTask`, a webhook that names
 * a task by the provider's id waits for a listing, of which there is at most one in 10 s; without
 * `prune`, `recover` reads the settled records one by one to find those that may go.
 */
export interface Journal {
  /**
   * Whether workers on several machines find each other's records in it, as in PostgreSQL. Absent: it
   * does not say, as a directory, which only its owner knows to be on a shared disk.
   */
  readonly shared?: boolean;
  /** It forgets with its process, as `memoryJournal()` does: nobody's word makes it a shared one. */
  readonly volatile?: boolean;
  /** Publishes a new record, durably, unless there is one of that id: then `false`, and nothing is changed. */
  create(record: JournalRecord): Promise<boolean>;
  /** Replaces a record, durably and whole. */
  update(record: JournalRecord): Promise<void>;
  /** What is kept under an id; `undefined` where there is nothing. */
  read(id: string): Promise<unknown>;
  /**
   * Everything that is there, also what is corrupt or not ours. A filter says what is wanted of it:
   * a journal that finds that by an index saves reading, and one that gives more is as right.
   * A consumer may take minutes between two records: hold no connection meanwhile.
   */
  list(filter?: JournalFilter): AsyncIterable<JournalEntry>;
  /** Forgets a record and its images. */
  delete(id: string): Promise<void>;
  /** Keeps an image of a record, durably, replacing one of the same position. */
  writeImage(id: string, position: number, bytes: Uint8Array): Promise<void>;
  /**
   * Tries whether it can be written, and rejects where it cannot: asked once by a client, before
   * anything is paid for. Where it is left out, the first record of each job is the trial.
   */
  check?(): Promise<void>;
  /** An image that was kept. */
  readImage(id: string, position: number): Promise<Uint8Array | undefined>;
  /**
   * The id of the record in state `"submitted"` that has this `provider`, `baseURL` and `taskId`. It
   * may miss some, and may give one that is out of date: what it gives is read before it is believed.
   */
  findTask?(task: TaskName): Promise<string | undefined>;
  /** Clears away what processes that died have left half-written. `recover` calls it first. */
  clean?(): Promise<void>;
  /** Forgets the jobs that are past their retention time, with their images. `recover` calls it next. */
  prune?(expired: ExpiredJobs): Promise<void>;
}

/** A journal that forgets when the process ends: for tests. */
export function memoryJournal(): Journal {
  const records = new Map<string, string>();
  const images = new Map<string, Map<number, Uint8Array>>();
  /** The ids of the records that are submitted, by the names of their tasks; and the other way round. */
  const tasks = new Map<string, string>();
  const names = new Map<string, string>();
  function unlist(id: string): void {
    const name = names.get(id);
    names.delete(id);
    if (name !== undefined && tasks.get(name) === id) tasks.delete(name);
  }

  function put(record: JournalRecord): void {
    const { id, state, provider, baseURL, taskId } = record;
    records.set(id, JSON.stringify(record));
    unlist(id);
    if (state !== "submitted" || taskId === undefined) return;
    const name = nameOf({ provider, baseURL, taskId });
    tasks.set(name, id);
    names.set(id, name);
  }

  return {
    ...{ shared: false, volatile: true },
    async create(record) {
      if (records.has(record.id)) return false;
      put(record);
      return true;
    },
    async update(record) {
      put(record);
    },
    async read(id) {
      const text = records.get(id);
      return text === undefined ? undefined : JSON.parse(text);
    },
    async *list(filter) {
      for (const [id, text] of [...records]) {
        const record = JSON.parse(text);
        if (isWanted(record, filter)) yield { id, record };
      }
    },
    async delete(id) {
      records.delete(id);
      images.delete(id);
      unlist(id);
    },
    async writeImage(id, position, bytes) {
      const kept = images.get(id) ?? new Map<number, Uint8Array>();
      images.set(id, kept.set(position, Uint8Array.from(bytes)));
    },
    async readImage(id, position) {
      // A copy: what its reader does to it must not change what is kept.
      return images.get(id)?.get(position)?.slice();
    },
    async findTask(task) {
      return tasks.get(nameOf(task));
    },
  };
}

/** Whether a listing is for what stands in a journal; what is no record belongs to the unsettled ones. */
export function isWanted(record: unknown, { settled }: JournalFilter = {}): boolean {
  const state = typeof record === "object" && record !== null && "state" in record && record.state;
  return settled === undefined || settled === (state === "succeeded" || state === "failed");
}

function nameOf({ provider, baseURL, taskId }: TaskName): string {
  return JSON.stringify([provider, baseURL, taskId]);
}
