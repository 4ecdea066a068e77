import type { JournalRecord } from "./record";
import { isWanted } from "./wanted";

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
 * processes may share one journal: `create` decides who may send, and `compareAndSwap` who may send again.
 *
 * Seven members are enough. Most of the optional ones save reading: without `findTask`, a webhook that names
 * a task by the provider's id waits for a listing, of which there is at most one in 10 s; without
 * `prune`, `recover` reads the settled records one by one to find those that may go. `compareAndSwap` is
 * for several processes under one idempotency key, of which one may die.
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
  /**
   * Puts `next` in the place of a record, durably, or forgets it where there is no `next`: only while what
   * is kept is, as JSON, what `read` gave or `create` was given. Otherwise `false`, and nothing is changed.
   * In one step, if it can be; while it is replaced, `create` must find a record at every moment. Without
   * it, another process may write between a look at a record and its removal: a job that it has bought under
   * the same key meanwhile is then lost if it dies, too.
   */
  compareAndSwap?(id: string, expected: unknown, next?: JournalRecord): Promise<boolean>;
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
  const tasks = new TaskNames();

  function put(record: JournalRecord): void {
    records.set(record.id, JSON.stringify(record));
    tasks.put(record);
  }

  function forget(id: string): void {
    records.delete(id);
    images.delete(id);
    tasks.remove(id);
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
      forget(id);
    },
    async compareAndSwap(id, expected, next) {
      if (records.get(id) !== JSON.stringify(expected)) return false;
      if (next === undefined) forget(id);
      else put(next);
      return true;
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
      return tasks.find(task);
    },
  };
}

/** The records that are submitted, by the names of their tasks. */
class TaskNames {
  readonly #ids = new Map<string, string>();
  readonly #names = new Map<string, string>();

  put({ id, state, provider, baseURL, taskId }: JournalRecord): void {
    this.remove(id);
    if (state !== "submitted" || taskId === undefined) return;
    const name = nameOf({ provider, baseURL, taskId });
    this.#ids.set(name, id);
    this.#names.set(id, name);
  }

  remove(id: string): void {
    const name = this.#names.get(id);
    this.#names.delete(id);
    if (name !== undefined && this.#ids.get(name) === id) this.#ids.delete(name);
  }

  find(task: TaskName): string | undefined {
    return this.#ids.get(nameOf(task));
  }
}

function nameOf({ provider, baseURL, taskId }: TaskName): string {
  return JSON.stringify([provider, baseURL, taskId]);
}
