import * as fs from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Journal } from "./journal";
import type { JournalRecord } from "./journal-record";
import { knownMedia, sniff } from "./media";

/** What a directory journal needs of a file system; a test's own can drop what was not synced. */
export type JournalFileSystem = Pick<
  typeof fs,
  "link" | "mkdir" | "open" | "readdir" | "readFile" | "rename" | "rm"
>;

const temporaryMark = ".part-";

/** What an image may be called, the likeliest first. */
const extensions = [...knownMedia.map(({ extension }) => extension), "bin"];

/** The journal of `directoryJournal`, loaded with the first of its calls. */
export function journalIn(directory: string, fileSystem: JournalFileSystem = fs): Journal {
  const place = (name: string) => join(directory, name);
  const recordPath = (id: string) => place(`${safe(id)}.json`);

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
    const first = await fileSystem.mkdir(directory, { recursive: true });
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
  async function write(
    data: string | Uint8Array,
    publish: (temporary: string) => Promise<void>,
  ): Promise<void> {
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
      await publish(temporary);
      await syncDirectory();
    } finally {
      await fileSystem.rm(temporary, { force: true });
    }
  }

  async function names(): Promise<string[]> {
    return (await unlessMissing(fileSystem.readdir(directory))) ?? [];
  }

  return {
    async create(record) {
      let created = false;
      try {
        await write(textOf(record), async (temporary) => {
          try {
            // A link refuses a name that is taken: of several processes one alone succeeds.
            await fileSystem.link(temporary, recordPath(record.id));
            created = true;
          } catch (error) {
            if (!hasCode(error, "EEXIST")) throw error;
          }
        });
      } catch (error) {
        // It is not durable, so nothing will be sent: a marker left behind would say otherwise.
        if (created) await fileSystem.rm(recordPath(record.id), { force: true });
        throw error;
      }
      return created;
    },
    update: (record) =>
      write(textOf(record), (temporary) => fileSystem.rename(temporary, recordPath(record.id))),
    async read(id) {
      const text = await unlessMissing(fileSystem.readFile(recordPath(id), "utf8"));
      return text === undefined ? undefined : parsed(text);
    },
    async *list() {
      for (const name of await names()) {
        if (!name.endsWith(".json") || name.startsWith(temporaryMark)) continue;
        const id = name.slice(0, -".json".length);
        const text = await unlessMissing(fileSystem.readFile(place(name), "utf8")).catch(String);
        // Missing: released by another process since the directory was read. What cannot be read
        // (a directory of that name, a file of somebody else's) must not hide the others.
        if (text !== undefined) yield { id, record: parsed(text) };
      }
    },
    async delete(id) {
      const start = `${safe(id)}.`;
      const found = (await names()).filter((name) => name.startsWith(start));
      if (found.length === 0) return;
      // The record first, and durably: no power cut may leave one whose images are gone.
      await fileSystem.rm(recordPath(id), { force: true });
      await syncDirectory();
      for (const name of found) await fileSystem.rm(place(name), { force: true });
    },
    async writeImage(id, position, bytes) {
      const extension = sniff(bytes)?.extension ?? "bin";
      const nameWith = (each: string) => `${safe(id)}.${position}.${each}`;
      await write(bytes, (temporary) => fileSystem.rename(temporary, place(nameWith(extension))));
      // An earlier try may have brought it in another format.
      const others = extensions.filter((each) => each !== extension).map(nameWith);
      for (const name of others) await fileSystem.rm(place(name), { force: true });
    },
    async readImage(id, position) {
      for (const extension of extensions) {
        const name = `${safe(id)}.${position}.${extension}`;
        const bytes = await unlessMissing(fileSystem.readFile(place(name)));
        if (bytes !== undefined) return bytes;
      }
      return undefined;
    },
  };
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
  if (!/^[\w-]+\.\d+$/.test(id)) throw new TypeError(`"${id}" is no id of a journal record`);
  return id;
}

async function unlessMissing<Value>(work: Promise<Value>): Promise<Value | undefined> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
