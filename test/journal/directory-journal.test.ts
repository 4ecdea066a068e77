import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import { directory as home, useDirectory } from "../support/directory";
import { journalContract, listed, pngOf, recordOf } from "./contract";

let made = 0;

useDirectory();

function place(): string {
  made += 1;
  return join(home, `deep-${made}`, "journal");
}

journalContract("directory", () => {
  const path = place();
  const journal = directoryJournal(path);
  return { journal, reopen: () => directoryJournal(path), end: async () => {} };
});

test("of several processes that create one id exactly one succeeds", async () => {
  const path = place();
  const bundle = join(home, "creator.mjs");
  await build({
    stdin: {
      contents: `
        import { directoryJournal } from "./src/journal/directory";
        const journal = directoryJournal(process.argv[2]);
        process.stdin.once("data", async () => {
          const base = JSON.parse(process.argv[3]);
          const ids = Array.from({ length: 20 }, (_, at) => "job." + at);
          const made = await Promise.all(ids.map((id) => journal.create({ ...base, id })));
          console.log(JSON.stringify(made));
          process.exit();
        });
        console.log("ready");`,
      resolveDir: process.cwd(),
    },
    ...{ bundle: true, platform: "node", format: "esm", outfile: bundle, logLevel: "error" },
  });
  const record = JSON.stringify(recordOf("job.0"));
  const workers = Array.from({ length: 4 }, () =>
    spawn(process.execPath, [bundle, path, record], { stdio: ["pipe", "pipe", "inherit"] }),
  );
  const outputs = workers.map(() => "");
  await Promise.all(
    workers.map(async (worker, at) => {
      worker.stdout.on("data", (chunk) => {
        outputs[at] += String(chunk);
      });
      await once(worker.stdout, "data");
    }),
  );
  const ends = workers.map((worker) => once(worker, "close"));
  for (const worker of workers) worker.stdin.write("go\n");
  await Promise.all(ends);
  const results = outputs.map((output): boolean[] => JSON.parse(output.replace("ready\n", "")));
  const winners = Array.from({ length: 20 }, (_, at) => results.filter((each) => each[at]).length);
  expect(winners).toEqual(Array.from({ length: 20 }, () => 1));
});

test("records are readable JSON with their images beside them", async () => {
  const path = place();
  const journal = directoryJournal(path);
  await journal.create(recordOf("job.0"));
  await journal.writeImage("job.0", 0, pngOf("a"));
  await journal.writeImage("job.0", 1, Buffer.from("what is this"));
  expect((await readdir(path)).sort()).toEqual(["job.0.0.png", "job.0.1.bin", "job.0.json"]);
  expect(await readFile(join(path, "job.0.json"), "utf8")).toContain('\n  "state": "submitting"');
});

test("corrupt, foreign and newer files are listed as what they are, left-overs are passed over, and all stay", async () => {
  const path = place();
  const journal = directoryJournal(path);
  await journal.create(recordOf("job.0"));
  await writeFile(join(path, "half.0.json"), '{ "v": 1, "id": "ha');
  await writeFile(join(path, "empty.0.json"), "");
  await writeFile(join(path, "newer.0.json"), JSON.stringify({ ...recordOf("newer.0"), v: 2 }));
  await writeFile(join(path, "package.json"), '{ "name": "x" }');
  await writeFile(join(path, "notes.txt"), "mine");
  await writeFile(join(path, ".part-1234"), "half");
  await writeFile(join(path, ".part-1234.json"), "half");
  await mkdir(join(path, "folder.json"));
  const before = await readdir(path);
  const entries = await listed(journal);
  expect(Object.fromEntries(entries.map(({ id, record }) => [id, record]))).toEqual({
    "job.0": recordOf("job.0"),
    "half.0": '{ "v": 1, "id": "ha',
    "empty.0": "",
    "newer.0": { ...recordOf("newer.0"), v: 2 },
    package: { name: "x" },
    folder: expect.stringContaining("EISDIR"),
  });
  expect(await readdir(path)).toEqual(before);
});

test("a list that meets a record's end passes over it", async () => {
  const journal = directoryJournal(place());
  await journal.create(recordOf("a.0"));
  await journal.create(recordOf("b.0"));
  const list = journal.list()[Symbol.asyncIterator]();
  const first = await list.next();
  await journal.delete("a.0");
  await journal.delete("b.0");
  expect(first.done).toBe(false);
  expect((await list.next()).done).toBe(true);
});

test("an id that leads out of the directory is no id", async () => {
  const journal = directoryJournal(place());
  for (const id of ["../job.0", "job", "a/b.0", "job.0.json", ".part-1.0", ""]) {
    await expect(journal.read(id)).rejects.toThrow("is no id of a journal record");
    await expect(journal.create(recordOf("job.0", { id }))).rejects.toThrow("is no id");
    await expect(journal.writeImage(id, 0, pngOf(""))).rejects.toThrow("is no id");
    await expect(journal.delete(id)).rejects.toThrow("is no id");
  }
});

test.skipIf(process.getuid?.() === 0)("a directory that cannot be written says so", async () => {
  const path = place();
  await mkdir(path, { recursive: true });
  await chmod(path, 0o500);
  await expect(directoryJournal(path).create(recordOf("job.0"))).rejects.toThrow("EACCES");
});

test("a place that is a file says so", async () => {
  const path = join(home, "file");
  await writeFile(path, "");
  await expect(directoryJournal(path).create(recordOf("job.0"))).rejects.toThrow();
});

test("nothing is left behind by writes that came through", async () => {
  const path = place();
  const journal = directoryJournal(path);
  await Promise.all(Array.from({ length: 10 }, () => journal.create(recordOf("job.0"))));
  await journal.update(recordOf("job.0", { state: "failed" }));
  await journal.writeImage("job.0", 0, pngOf(""));
  expect((await readdir(path)).sort()).toEqual(["job.0.0.png", "job.0.json"]);
});

test("a journal without a path is refused at once", () => {
  // As a variable of the environment that is not set comes in from JavaScript.
  const missing = undefined as unknown as string;
  expect(() => directoryJournal(missing)).toThrow("the path of a directory");
});

test("a relative path is that of the directory in which the journal was made", async () => {
  const before = process.cwd();
  const path = place();
  await mkdir(path, { recursive: true });
  process.chdir(path);
  try {
    const journal = directoryJournal("kept");
    process.chdir(before);
    await journal.create(recordOf("job.0"));
  } finally {
    process.chdir(before);
  }
  expect(await readdir(join(path, "kept"))).toEqual(["job.0.json"]);
});
