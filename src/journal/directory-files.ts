import * as fs from "node:fs/promises";
import { type JournalFileSystem, unlessMissing } from "./directory-file-system";
import { imagesIn } from "./directory-images";
import { imageName } from "./directory-names";
import { DirectoryRecords } from "./directory-records";
import { heldRecord } from "./directory-swap";
import { DirectoryTasks } from "./directory-tasks";
import { DurableDirectory } from "./durable-directory";
import type { Journal } from "./journal";

/** Matches only files that this journal wrote: no other file may be deleted. */
const leftOver = /^(?:\.part-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}|\.task-[\da-f]{32})$/;

/** No write takes so long: what is older is of a process that died. */
const leftOverMs = 24 * 60 * 60 * 1000;

/** The journal of `directoryJournal`, loaded with the first of its calls. */
export function journalIn(
  path: string,
  fileSystem: JournalFileSystem = fs,
): Required<Omit<Journal, "prune" | "shared" | "volatile">> {
  const directory = new DurableDirectory(path, fileSystem);
  const images = imagesIn(fileSystem, (...image) => directory.place(imageName(...image)));
  const tasks = new DirectoryTasks(directory);
  const records = new DirectoryRecords(directory, images, tasks);
  const write = directory.write.bind(directory);

  return {
    // A file is written, synced and removed.
    check: () => directory.write("a trial", async () => {}),
    create: (record) => records.create(record),
    update: (record) => records.update(record),
    read: (id) => records.read(id),
    list: (filter) => records.list(filter),
    delete: (id) => records.delete(id),
    compareAndSwap: (id, expected, next) => records.compareAndSwap(id, expected, next),
    writeImage: (id, position, bytes) => images.write(id, position, bytes, write),
    readImage: (id, position) => images.read(id, position),
    findTask: (task) => tasks.find(task),
    async clean() {
      for (const entry of await directory.entries()) {
        if (entry.isFile()) await clear(entry.name);
      }
    },
  };

  /** Of what a process that died has left: its files go, and a record that it held comes back. */
  async function clear(name: string): Promise<void> {
    const place = directory.place(name);
    const id = heldRecord(name);
    if (id !== undefined) await records.putBack(id, place);
    if (!leftOver.test(name)) return;
    const found = await unlessMissing(fileSystem.stat(place));
    if (found === undefined || Date.now() - found.mtimeMs <= leftOverMs) return;
    await fileSystem.rm(place, { force: true });
  }
}
