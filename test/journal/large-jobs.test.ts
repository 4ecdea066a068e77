import { expect, test } from "vitest";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import {
  type JournalRecord,
  journalRecordSchema,
  packSplit,
  unpackSplit,
} from "../../src/journal/record";
import { recordOf } from "./contract";
import { only, prompt, recordsOf, recovered, startStage } from "./stage";

const sizeOf = (record: JournalRecord) => JSON.stringify({ ...record, request: undefined }).length;

test("a record is as small in a job of many tasks as in one of a few", async () => {
  await using stage = await startStage();
  const largest = async (n: number) => {
    const journal = memoryJournal();
    const client = stage.client("shortapi", journal, { concurrency: 20 });
    expect((await client.generate({ prompt, n })).images).toHaveLength(n);
    return Math.max(...(await recordsOf(journal)).map(sizeOf));
  };
  const few = await largest(3);
  const many = await largest(150);
  expect(many).toBeLessThan(few + 40);
  expect(many).toBeLessThan(2_000);
});

test.each([
  [[1], { split: [1] }],
  [[10, 10, 3], { split: [10, 10, 3] }],
  [Array.from({ length: 10_000 }, () => 1), { runs: [[1, 10_000]] }],
  [
    [...Array.from({ length: 30 }, () => 10), 7],
    {
      runs: [
        [10, 30],
        [7, 1],
      ],
    },
  ],
])("how a request is split comes back from a record (case %#)", (split, packed) => {
  expect(packSplit(split)).toEqual(packed);
  const { split: _, ...record } = recordOf("job.0");
  const parsed = journalRecordSchema.parse({ ...record, ...packSplit(split) });
  expect(unpackSplit(parsed)).toEqual(split);
});

test("a record whose tasks would fill the memory, or that names none, is no record", () => {
  const { split: _, ...record } = recordOf("job.0");
  for (const runs of [undefined, [], [[1, 10_001]], [[1, 1e15]], [[0, 1]], [[1, 0.5]]]) {
    expect(journalRecordSchema.safeParse({ ...record, runs }).success).toBe(false);
  }
  expect(journalRecordSchema.safeParse({ ...record, runs: [[1, 10_000]] }).success).toBe(true);
});

test("a job of many tasks is recovered whole, with those that were never sent", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("shortapi", journal, { concurrency: 8 }).generate({ prompt, n: 20 });
  const [first] = await recordsOf(journal);
  await journal.delete(first?.id ?? "");
  const job = await only(recovered(stage.client("shortapi", journal)));
  const { images, failures } = await job.result();
  expect(images).toHaveLength(19);
  expect(failures.map(({ charged }) => charged)).toEqual(["no"]);
});

test("a listing of thousands of records of one job takes time by their number", async () => {
  await using stage = await startStage();
  const record = (index: number): JournalRecord => {
    const { split: _, ...rest } = recordOf(`job.${index}`, { provider: "shortapi" });
    const { baseURL } = stage.sandbox.shortapi;
    return { ...rest, baseURL, runs: [[1, 10_000]], state: "unknown" };
  };
  const elapsedMs = async (count: number) => {
    const journal: Journal = {
      ...memoryJournal(),
      async *list() {
        for (let at = 0; at < count; at += 1) yield { id: `job.${at}`, record: record(at) };
      },
    };
    const startedAt = performance.now();
    expect(await recovered(stage.client("shortapi", journal))).toHaveLength(1);
    return performance.now() - startedAt;
  };
  await elapsedMs(1_000);
  const few = await elapsedMs(1_000);
  // Ten times as many: by their square it would be a hundred times as long.
  expect(await elapsedMs(10_000)).toBeLessThan(40 * few + 200);
});
