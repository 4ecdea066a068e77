import { expect, test } from "vitest";
import { createImageClient } from "../../src/client";
import type { JournalFileSystem } from "../../src/journal/directory-file-system";
import { journalIn } from "../../src/journal/directory-files";
import type { Journal } from "../../src/journal/journal";
import { type JournalRecord, journalRecordSchema } from "../../src/journal/record";
import { aigptimage, openaiCompatible, shortapi, trinetra } from "../../src/providers/index";
import { startSandbox } from "../../src/testing/sandbox";
import { BrittleDisk } from "./brittle-disk";
import { listed, pngOf, recordOf } from "./contract";

const directory = "/data/app/.images";
const survivals = ["nothing", "names", "some"] as const;
const id = "job.0";
const images = [pngOf("first"), pngOf("second")];

interface Acknowledged {
  record?: JournalRecord;
  readonly images: number[];
  isBeingDeleted?: boolean;
}

/** A task's life, noting each step as it comes back. */
async function live(journal: Journal, done: Acknowledged): Promise<void> {
  const step = async (
    record: JournalRecord,
    write: (record: JournalRecord) => Promise<unknown>,
  ) => {
    await write(record);
    done.record = record;
  };
  await step(recordOf(id), (record) => journal.create(record));
  await step(recordOf(id, { state: "submitted", taskId: "a" }), (each) => journal.update(each));
  await Promise.all(
    images.map(async (bytes, position) => {
      await journal.writeImage(id, position, bytes);
      done.images.push(position);
    }),
  );
  const succeeded = recordOf(id, { state: "succeeded", taskId: "a", images: [{}, {}] });
  await step(succeeded, (record) => journal.update(record));
  done.isBeingDeleted = true;
  await journal.delete(id);
}

const order = ["submitting", "submitted", "succeeded"];

async function check(disk: BrittleDisk, done: Acknowledged): Promise<void> {
  const journal = journalIn(directory, disk.fileSystem);
  const found = await journal.read(id);
  const kept = await Promise.all(images.map((_, position) => journal.readImage(id, position)));
  if (found === undefined) {
    // Written and come back means there, until it is let go of.
    if (!done.isBeingDeleted) expect(done.record).toBeUndefined();
  } else {
    const record = journalRecordSchema.parse(found);
    expect(order.indexOf(record.state)).toBeGreaterThanOrEqual(
      order.indexOf(done.record?.state ?? "submitting"),
    );
    if (record.state === "succeeded") expect(kept).toEqual(images);
  }
  for (const [position, bytes] of kept.entries()) {
    if (bytes !== undefined) expect(bytes).toEqual(images[position]);
    else if (!done.isBeingDeleted) expect(done.images).not.toContain(position);
  }
  for (const entry of await listed(journal)) expect(entry).toEqual({ id, record: found });
}

async function operationsOf(work: (disk: BrittleDisk) => Promise<unknown>): Promise<string[]> {
  const disk = new BrittleDisk();
  await work(disk);
  return disk.operations.map((each) => each.replace(/\.part-[\w-]+/, "temporary"));
}

test("a record is synced before it has a name, and its name before anybody hears of it", async () => {
  const operations = await operationsOf(async (disk) => {
    const journal = journalIn(directory, disk.fileSystem);
    await journal.create(recordOf(id));
    await journal.update(recordOf(id, { state: "submitted" }));
    await journal.writeImage(id, 0, pngOf(""));
    await journal.delete(id);
  });
  const temporary = ["open temporary", "write temporary", "sync temporary"];
  expect(operations).toEqual([
    ...["mkdir data", "mkdir app", "mkdir .images"],
    ...["sync-directory app", "sync-directory data", "sync-directory "],
    ...[...temporary, "link job.0.json", "sync-directory .images", "rm temporary"],
    ...[...temporary, "rename job.0.json", "sync-directory .images"],
    ...[...temporary, "rename job.0.0.png", "sync-directory .images"],
    ...["rm job.0.json", "sync-directory .images", "rm job.0.0.png"],
  ]);
});

