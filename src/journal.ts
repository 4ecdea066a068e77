import type { JournalRecord } from "./journal-record";

/** What a journal holds under an id: to be checked, since anybody may have written it. */
export interface JournalEntry {
  readonly id: string;
  /** A {@link JournalRecord}, or whatever was found. */
  readonly record: unknown;
}

/**
 * Where jobs outlive the process. Records are small JSON; images are bytes beside them. Several
 * processes may share one journal: `create` alone decides who may send.
 */
export interface Journal {
  /** Publishes a new record, durably, unless there is one of that id: then `false`, and nothing is changed. */
  create(record: JournalRecord): Promise<boolean>;
  /** Replaces a record, durably and whole. */
  update(record: JournalRecord): Promise<void>;
  /** What is kept under an id; `undefined` where there is nothing. */
  read(id: string): Promise<unknown>;
  /** Everything that is there, also what is corrupt or not ours. */
  list(): AsyncIterable<JournalEntry>;
  /** Forgets a record and its images. */
  delete(id: string): Promise<void>;
  /** Keeps an image of a record, durably, replacing one of the same position. */
  writeImage(id: string, position: number, bytes: Uint8Array): Promise<void>;
  /** An image that was kept. */
  readImage(id: string, position: number): Promise<Uint8Array | undefined>;
}

/** A journal that forgets when the process ends: for tests. */
export function memoryJournal(): Journal {
  const records = new Map<string, string>();
  const images = new Map<string, Uint8Array>();
  const imageKey = (id: string, position: number) => `${id}/${position}`;
  return {
    async create(record) {
      if (records.has(record.id)) return false;
      records.set(record.id, JSON.stringify(record));
      return true;
    },
    async update(record) {
      records.set(record.id, JSON.stringify(record));
    },
    async read(id) {
      const text = records.get(id);
      return text === undefined ? undefined : JSON.parse(text);
    },
    async *list() {
      for (const [id, text] of [...records]) yield { id, record: JSON.parse(text) };
    },
    async delete(id) {
      records.delete(id);
      for (const key of images.keys()) if (key.startsWith(`${id}/`)) images.delete(key);
    },
    async writeImage(id, position, bytes) {
      images.set(imageKey(id, position), Uint8Array.from(bytes));
    },
    async readImage(id, position) {
      // A copy: what its reader does to it must not change what is kept.
      return images.get(imageKey(id, position))?.slice();
    },
  };
}
