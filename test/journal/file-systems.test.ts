import { execFile } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import type { JournalFileSystem } from "../../src/journal/directory-file-system";
import { journalIn } from "../../src/journal/directory-files";
import { directory as home, useDirectory } from "../support/directory";
import { listed, pngOf, recordOf } from "./contract";
import { allProviders, failureOf, prompt, recovered, startStage } from "./stage";

let made = 0;

useDirectory();

function place(): string {
  made += 1;
  return join(home, String(made));
}

function withoutLinks(code: string): JournalFileSystem {
  const link = () =>
    Promise.reject(Object.assign(new Error(`${code}: not permitted, link`), { code }));
  return { ...fs, link };
}

test.each(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EISDIR"])(
  "a file system where a link gives %s is refused by words that name it, and nothing is left",
  async (code) => {
    const path = place();
    const creating = journalIn(path, withoutLinks(code)).create(recordOf("job.0"));
    await expect(creating).rejects.toThrow(`file system of ${path} has no hard links`);
    await expect(creating).rejects.toThrow(code);
    expect(await fs.readdir(path)).toEqual([]);
  },
);

test.each(allProviders)("at %s nothing is sent where there are no hard links", async (name) => {
  await using stage = await startStage();
  const journal = journalIn(stage.directory, withoutLinks("EPERM"));
  const error = await failureOf(stage.client(name, journal).generate({ prompt }));
  expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
  expect(error.message).toContain("hard links");
  expect(stage.sandbox.requests).toEqual([]);
});

test.skipIf(process.platform === "win32")(
  "named pipes, sockets, directories and links to such that are called *.json hold nobody up",
  async () => {
    const path = place();
    const journal = directoryJournal(path);
    await journal.create(recordOf("job.0"));
    await promisify(execFile)("mkfifo", [join(path, "pipe.0.json")]);
    const server = createServer().listen(join(path, "socket.0.json"));
    await once(server, "listening");
    await fs.mkdir(join(path, "folder.0.json"));
    await fs.symlink(join(path, "pipe.0.json"), join(path, "link.0.json"));
    await fs.symlink("/dev/zero", join(path, "device.0.json"));
    await fs.symlink(join(path, "nowhere"), join(path, "dangling.0.json"));
    await fs.symlink(join(path, "job.0.json"), join(path, "record.0.json"));
    const entries = await listed(journal);
    server.close();
    const odd = "It is no regular file";
    expect(Object.fromEntries(entries.map(({ id, record }) => [id, record]))).toEqual({
      "job.0": recordOf("job.0"),
      "record.0": recordOf("job.0"),
      "folder.0": expect.stringContaining("EISDIR"),
      ...{ "pipe.0": odd, "socket.0": odd, "link.0": odd, "device.0": odd, "dangling.0": odd },
    });
  },
);

test("recover says what it skipped of them, and hands out the rest", async () => {
  await using stage = await startStage();
  const journal = directoryJournal(stage.directory);
  const { job } = await stage.client("trinetra", journal).generate({ prompt });
  await promisify(execFile)("mkfifo", [join(stage.directory, "pipe.0.json")]);
  const skipped: string[] = [];
  const ids: string[] = [];
  const options = { onSkipped: (id: string) => skipped.push(id) };
  for await (const { id } of stage.client("trinetra", journal).recover(options)) ids.push(id);
  expect([ids, skipped]).toEqual([[job.id], ["pipe.0"]]);
});

async function aged(path: string, hours: number): Promise<void> {
  await fs.writeFile(path, "half");
  const then = new Date(Date.now() - hours * 60 * 60 * 1_000);
  await fs.utimes(path, then, then);
}

test("recover clears away what dead processes left half-written more than a day ago, and nothing else", async () => {
  await using stage = await startStage();
  const { directory } = stage;
  const uuid = "00000000-0000-4000-8000-00000000000";
  const digest = "0123456789abcdef0123456789abcde";
  await aged(join(directory, `.part-${uuid}0`), 25);
  await aged(join(directory, `.task-${digest}0`), 25);
  const kept: [string, number][] = [
    [`.part-${uuid}1`, 23],
    [`.task-${digest}1`, 23],
    [".part-of-something", 1_000],
    [`mine.part-${uuid}2`, 1_000],
    ["job.0.0.png", 1_000],
  ];
  for (const [name, hours] of kept) await aged(join(directory, name), hours);
  await fs.mkdir(join(directory, `.part-${uuid}3`));
  const past = new Date(0);
  await fs.utimes(join(directory, `.part-${uuid}3`), past, past);
  await recovered(stage.client("trinetra", directoryJournal(directory)));
  expect((await fs.readdir(directory)).sort()).toEqual(
    [...kept.map(([name]) => name), `.part-${uuid}3`].sort(),
  );
});

test("a directory that is not there yet needs no clearing", async () => {
  await directoryJournal(place()).clean?.();
});

test("a task is named in the directory while it runs, and by nothing once it has ended", async () => {
  const path = place();
  const journal = directoryJournal(path);
  const hidden = async () => (await fs.readdir(path)).filter((name) => name.startsWith("."));
  await journal.create(recordOf("a.0"));
  await journal.update(recordOf("a.0", { state: "submitted", taskId: "../../etc/passwd" }));
  expect(await hidden()).toEqual([expect.stringMatching(/^\.task-[\da-f]{32}$/)]);
  await journal.update(recordOf("a.0", { state: "succeeded", taskId: "../../etc/passwd" }));
  expect(await hidden()).toEqual([]);
  await journal.update(recordOf("a.0", { state: "submitted", taskId: "t" }));
  await journal.delete("a.0");
  expect(await fs.readdir(path)).toEqual([]);
});

test("a name of a task that was half-written, or is no id, finds nothing", async () => {
  const path = place();
  const journal = directoryJournal(path);
  const record = recordOf("a.0", { state: "submitted", taskId: "t" });
  await journal.update(record);
  const [name = ""] = (await fs.readdir(path)).filter((each) => each.startsWith(".task-"));
  for (const text of ["", "a", "../a.0", "a.0/../b.0"]) {
    await fs.writeFile(join(path, name), text);
    expect(await journal.findTask?.({ ...record, taskId: "t" })).toBeUndefined();
  }
});

test("a disk that has no room for a task's name keeps its record all the same", async () => {
  const path = place();
  const full = () => Promise.reject(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }));
  const journal = journalIn(path, { ...fs, writeFile: full });
  await journal.update(recordOf("a.0", { state: "submitted", taskId: "t" }));
  expect(await journal.read("a.0")).toMatchObject({ state: "submitted" });
});

test("a delete takes all images of a record, also those of one that is corrupt, without reading the directory", async () => {
  const path = place();
  const journal = journalIn(path, {
    ...fs,
    // What nothing of a delete may call: thousands of them would take time by their square.
    readdir: () => Promise.reject<never>(new Error("the directory was read")),
  });
  await journal.create(recordOf("a.0", { n: 3, split: [3] }));
  await journal.writeImage("a.0", 2, pngOf("the third came first"));
  await journal.writeImage("a.0", 3, Buffer.from("one more than was asked for"));
  await journal.delete("a.0");
  await fs.writeFile(join(path, "b.0.json"), "{ half");
  await journal.writeImage("b.0", 0, pngOf(""));
  await journal.delete("b.0");
  expect(await fs.readdir(path)).toEqual([]);
});
