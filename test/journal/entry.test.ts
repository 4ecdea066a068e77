import { hostname } from "node:os";
import { expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { TaskEntry } from "../../src/journal/entry";
import { memoryJournal } from "../../src/journal/journal";
import { isAbandoned, isOwnedElsewhere } from "../../src/journal/owner";
import type { JournalRecord } from "../../src/journal/record";

const record: JournalRecord = {
  ...{ v: 1, id: "job.0", jobId: "job", index: 0, n: 1, split: [1], provider: "p" },
  ...{ baseURL: "https://p.test", operation: "generate", requestDigest: "d" },
  ...{ submittedAt: new Date().toISOString(), state: "submitting" },
};

function ledgerOf(change: Partial<JournalRecord>): TaskEntry {
  const { jobId, provider, baseURL, operation, split = [1], requestDigest } = record;
  const facts = { jobId, provider, baseURL, operation, split, requestDigest };
  return new TaskEntry(memoryJournal(), systemClock, facts, 0, {
    record: { ...record, ...change },
  });
}

/** No process has it: it is beyond what the kernel gives. */
const deadPid = 2 ** 22 + 12_345;

test("a record of a process that has ended is abandoned, one of another machine may be at work", () => {
  expect(isAbandoned({ ...record, owner: { host: hostname(), pid: deadPid } })).toBe(true);
  expect(isAbandoned({ ...record, owner: { host: "another-machine", pid: deadPid } })).toBe(false);
  expect(isAbandoned({ ...record, owner: { host: hostname(), pid: 1 } })).toBe(false);
});

test("a record without an owner, or one's own, is not at work elsewhere", () => {
  expect(isOwnedElsewhere(record)).toBe(false);
  expect(isOwnedElsewhere({ ...record, owner: { host: hostname(), pid: process.pid } })).toBe(
    false,
  );
  expect(isOwnedElsewhere({ ...record, owner: { host: "another-machine", pid: 1 } })).toBe(true);
  expect(isOwnedElsewhere({ ...record, owner: { host: hostname(), pid: deadPid } })).toBe(false);
});

test("a create is repeated under a young key alone, and never by a clock that was ahead", () => {
  const call = { path: "/create", json: {} };
  const at = (ageMs: number) => new Date(Date.now() - ageMs).toISOString();
  expect(ledgerOf({ call, submittedAt: at(0) }).repeatable).toMatchObject({ path: "/create" });
  expect(ledgerOf({ call, submittedAt: at(3_700_000) }).repeatable).toBeUndefined();
  expect(ledgerOf({ call, submittedAt: at(-3_600_000) }).repeatable).toBeUndefined();
  expect(ledgerOf({ submittedAt: at(0) }).repeatable).toBeUndefined();
  expect(ledgerOf({ call, state: "submitted" }).repeatable).toBeUndefined();
});

test("what another process has begun after a refusal is not let go of with the refused job", async () => {
  const journal = memoryJournal();
  const { jobId, provider, baseURL, operation, split = [1], requestDigest } = record;
  const facts = { jobId, provider, baseURL, operation, split, requestDigest };
  const entry = new TaskEntry(journal, systemClock, { ...facts, account: async () => "a" }, 0);
  await entry.begin({ method: "POST", path: "/create", body: { json: {} } }, undefined);
  await entry.refused();
  expect(await journal.read("job.0")).toBeUndefined();
  expect(await journal.create({ ...record, state: "submitted", taskId: "paid" })).toBe(true);
  await entry.release();
  expect(await journal.read("job.0")).toMatchObject({ taskId: "paid" });
});