test.each(survivals)(
  "after a power cut at any moment a record is whole or absent, and its images are there (%s unsynced survives)",
  async (survival) => {
    const count = (
      await operationsOf((disk) => live(journalIn(directory, disk.fileSystem), { images: [] }))
    ).length;
    expect(count).toBeGreaterThan(30);
    for (let cutAt = 0; cutAt <= count; cutAt += 1) {
      for (let seed = 1; seed <= (survival === "some" ? 12 : 1); seed += 1) {
        const disk = new BrittleDisk();
        disk.cutAt = cutAt;
        const done: Acknowledged = { images: [] };
        const living = live(journalIn(directory, disk.fileSystem), done);
        if (cutAt < count) await expect(living).rejects.toThrow("the power is cut");
        else await living;
        await check(disk.restarted(survival, seed), done);
      }
    }
  },
);

test.each([
  ["file", false],
  ["directory", true],
])("the disk notices a journal that never syncs a %s", async (_, ofFolders) => {
  let losses = 0;
  for (let cutAt = 0; cutAt <= 40; cutAt += 1) {
    const disk = new BrittleDisk();
    disk.cutAt = cutAt;
    const done: Acknowledged = { images: [] };
    const journal = journalIn(directory, withoutSync(disk.fileSystem, ofFolders));
    await live(journal, done).catch(() => {});
    for (const survival of survivals) {
      await check(disk.restarted(survival), done).catch(() => {
        losses += 1;
      });
    }
  }
  expect(losses).toBeGreaterThan(5);
});

function withoutSync(fileSystem: JournalFileSystem, ofFolders: boolean): JournalFileSystem {
  return {
    ...fileSystem,
    async open(path, flags) {
      const handle = await fileSystem.open(path, flags);
      if ((flags === "r") === ofFolders) handle.sync = async () => {};
      return handle;
    },
  };
}

test("a marker whose name could not be made durable is taken back", async () => {
  const disk = new BrittleDisk();
  const { fileSystem } = disk;
  let syncs = 0;
  const failing: JournalFileSystem = {
    ...fileSystem,
    async open(path, flags) {
      const handle = await fileSystem.open(path, flags);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        if (String(path) === directory) {
          syncs += 1;
          throw Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO" });
        }
        await sync();
      };
      return handle;
    },
  };
  await expect(journalIn(directory, failing).create(recordOf(id))).rejects.toThrow("EIO");
  expect(syncs).toBe(1);
  expect(await journalIn(directory, fileSystem).read(id)).toBeUndefined();
});

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };

test.each([
  ["shortapi", 1],
  ["aigptimage", 1],
  ["trinetra", 2],
  ["openaiCompatible", 2],
] as const)(
  "a power cut at any write of a generate at %s loses nothing and pays once",
  async (name, n) => {
    await using sandbox = await startSandbox({ jobDurationMs: 15, plainImages: true });
    const clientOn = (disk: BrittleDisk) =>
      createImageClient({
        provider: makers[name](sandbox[name]),
        journal: journalIn(directory, disk.fileSystem),
        poll: 5,
      });
    const whole = new BrittleDisk();
    await clientOn(whole).generate({ prompt: "a test", n });
    const count = whole.operations.length;
    expect(count).toBeGreaterThan(15);
    await Promise.all(
      Array.from({ length: count }, async (_, cutAt) => {
        const prompt = `a test of a cut at ${cutAt}`;
        const disk = new BrittleDisk();
        disk.cutAt = cutAt;
        const before = clientOn(disk);
        const first = await before.generate({ prompt, n }).catch((error: unknown) => error);
        await before.close();
        expect(first).toBeInstanceOf(Object);
        const ends: { images: number; codes: string[] }[] = [];
        for await (const job of clientOn(disk.restarted("nothing")).recover()) {
          ends.push(await endOf(job));
        }
        const sent = sandbox.requests.filter(
          ({ phase, body }) => phase === "create" && JSON.stringify(body).includes(`"${prompt}"`),
        );
        const jobs = new Set(sent.map(({ jobId }) => jobId));
        const charged = sandbox.charges.filter(({ jobId }) => jobs.has(jobId));
        expect(charged.length).toBeLessThanOrEqual(1);
        if (charged.length === 0) return;
        const [end] = ends;
        expect(ends).toHaveLength(1);
        if (end?.images === n) return;
        expect(name).not.toBe("aigptimage");
        expect(end).toEqual({ images: 0, codes: ["submission_unknown"] });
      }),
    );
  },
);

async function endOf(job: { result(): Promise<{ images: readonly unknown[] }> }) {
  try {
    const { images: made } = await job.result();
    return { images: made.length, codes: [] };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return { images: 0, codes: [code] };
  }
}
