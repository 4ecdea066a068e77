import { reasonOf } from "../errors";
import { codeOf } from "../realm";
import { unlessMissing } from "./directory-file-system";
import type { imagesIn } from "./directory-images";
import { checkedId, recordName } from "./directory-names";
import { heldMark, putBack, removeFile, replaceFile } from "./directory-swap";
import type { DirectoryTasks } from "./directory-tasks";
import { type DurableDirectory, temporaryMark } from "./durable-directory";
import type { JournalEntry, JournalFilter } from "./journal";
import { type JournalRecord, journalRecordSchema } from "./record";
import { isWanted } from "./wanted";

/**
 * What `link` gives where there are no hard links: Linux on FAT and FUSE `EPERM`, some network file
 * systems the next three, libuv on Windows with FAT `EISDIR` (for `ERROR_INVALID_FUNCTION`).
 */
const noLinks = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EISDIR"];

/** The records of a directory: each is one file, and what stands beside it goes with it. */
export class DirectoryRecords {
  readonly #directory: DurableDirectory;
  readonly #images: ReturnType<typeof imagesIn>;
  readonly #tasks: DirectoryTasks;

  constructor(
    directory: DurableDirectory,
    images: ReturnType<typeof imagesIn>,
    tasks: DirectoryTasks,
  ) {
    this.#directory = directory;
    this.#images = images;
    this.#tasks = tasks;
  }

  /** False where there is one of that id. */
  async create(record: JournalRecord): Promise<boolean> {
    const { fileSystem, path: directory } = this.#directory;
    let created = false;
    try {
      await this.#directory.write(textOf(record), async (temporary) => {
        try {
          // A link refuses a name that is taken: of several processes one alone succeeds.
          await fileSystem.link(temporary, this.#path(record.id));
          created = true;
        } catch (error) {
          if (noLinks.includes(codeOf(error) ?? "")) throw withoutLinks(directory, error);
          if (codeOf(error) !== "EEXIST") throw error;
        }
      });
    } catch (error) {
      // It is not durable, so nothing will be sent: a marker left behind would say otherwise.
      if (created) await fileSystem.rm(this.#path(record.id), { force: true });
      throw error;
    }
    return created;
  }

  async update(record: JournalRecord): Promise<void> {
    await this.#directory.write(textOf(record), (temporary) =>
      this.#directory.fileSystem.rename(temporary, this.#path(record.id)),
    );
    await this.#tasks.note(record);
  }

  async read(id: string): Promise<unknown> {
    const { fileSystem } = this.#directory;
    const text = await unlessMissing(fileSystem.readFile(this.#path(id), "utf8"));
    return text === undefined ? undefined : parsed(text);
  }

  async *list(filter?: JournalFilter): AsyncIterableIterator<JournalEntry> {
    for (const entry of await this.#directory.entries()) {
      const { name } = entry;
      if (!name.endsWith(".json") || name.startsWith(temporaryMark)) continue;
      const record = await this.#contentOf(name, !entry.isFile() && !entry.isDirectory());
      // Missing: released by another process since the directory was read. What cannot be read
      // (a directory of that name, a file of somebody else's) must not hide the others.
      if (record === undefined || !isWanted(record, filter)) continue;
      yield { id: name.slice(0, -".json".length), record };
    }
  }

  async delete(id: string): Promise<void> {
    const found = await this.read(id);
    if (found !== undefined) {
      // The record first, and durably: no power cut may leave one whose images are gone.
      await this.#directory.fileSystem.rm(this.#path(id), { force: true });
      await this.#directory.sync();
    }
    await this.#forgetRest(id, found);
  }

  /** Removes the record where there is no `next`. False where it is not what is expected. */
  async compareAndSwap(
    id: string,
    expected: unknown,
    next: JournalRecord | undefined,
  ): Promise<boolean> {
    const files = this.#held(
      id,
      this.#directory.place(`${heldMark}${checkedId(id)}.${crypto.randomUUID()}`),
    );
    const wanted = JSON.stringify(expected);
    const isExpected = (text: string) => JSON.stringify(parsed(text)) === wanted;
    const replace = (temporary: string) => replaceFile(files, isExpected, temporary);
    const isSwapped = await (next === undefined
      ? removeFile(files, isExpected)
      : this.#directory.write(textOf(next), replace));
    if (isSwapped)
      await (next === undefined ? this.#forgetRest(id, expected) : this.#tasks.note(next));
    return isSwapped;
  }

  /** Brings a record back that a process which died had taken away to look at. */
  putBack(id: string, held: string): Promise<void> {
    return putBack(this.#held(id, held), true);
  }

  #held(id: string, held: string) {
    const { fileSystem } = this.#directory;
    return { fileSystem, path: this.#path(id), held, sync: () => this.#directory.sync() };
  }

  #path(id: string): string {
    return this.#directory.place(recordName(id));
  }

  /** What a file called `*.json` holds; `undefined` where it has gone. */
  async #contentOf(name: string, isOther: boolean): Promise<unknown> {
    const { fileSystem } = this.#directory;
    // Opening a named pipe blocks until a writer opens it, and a device may never end.
    if (isOther && !(await this.#isRegular(name))) return "It is no regular file";
    const path = this.#directory.place(name);
    const text = await unlessMissing(fileSystem.readFile(path, "utf8")).catch(String);
    return text === undefined ? undefined : parsed(text);
  }

  /** What a link leads to counts. */
  async #isRegular(name: string): Promise<boolean> {
    const { fileSystem } = this.#directory;
    const found = await fileSystem.stat(this.#directory.place(name)).catch(() => undefined);
    return found?.isFile() ?? false;
  }

  /** What there was beside a record that has gone. */
  async #forgetRest(id: string, found: unknown): Promise<void> {
    const { success, data: record } = journalRecordSchema.safeParse(found);
    if (success) await this.#tasks.note({ ...record, state: "failed" });
    // By their names: to read the directory for each of thousands takes time by their square.
    const known = success ? Math.max(record.n, record.images?.length ?? 0) : 0;
    let position = 0;
    while ((await this.#images.remove(id, position)) || position < known) position += 1;
  }
}

function withoutLinks(directory: string, cause: unknown): Error {
  const fault = `The file system of ${directory} has no hard links, or forbids them (${reasonOf(cause)})`;
  const need = "a journal needs them, so that of two processes one alone begins a record";
  return new Error(`${fault}: ${need}. Put it on a local file system that has them`, { cause });
}

function textOf(record: JournalRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** The JSON of a file, or its text where it is none: what reads it says what is wrong with it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
