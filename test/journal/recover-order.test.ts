import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import { type Journal, type JournalFilter, memoryJournal } from "../../src/journal/journal";
import type { JournalRecord } from "../../src/journal/record";
import { leave, only, prompt, recordsOf, recovered, startStage } from "./stage";

/** Notes what is asked of a journal, and what it gives. */
function noted(inner: Journal) {
  const filters: JournalFilter[] = [];
  const read: string[] = [];
  const journal: Journal = {
    ...inner,
    async *list(filter = {}) {
      filters.push(filter);
      for await (const entry of inner.list(filter)) {
        read.push(entry.id);
        yield entry;
      }
    },
    async read(id) {
      read.push(id);
      return inner.read(id);
    },
  };
  return { journal, filters, read };
}

async function copy(journal: Journal, id: string, change: Partial<JournalRecord>): Promise<void> {
  const [record] = await recordsOf(journal);
  if (record === undefined) throw new Error("nothing to copy");
  const { taskId: _, ...rest } = record;
  await journal.create({ ...rest, id: `${id}.0`, jobId: id, ...change });
}

test("running jobs come first, then those with pictures, then failures, and unknown fates last", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { job } = await stage.client("trinetra", journal).generate({ prompt });
  const failure = { kind: "generation_failed", message: "too dull", charged: "no" } as const;
  await copy(journal, "unknown", { state: "unknown" });
  await copy(journal, "failed", { state: "failed", failure });
  await copy(journal, "running", { state: "submitted", taskId: "a" });
  const client = stage.client("trinetra", journal);
  const ids = (await recovered(client)).map(({ id }) => id);
  expect(ids).toEqual(["running", job.id, "failed", "unknown"]);
});

test("without settled ones, no settled record is read, and only unsettled jobs are handed out", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  await stage.client("trinetra", inner).generate({ prompt });
  await copy(inner, "running", { state: "submitted", taskId: "a" });
  const { journal, filters, read } = noted(inner);
  const ids: string[] = [];
  const client = stage.client("trinetra", journal);
  for await (const { id } of client.recover({ settled: false })) ids.push(id);
  expect(ids).toEqual(["running"]);
  expect(filters.map(({ settled }) => settled)).toEqual([false]);
  expect(read).toEqual(["running.0"]);
});

test("a job that is settled while it is handed out is not handed out again", async () => {
  await using stage = await startStage({ jobDurationMs: 20 });
  const journal = directoryJournal(stage.directory);
  const before = stage.client("trinetra", journal);
  await before.submit({ prompt, n: 6 });
  await before.close();
  const ids: string[] = [];
  for await (const job of stage.client("trinetra", journal).recover()) {
    ids.push(job.id);
    expect((await job.result()).images).toHaveLength(6);
  }
  expect(ids).toHaveLength(1);
});

test("settled jobs are handed out as they are listed", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  await stage.client("trinetra", inner).generate({ prompt });
  for (const id of ["a", "b", "c"]) await copy(inner, id, {});
  const { journal, read } = noted(inner);
  for await (const _ of stage.client("trinetra", journal).recover()) break;
  expect(read).toHaveLength(1);
});

test("a job of several tasks is whole, though one of them alone is unsettled", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { job } = await stage.client("shortapi", journal).generate({ prompt, n: 3 });
  const [, second] = (await recordsOf(journal)).sort((a, b) => a.index - b.index);
  if (second === undefined) throw new Error("no second task");
  const { taskId: _, ...rest } = second;
  await journal.update({ ...rest, state: "unknown" });
  const client = stage.client("shortapi", journal);
  for await (const again of client.recover({ settled: false })) {
    expect(again.id).toBe(job.id);
    expect((await again.result()).images).toHaveLength(2);
  }
  expect(await only(recovered(client))).toMatchObject({ id: job.id });
});

test("a webhook that names a strange task has only unsettled records listed", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  await stage.client("trinetra", inner).generate({ prompt });
  await leave(inner, { state: "submitted", taskId: "a" });
  const { findTask: _, ...unindexed } = inner;
  const { journal, filters } = noted(unindexed);
  const client = stage.client("trinetra", journal, { webhooks: { secret: "0123456789abcdef" } });
  const body = JSON.stringify({ id: "forged", status: "completed" });
  await client.webhooks.handle(new Request("http://localhost/", { method: "POST", body }));
  await expect.poll(() => filters.map(({ settled }) => settled)).toEqual([false]);
});
