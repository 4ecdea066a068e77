import { expect, test } from "vitest";
import type { JournalFileSystem } from "../../src/journal/directory-file-system";
import { journalIn } from "../../src/journal/directory-files";
import { BrittleDisk } from "./brittle-disk";
import { listed, recordOf } from "./contract";

const directory = "/data/.images";
const id = "job.0";
const intent = recordOf(id);
const taken = recordOf(id, { takenOverAt: "2026-09-21T00:00:00.000Z" });
const accepted = recordOf(id, { state: "submitted", taskId: "t" });

/** Another process comes in between: before the record is taken away, or after. */
function meeting(
  disk: BrittleDisk,
  when: "before" | "after",
  meet: () => Promise<unknown>,
): JournalFileSystem {
  const { fileSystem } = disk;
  return {
    ...fileSystem,
    async rename(from, to) {
      const isAside = String(to).includes(".held-");
      if (isAside && when === "before") await meet();
      await fileSystem.rename(from, to);
      if (isAside && when === "after") await meet();
    },
  };
}

test.each(["before", "after"] as const)(
  "a job that is written just %s its record is taken away stays",
  async (when) => {
    const disk = new BrittleDisk();
    const other = journalIn(directory, disk.fileSystem);
    await other.create(intent);
    const journal = journalIn(
      directory,
      meeting(disk, when, () => other.update(accepted)),
    );
    // Its removal came first, or not at all: either way the job is there.
    expect(await journal.compareAndSwap(id, intent)).toBe(when === "after");
    expect(await listed(other)).toEqual([{ id, record: accepted }]);
  },
);

test("a record that is replaced is there at every moment: nobody can begin anew under its key", async () => {
  const disk = new BrittleDisk();
  const other = journalIn(directory, disk.fileSystem);
  await other.create(intent);
  const begun: boolean[] = [];
  const trying = Object.entries(disk.fileSystem).map(([name, operation]) => [
    name,
    async (...given: never[]) => {
      begun.push(await other.create(recordOf(id)));
      const done = await (operation as (...all: never[]) => Promise<unknown>)(...given);
      begun.push(await other.create(recordOf(id)));
      return done;
    },
  ]);
  const journal = journalIn(directory, Object.fromEntries(trying));
  expect(await journal.compareAndSwap(id, intent, taken)).toBe(true);
  expect(begun.length).toBeGreaterThan(8);
  expect(begun).not.toContain(true);
  expect(await other.read(id)).toEqual(taken);
});

test("a job that another one begins in place of it stays, and what tells more does", async () => {
  const disk = new BrittleDisk();
  const other = journalIn(directory, disk.fileSystem);
  await other.create(intent);
  const anew = recordOf(id, { owner: { host: "other", pid: 1 } });
  const begin = () => other.create(anew);
  const journal = journalIn(directory, meeting(disk, "after", begin));
  expect(await journal.compareAndSwap(id, intent)).toBe(true);
  expect(await other.read(id)).toEqual(anew);
  // It takes an accepted one away, while a third process begins anew.
  const both = meeting(disk, "before", () => other.update(accepted));
  const third = journalIn(directory, {
    ...both,
    async rename(from, to) {
      await both.rename(from, to);
      if (String(to).includes(".held-")) await begin();
    },
  });
  expect(await third.compareAndSwap(id, anew)).toBe(false);
  expect(await listed(other)).toEqual([{ id, record: accepted }]);
});

test("a disk that fails meanwhile leaves the record where it was", async () => {
  const disk = new BrittleDisk();
  const { fileSystem } = disk;
  await journalIn(directory, fileSystem).create(intent);
  // The overloads that nobody here calls are left out.
  const readFile = (async (path: string, encoding: "utf8") => {
    if (path.includes(".held-")) throw new Error("EIO: i/o error, read");
    return fileSystem.readFile(path, encoding);
  }) as unknown as JournalFileSystem["readFile"];
  const journal = journalIn(directory, { ...fileSystem, readFile });
  await expect(journal.compareAndSwap(id, intent)).rejects.toThrow("EIO");
  expect(await journal.read(id)).toEqual(intent);
});

test.each(["nothing", "names", "some"] as const)(
  "killed at any moment of it, or without power (%s unsynced survives), it leaves one of both",
  async (survival) => {
    for (const [before, next] of [
      [intent, taken],
      [intent, undefined],
      // Which it takes away in error, and puts back.
      [accepted, undefined],
    ] as const) {
      for (let cutAt = 0, isDone = false; !isDone; cutAt += 1) {
        for (let seed = 1; seed <= 12; seed += 1) {
          const disk = new BrittleDisk();
          const other = journalIn(directory, disk.fileSystem);
          await other.create(intent);
          const meet = async () => before !== intent && (await other.update(before));
          const journal = journalIn(directory, meeting(disk, "before", meet));
          disk.cutAt = disk.operations.length + cutAt;
          const swapped = await journal.compareAndSwap(id, intent, next).catch(() => "cut");
          isDone = swapped !== "cut";
          for (const after of [disk.restarted(survival, seed), killed(disk)]) {
            const found = journalIn(directory, after.fileSystem);
            await found.clean();
            const record = await found.read(id);
            if (swapped === true) expect(record).toEqual(next);
            else if (before === intent) expect([intent, next]).toContainEqual(record);
            else expect([intent, accepted]).toContainEqual(record);
            if (swapped === false) expect(record).toEqual(accepted);
          }
        }
      }
    }
  },
);

/** What a process that was killed leaves: everything that it has done. */
function killed(disk: BrittleDisk): BrittleDisk {
  disk.cutAt = Number.POSITIVE_INFINITY;
  return disk;
}
