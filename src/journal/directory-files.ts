import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { dirname, join } from "node:path";
import { reasonOf } from "../errors";
import { makeDirectory } from "../files/make-directory";
import { codeOf } from "../realm";
import { type JournalFileSystem, unlessMissing } from "./directory-file-system";
import { imagesIn } from "./directory-images";
import { heldMark, heldRecord, putBack, removeFile, replaceFile } from "./directory-swap";
import type { Journal, JournalFilter, TaskName } from "./journal";
import { type JournalRecord, journalRecordSchema } from "./record";
import { isWanted } from "./wanted";

const temporaryMark = ".part-";

/** The files of which each names the record of a task by the provider's id. */
const taskMark = ".task-";

/** Matches only files that this module wrote: no other file may be deleted. */
const leftOver = /^(?:\.part-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}|\.task-[\da-f]{32})$/;

/** No write takes so long: what is older is of a process that died. */
const leftOverMs = 24 * 60 * 60 * 1000;

/**
 * What `link` gives where there are no hard links: Linux on FAT and FUSE `EPERM`, some network file
 * systems the next three, libuv on Windows with FAT `EISDIR` (for `ERROR_INVALID_FUNCTION`).
 */
const noLinks = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EISDIR"];

/** The journal of `directoryJournal`, loaded with the first of its calls. */
export function journalIn(
  directory: string,
  fileSystem: JournalFileSystem = fs,
): Required<Omit<Journal, "prune" | "shared" | "volatile">> {
  const place = (name: string) => join(directory, name);
  const recordPath = (id: string) => place(`${safe(id)}.json`);
  const images = imagesIn(fileSystem, (id, position, extension) =>
    place(`${safe(id)}.${position}.${extension}`),
  );
  const taskPath = (task: TaskName) => place(taskMark + digestOf(task));

  let anchored: Promise<void> | undefined;

  async function syncDirectory(path = directory): Promise<void> {
    // Windows opens no directory; its file system keeps the order of names by itself.
    if (process.platform === "win32") return;
    const handle = await fileSystem.open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /** Makes the directory, and its name as durable as what will be in it. */
  async function prepare(): Promise<void> {
    const first = await makeDirectory(directory, { fileSystem });
    if (first !== undefined || anchored === undefined) {
      anchored = anchor(dirname(first ?? directory)).catch((error: unknown) => {
        anchored = undefined;
        throw error;
      });
    }
    await anchored;
  }

  /** Syncs what is above the directory, up to where it was there before. */
  async function anchor(top: string): Promise<void> {
    for (let path = dirname(directory); ; path = dirname(path)) {
      await syncDirectory(path);
      if (path === top) return;
    }
  }

  /** Writes beside the place and syncs; `publish` puts it there. */
  async function write<Value>(
    data: string | Uint8Array,
    publish: (temporary: string) => Promise<Value>,
  ): Promise<Value> {
    await prepare();
    const temporary = place(`${temporaryMark}${crypto.randomUUID()}`);
    try {
      const handle = await fileSystem.open(temporary, "wx");
      try {
        await handle.writeFile(data);
        await handle.sync();
      } finally {
        await handle.close();
      }
      const published = await publish(temporary);
      await syncDirectory();
      return published;
    } finally {
      await fileSystem.rm(temporary, { force: true });
    }
  }

  async function entries() {
    return (await unlessMissing(fileSystem.readdir(directory, { withFileTypes: true }))) ?? [];
  }

  /** What a file called `*.json` holds; `undefined` where it has gone. */
  async function contentOf(name: string, isOther: boolean): Promise<unknown> {
    // Opening a named pipe blocks until a writer opens it, and a device may never end.
    if (isOther && !(await isRegular(name))) return "It is no regular file";
    const text = await unlessMissing(fileSystem.readFile(place(name), "utf8")).catch(String);
    return text === undefined ? undefined : parsed(text);
  }

  /** What a link leads to counts. */
  async function isRegular(name: string): Promise<boolean> {
    return (await fileSystem.stat(place(name)).catch(() => undefined))?.isFile() ?? false;
  }

  async function read(id: string): Promise<unknown> {
    const text = await unlessMissing(fileSystem.readFile(recordPath(id), "utf8"));
    return text === undefined ? undefined : parsed(text);
  }

  /** What there was beside a record that has gone. */
  async function forgetRest(id: string, found: unknown): Promise<void> {
    const { success, data: record } = journalRecordSchema.safeParse(found);
    if (success) await noteTask({ ...record, state: "failed" });
    // By their names: to read the directory for each of thousands takes time by their square.
    const known = success ? Math.max(record.n, record.images?.length ?? 0) : 0;
    let position = 0;
    while ((await images.remove(id, position)) || position < known) position += 1;
  }

  /**
   * Keeps the record of a task findable while a webhook may name it. It is a hint: what misses costs
   * a listing, so that it is neither synced nor a reason to fail.
   */
  async function noteTask({ id, state, provider, baseURL, taskId }: JournalRecord): Promise<void> {
    if (taskId === undefined) return;
    const path = taskPath({ provider, baseURL, taskId });
    if (state === "submitted") await fileSystem.writeFile(path, id).catch(() => {});
    else await fileSystem.rm(path, { force: true }).catch(() => {});
  }

  /** Of what a process that died has left: its files go, and a record that it held comes back. */
  async function clear(name: string): Promise<void> {
    const id = heldRecord(name);
    const files = { fileSystem, held: place(name), sync: syncDirectory };
    if (id !== undefined) await putBack({ ...files, path: recordPath(id) }, true);
    if (!leftOver.test(name)) return;
    const found = await unlessMissing(fileSystem.stat(place(name)));
    if (found === undefined || Date.now() - found.mtimeMs <= leftOverMs) return;
    await fileSystem.rm(place(name), { force: true });
  }

  return {
    // A file is written, synced and removed.
    check: () => write("a trial", async () => {}),
    async create(record) {
      let created = false;
      try {
        await write(textOf(record), async (temporary) => {
          try {
            // A link refuses a name that is taken: of several processes one alone succeeds.
            await fileSystem.link(temporary, recordPath(record.id));
            created = true;
          } catch (error) {
            if (noLinks.includes(codeOf(error) ?? "")) throw withoutLinks(directory, error);
            if (codeOf(error) !== "EEXIST") throw error;
          }
        });
      } catch (error) {
        // It is not durable, so nothing will be sent: a marker left behind would say otherwise.
        if (created) await fileSystem.rm(recordPath(record.id), { force: true });
        throw error;
      }
      return created;
    },
    async update(record) {
      await write(textOf(record), (temporary) =>
        fileSystem.rename(temporary, recordPath(record.id)),
      );
      await noteTask(record);
    },
    read,
    async *list(filter?: JournalFilter) {
      for (const entry of await entries()) {
        const { name } = entry;
        if (!name.endsWith(".json") || name.startsWith(temporaryMark)) continue;
        const record = await contentOf(name, !entry.isFile() && !entry.isDirectory());
        // Missing: released by another process since the directory was read. What cannot be read
        // (a directory of that name, a file of somebody else's) must not hide the others.
        if (record === undefined || !isWanted(record, filter)) continue;
        yield { id: name.slice(0, -".json".length), record };
      }
    },
    async delete(id) {
      const found = await read(id);
      if (found !== undefined) {
        // The record first, and durably: no power cut may leave one whose images are gone.
        await fileSystem.rm(recordPath(id), { force: true });
        await syncDirectory();
      }
      await forgetRest(id, found);
    },
    async compareAndSwap(id, expected, next) {
      const held = place(`${heldMark}${safe(id)}.${crypto.randomUUID()}`);
      const files = { fileSystem, path: recordPath(id), held, sync: syncDirectory };
      const wanted = JSON.stringify(expected);
      const isExpected = (text: string) => JSON.stringify(parsed(text)) === wanted;
      const replace = (temporary: string) => replaceFile(files, isExpected, temporary);
      const isSwapped = await (next === undefined
        ? removeFile(files, isExpected)
        : write(textOf(next), replace));
      if (isSwapped) await (next === undefined ? forgetRest(id, expected) : noteTask(next));
      return isSwapped;
    },
    writeImage: (id, position, bytes) => images.write(id, position, bytes, write),
    readImage: (id, position) => images.read(id, position),
    async findTask(task) {
      const id = await unlessMissing(fileSystem.readFile(taskPath(task), "utf8"));
      return id !== undefined && isRecordId(id) ? id : undefined;
    },
    async clean() {
      for (const entry of await entries()) {
        if (entry.isFile()) await clear(entry.name);
      }
    },
  };
}

function withoutLinks(directory: string, cause: unknown): Error {
  const fault = `The file system of ${directory} has no hard links, or forbids them (${reasonOf(cause)})`;
  const need = "a journal needs them, so that of two processes one alone begins a record";
  return new Error(`${fault}: ${need}. Put it on a local file system that has them`, { cause });
}

function digestOf({ provider, baseURL, taskId }: TaskName): string {
  const text = JSON.stringify([provider, baseURL, taskId]);
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
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

/** An id as a part of a file name: it must not lead elsewhere. */
function safe(id: string): string {
  if (!isRecordId(id)) throw new TypeError(`"${id}" is no id of a journal record`);
  return id;
}

function isRecordId(id: string): boolean {
  return /^[\w-]+\.\d+$/.test(id);
}
