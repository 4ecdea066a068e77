import { afterEach, expect, test } from "vitest";
import type { Journal, JournalEntry, JournalFilter, TaskName } from "../../src/journal/journal";
import type { JournalRecord } from "../../src/journal/record";

/** A journal and the way to let go of it. */
export interface JournalSetup {
  readonly journal: Journal;
  /** The same place, opened by somebody else. */
  reopen(): Journal;
  end(): Promise<unknown>;
}

export function recordOf(id: string, change: Partial<JournalRecord> = {}): JournalRecord {
  const [jobId = id, index = "0"] = id.split(".");
  return {
    ...{ v: 1, id, jobId, index: Number(index), n: 1, split: [1], provider: "trinetra" },
    ...{ baseURL: "https://example.com", operation: "generate", requestDigest: "digest" },
    ...{ submittedAt: "2026-01-01T00:00:00.000Z", state: "submitting" },
    ...change,
  };
}

/** A PNG as far as its first bytes. */
export function pngOf(text: string): Buffer {
  return Buffer.concat([Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), Buffer.from(text)]);
}

export async function listed(journal: Journal, filter?: JournalFilter): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of journal.list(filter)) entries.push(entry);
  return entries.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** An ISO 8601 time, so many seconds after another. */
const timeOf = (seconds: number) => new Date(1_790_000_000_000 + seconds * 1_000).toISOString();

