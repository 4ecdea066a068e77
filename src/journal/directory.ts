import { resolve } from "node:path";
import { onceLoaded } from "../async/lazy";
import type { Journal } from "./journal";

/**
 * A journal in a directory: `<job>.<task>.json` for each task, and its images beside it as
 * `<job>.<task>.<position>.png`. Everything is written to a temporary file, synced, and then
 * published by a link or a rename whose directory is synced too, so that a record is there whole or
 * not at all, also after a power cut. Several processes may share the directory; it must be on a
 * local file system that has hard links, which FAT and some FUSE file systems have not: there the
 * first create fails before anything is sent.
 *
 * @throws what the file system throws: a client turns it into a `JournalError` before it sends.
 */
export function directoryJournal(path: string): Journal {
  if (typeof path !== "string")
    throw new TypeError("directoryJournal takes the path of a directory");
  const directory = resolve(path);
  // An app that starts with one shall not wait for the file system's functions.
  const files = onceLoaded(async () => (await import("./directory-files")).journalIn(directory));
  return {
    check: async () => (await files()).check?.(),
    create: async (record) => (await files()).create(record),
    update: async (record) => (await files()).update(record),
    read: async (id) => (await files()).read(id),
    async *list(filter) {
      yield* (await files()).list(filter);
    },
    delete: async (id) => (await files()).delete(id),
    compareAndSwap: async (id, expected, next) =>
      (await files()).compareAndSwap(id, expected, next),
    writeImage: async (id, position, bytes) => (await files()).writeImage(id, position, bytes),
    readImage: async (id, position) => (await files()).readImage(id, position),
    findTask: async (task) => (await files()).findTask(task),
    clean: async () => (await files()).clean(),
  };
}
