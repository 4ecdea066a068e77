import type { Charged } from "../cost";
import { JournalError, reasonOf } from "../errors";
import type { Journal } from "./journal";
import type { JournalRecord } from "./record";

/** What stands in a journal under one id. Whatever fails there is a {@link JournalError}. */
export class StoredRecord {
  readonly id: string;
  /** Whether it can be replaced only while nobody else has written. */
  readonly canSwap: boolean;
  readonly #journal: Journal;
  readonly #provider: string;
  /** As it was last read or written. */
  #found: unknown;
  /** What is being written: whoever takes the record away waits for that, or it would come back. */
  readonly #pending = new Set<Promise<unknown>>();

  constructor(journal: Journal, provider: string, id: string) {
    this.#journal = journal;
    this.#provider = provider;
    this.id = id;
    this.canSwap = journal.compareAndSwap !== undefined;
  }

  /** False where there is one already. */
  async create(record: JournalRecord): Promise<boolean> {
    try {
      const isCreated = await this.#journal.create(record);
      if (isCreated) this.#found = record;
      return isCreated;
    } catch (cause) {
      throw this.#error("no", cause);
    }
  }

  async read(): Promise<unknown> {
    try {
      this.#found = await this.#journal.read(this.id);
      return this.#found;
    } catch (cause) {
      throw this.#error("no", cause);
    }
  }

  /** What stands under another id of the same journal. */
  readOther(id: string): Promise<unknown> {
    return this.#guarded("no", () => this.#journal.read(id));
  }

  update(record: JournalRecord, charged: Charged): Promise<void> {
    this.#found = record;
    return this.#write(this.#guarded(charged, () => this.#journal.update(record)));
  }

  /** Replaces it, or removes it where there is no `next`. False where another process has written since. */
  async swap(charged: Charged, next?: JournalRecord): Promise<boolean> {
    try {
      const isSwapped = await this.#journal.compareAndSwap?.(this.id, this.#found, next);
      if (!isSwapped) return false;
      this.#found = next;
      return true;
    } catch (cause) {
      throw this.#error(charged, cause);
    }
  }

  writeImage(position: number, bytes: Uint8Array): Promise<void> {
    const write = () => this.#journal.writeImage(this.id, position, bytes);
    return this.#write(this.#guarded("yes", write));
  }

  readImage(position: number): Promise<Uint8Array | undefined> {
    return this.#guarded("yes", () => this.#journal.readImage(this.id, position));
  }

  /** Leaves this in its place, once nothing more is being written: the last word of its task. */
  async free(record: JournalRecord): Promise<void> {
    await Promise.allSettled(this.#pending);
    await this.#guarded("no", () => this.#journal.update(record));
  }

  /** Removes it, once nothing more is being written. */
  async delete(): Promise<void> {
    await Promise.allSettled(this.#pending);
    await this.deleteOther(this.id);
  }

  /** Removes what stands under another id of the same journal. */
  deleteOther(id: string): Promise<void> {
    return this.#guarded("unknown", () => this.#journal.delete(id));
  }

  async #write(write: Promise<void>): Promise<void> {
    this.#pending.add(write);
    try {
      return await write;
    } finally {
      this.#pending.delete(write);
    }
  }

  async #guarded<Value>(charged: Charged, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (cause) {
      throw this.#error(charged, cause);
    }
  }

  #error(charged: Charged, cause: unknown): JournalError {
    return new JournalError({ provider: this.#provider, charged, detail: reasonOf(cause), cause });
  }
}