/** What every journal must do, whatever it is made of. */
export function journalContract(name: string, setUp: () => JournalSetup | Promise<JournalSetup>) {
  const setups: JournalSetup[] = [];

  afterEach(async () => {
    for (const setup of setups.splice(0)) await setup.end();
  });

  async function open(): Promise<JournalSetup> {
    const setup = await setUp();
    setups.push(setup);
    return setup;
  }

  test(`${name}: of a hundred creates of one id exactly one succeeds`, async () => {
    const { journal, reopen } = await open();
    const other = reopen();
    const made = await Promise.all(
      Array.from({ length: 100 }, (_, at) =>
        (at % 2 === 0 ? journal : other).create(recordOf("job.0", { taskId: `task-${at}` })),
      ),
    );
    expect(made.filter(Boolean)).toHaveLength(1);
    expect(await journal.read("job.0")).toMatchObject({ taskId: `task-${made.indexOf(true)}` });
  });

  test(`${name}: a refused create changes nothing`, async () => {
    const { journal } = await open();
    expect(await journal.create(recordOf("job.0"))).toBe(true);
    expect(await journal.create(recordOf("job.0", { state: "failed" }))).toBe(false);
    expect(await journal.read("job.0")).toEqual(recordOf("job.0"));
  });

  test(`${name}: an update replaces the whole record, for others too`, async () => {
    const { journal, reopen } = await open();
    await journal.create(recordOf("job.0", { key: "key", call: { path: "/", json: {} } }));
    await journal.update(recordOf("job.0", { state: "submitted", taskId: "a" }));
    expect(await reopen().read("job.0")).toEqual(
      recordOf("job.0", { state: "submitted", taskId: "a" }),
    );
  });

  test(`${name}: an update of a record that was deleted brings it back`, async () => {
    const { journal } = await open();
    await journal.create(recordOf("job.0"));
    await journal.delete("job.0");
    await journal.update(recordOf("job.0", { state: "submitted" }));
    expect(await journal.read("job.0")).toMatchObject({ state: "submitted" });
  });

  test(`${name}: what is not there reads as undefined`, async () => {
    const { journal } = await open();
    expect(await journal.read("job.0")).toBeUndefined();
    expect(await journal.readImage("job.0", 0)).toBeUndefined();
    expect(await listed(journal)).toEqual([]);
    await journal.delete("job.0");
  });

  test(`${name}: a record comes back with every character that went in`, async () => {
    const { journal } = await open();
    const record = recordOf("job.0", { request: { prompt: "日本 \u0001 \"'\\ 🕸️ $1 %s", n: 1 } });
    await journal.create(record);
    expect(await journal.read("job.0")).toEqual(record);
  });

  test(`${name}: the list has every record once, and no image`, async () => {
    const { journal, reopen } = await open();
    const ids = ["a.0", "a.1", "a.10", "b_-1.0"];
    for (const id of ids) {
      await journal.create(recordOf(id));
      await journal.writeImage(id, 0, pngOf(id));
    }
    expect(await listed(reopen())).toEqual(ids.map((id) => ({ id, record: recordOf(id) })));
  });

  test(`${name}: a listing for unsettled or for settled records misses none of them`, async () => {
    const { journal } = await open();
    const states = ["submitting", "submitted", "unknown", "succeeded", "failed"] as const;
    for (const [index, state] of states.entries()) {
      await journal.create(recordOf(`job.${index}`, { account: index % 2 ? "a" : "b" }));
      await journal.update(recordOf(`job.${index}`, { account: index % 2 ? "a" : "b", state }));
    }
    await journal.create(recordOf("nobodys.0"));
    const whose = { provider: "trinetra", baseURL: "https://example.com" };
    const idsOf = async (filter: JournalFilter) =>
      (await listed(journal, filter)).map(({ id }) => id);
    expect(await idsOf({ settled: false, ...whose })).toEqual(
      expect.arrayContaining(["job.0", "job.1", "job.2", "nobodys.0"]),
    );
    expect(await idsOf({ settled: true, ...whose })).toEqual(
      expect.arrayContaining(["job.3", "job.4"]),
    );
    expect(await idsOf({ settled: true, ...whose, account: "b" })).toContain("job.4");
    expect(await idsOf({ settled: false, account: "a" })).toEqual(
      expect.arrayContaining(["job.1", "nobodys.0"]),
    );
  });

  test(`${name}: pruning forgets the jobs that ended before a time, whole, and no others`, async () => {
    const { journal } = await open();
    if (journal.prune === undefined) return;
    const old = { state: "failed", settledAt: "2026-01-01T00:00:00.000Z" } as const;
    const young = { state: "succeeded", settledAt: "2026-03-01T00:00:00.000Z" } as const;
    const records: Record<string, Partial<JournalRecord>> = {
      ...{ "old.0": old, "old.1": old, "young.0": young, "half.0": old, "half.1": young },
      ...{ "open.0": old, "open.1": { state: "unknown" }, "other.0": { ...old, account: "b" } },
      ...{ "own.0": { ...old, account: "a" }, "far.0": { ...old, baseURL: "https://example.org" } },
    };
    for (const [id, change] of Object.entries(records)) {
      await journal.create(recordOf(id, change));
      await journal.update(recordOf(id, change));
      await journal.writeImage(id, 0, pngOf(id));
    }
    const settledBefore = new Date("2026-02-01");
    const whose = { provider: "trinetra", baseURL: "https://example.com", account: "a" };
    await journal.prune({ ...whose, settledBefore });
    const left = Object.keys(records).filter((id) => !/^(old|own)/.test(id));
    expect((await listed(journal)).map(({ id }) => id)).toEqual(left.sort());
    for (const id of Object.keys(records)) {
      const bytes = await journal.readImage(id, 0);
      expect(bytes !== undefined, id).toBe(left.includes(id));
    }
  });

  test(`${name}: an image comes back byte by byte, at its own position`, async () => {
    const { journal, reopen } = await open();
    await journal.create(recordOf("job.0"));
    await journal.writeImage("job.0", 0, pngOf("first"));
    await journal.writeImage("job.0", 1, Buffer.from([0, 255, 10, 13, 0]));
    expect(Buffer.from((await reopen().readImage("job.0", 0)) ?? [])).toEqual(pngOf("first"));
    expect([...((await journal.readImage("job.0", 1)) ?? [])]).toEqual([0, 255, 10, 13, 0]);
    expect(await journal.readImage("job.0", 2)).toBeUndefined();
    expect(await journal.readImage("job.1", 0)).toBeUndefined();
  });

  test(`${name}: an image can be written before its record, and again in another format`, async () => {
    const { journal } = await open();
    await journal.writeImage("job.0", 0, pngOf("first"));
    await journal.create(recordOf("job.0"));
    const jpeg = Buffer.from("ffd8ffe000104a464946", "hex");
    await journal.writeImage("job.0", 0, jpeg);
    expect(Buffer.from((await journal.readImage("job.0", 0)) ?? [])).toEqual(jpeg);
  });

  test(`${name}: a part of a larger buffer is kept as that part`, async () => {
    const { journal } = await open();
    const whole = Buffer.concat([Buffer.from("before"), pngOf("part"), Buffer.from("after")]);
    await journal.writeImage("job.0", 0, whole.subarray(6, 6 + pngOf("part").byteLength));
    whole.fill(0);
    expect(Buffer.from((await journal.readImage("job.0", 0)) ?? [])).toEqual(pngOf("part"));
  });

  test(`${name}: a task that waits is found by its provider's id, where tasks can be found`, async () => {
    const { journal, reopen } = await open();
    const find = async (more: Partial<TaskName> = {}) => {
      const task = { provider: "trinetra", baseURL: "https://example.com", taskId: "t", ...more };
      return reopen().findTask?.(task);
    };
    if (journal.findTask === undefined) return;
    const submitted = { state: "submitted", taskId: "t" } as const;
    await journal.create(recordOf("job.0"));
    expect(await find()).toBeUndefined();
    await journal.update(recordOf("job.0", submitted));
    await journal.create(recordOf("other.0"));
    await journal.update(recordOf("other.0", { ...submitted, provider: "shortapi" }));
    expect(await find()).toBe("job.0");
    expect(await find({ provider: "shortapi" })).toBe("other.0");
    for (const more of [{ taskId: "u" }, { baseURL: "https://example.org" }, { taskId: "" }]) {
      expect(await find(more)).toBeUndefined();
    }
    await journal.update(recordOf("job.0", { ...submitted, state: "succeeded" }));
    await journal.delete("other.0");
    // It may give one that is out of date, which is read before it is believed.
    for (const id of [await find(), await find({ provider: "shortapi" })]) {
      if (id === undefined) continue;
      expect(await journal.read(id)).not.toMatchObject({ state: "submitted" });
    }
  });

  test(`${name}: delete forgets a record with its images and no other`, async () => {
    const { journal } = await open();
    for (const id of ["job.1", "job.10", "job.0"]) {
      await journal.create(recordOf(id));
      await journal.writeImage(id, 0, pngOf(id));
    }
    await journal.delete("job.1");
    expect((await listed(journal)).map(({ id }) => id)).toEqual(["job.0", "job.10"]);
    expect(await journal.readImage("job.1", 0)).toBeUndefined();
    expect(Buffer.from((await journal.readImage("job.10", 0)) ?? [])).toEqual(pngOf("job.10"));
    expect(await journal.create(recordOf("job.1"))).toBe(true);
  });

  test(`${name}: a record is swapped only while it is what is expected, where it can be`, async () => {
    const { journal, reopen } = await open();
    if (journal.compareAndSwap === undefined) return;
    const intent = recordOf("job.0", { request: { prompt: "日本 \u0001 $1" }, key: undefined });
    const next = recordOf("job.0", { takenOverAt: timeOf(1), state: "submitted", taskId: "t" });
    expect(await journal.compareAndSwap("job.0", intent, next)).toBe(false);
    expect(await journal.read("job.0")).toBeUndefined();
    await journal.create(intent);
    expect(await journal.compareAndSwap("job.0", recordOf("job.0"), next)).toBe(false);
    expect(await journal.compareAndSwap("job.0", recordOf("job.0"))).toBe(false);
    expect(await journal.compareAndSwap("job.0", intent, next)).toBe(true);
    expect(await journal.compareAndSwap("job.0", intent)).toBe(false);
    expect(await reopen().read("job.0")).toEqual(next);
    expect(await reopen().compareAndSwap?.("job.0", await journal.read("job.0"))).toBe(true);
    expect(await listed(journal)).toEqual([]);
    expect(await journal.create(recordOf("job.0"))).toBe(true);
  });

  test(`${name}: a record that is swapped for nothing goes with its images, and no other does`, async () => {
    const { journal } = await open();
    if (journal.compareAndSwap === undefined) return;
    for (const id of ["job.1", "job.10"]) {
      await journal.create(recordOf(id));
      await journal.writeImage(id, 0, pngOf(id));
    }
    expect(await journal.compareAndSwap("job.1", recordOf("job.10"))).toBe(false);
    expect(await journal.readImage("job.1", 0)).toBeDefined();
    expect(await journal.compareAndSwap("job.1", recordOf("job.1"))).toBe(true);
    expect(await journal.readImage("job.1", 0)).toBeUndefined();
    expect((await listed(journal)).map(({ id }) => id)).toEqual(["job.10"]);
    expect(await journal.readImage("job.10", 0)).toBeDefined();
  });

  test(`${name}: of twenty swaps of one record exactly one succeeds, save in a directory`, async () => {
    const { journal, reopen } = await open();
    const other = reopen();
    if (journal.compareAndSwap === undefined) return;
    await journal.create(recordOf("job.0"));
    const swapped = await Promise.all(
      Array.from({ length: 20 }, (_, at) => {
        const next = recordOf("job.0", { takenOverAt: timeOf(at + 1) });
        return (at % 2 === 0 ? journal : other).compareAndSwap?.("job.0", recordOf("job.0"), next);
      }),
    );
    const won = swapped.flatMap((isSwapped, at) =>
      isSwapped ? recordOf("job.0", { takenOverAt: timeOf(at + 1) }) : [],
    );
    // There a look and a write are two steps: several may be told that theirs was the one.
    if (!name.startsWith("directory")) expect(won).toHaveLength(1);
    expect(won).toContainEqual(await other.read("job.0"));
  });

  test(`${name}: whatever a swap for nothing meets, a job that is written then is not lost`, async () => {
    const { journal, reopen } = await open();
    const other = reopen();
    if (journal.compareAndSwap === undefined) return;
    for (let round = 0; round < 40; round += 1) {
      const id = `job.${round}`;
      await journal.create(recordOf(id));
      const accepted = recordOf(id, { state: "submitted", taskId: "t" });
      const isSwapping = journal.compareAndSwap(id, recordOf(id));
      await new Promise((resolve) => setTimeout(resolve, (round % 8) / 4));
      await Promise.all([isSwapping, other.update(accepted)]);
      expect(await other.read(id)).toEqual(accepted);
    }
  });
}
