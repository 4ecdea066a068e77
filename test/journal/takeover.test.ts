import { expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { Latch } from "../../src/async/latch";
import { directoryJournal } from "../../src/journal/directory";
import { TaskEntry } from "../../src/journal/entry";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { LedgerFacts } from "../../src/journal/task-record";
import {
  failureOf,
  type JournalStage,
  only,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

// Two processes under one key, at a provider that honours it: the second one sends the create of the first
// once more, under the key, and need not wait for its end.

const key = { idempotencyKey: "message 17" };

const journals: readonly [string, (stage: JournalStage) => Journal][] = [
  ["memory", () => memoryJournal()],
  ["directory", ({ directory }) => directoryJournal(directory)],
];

/** The journal of a process whose record is taken back only once the latch opens. */
function slowToTakeBack(journal: Journal, taking: Latch): Journal {
  return {
    ...journal,
    async delete(id) {
      await taking.opened;
      await journal.delete(id);
    },
    async compareAndSwap(id, expected, next) {
      await taking.opened;
      return (await journal.compareAndSwap?.(id, expected, next)) ?? false;
    },
  };
}

test.each(journals)(
  "a refusal does not take back the job that another process has bought meanwhile (%s)",
  async (_, journalOf) => {
    await using stage = await startStage({ jobDurationMs: 60_000 });
    const journal = journalOf(stage);
    const taking = new Latch();
    stage.sandbox.inject({
      ...{ provider: "aigptimage", phase: "create", fault: "refusal", status: 402 },
    });
    const first = stage.client("aigptimage", slowToTakeBack(journal, taking));
    const refused = failureOf(first.submit({ prompt }, key));
    while (stage.count("create") === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await stage.client("aigptimage", journal).submit({ prompt }, key);
    taking.open();
    expect(await refused).toMatchObject({ code: "insufficient_credits", charged: "no" });
    // Both processes end, and the picture is still to be had.
    const job = await only(recovered(stage.client("aigptimage", journal)));
    expect(job.reference.tasks[0]).toMatchObject({ id: expect.any(String) });
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test.each(journals)(
  "a refusal does not take back the record under which another process is sending (%s)",
  async (_, journalOf) => {
    await using stage = await startStage();
    const journal = journalOf(stage);
    const taking = new Latch();
    stage.sandbox.inject({
      ...{ provider: "aigptimage", phase: "create", fault: "refusal", status: 402 },
    });
    stage.sandbox.inject({
      ...{ provider: "aigptimage", phase: "create", fault: "hang", after: 1 },
    });
    const first = stage.client("aigptimage", slowToTakeBack(journal, taking));
    const refused = failureOf(first.submit({ prompt }, key));
    while (stage.count("create") === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    const second = stage.client("aigptimage", journal);
    const torn = second.submit({ prompt }, key).catch((error: unknown) => error);
    while (stage.count("create") < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    taking.open();
    await refused;
    // If the second process were killed now, its create would be known.
    expect(await only(recordsOf(journal))).toMatchObject({
      state: "submitting",
      takenOverAt: expect.any(String),
    });
    await second.close({ timeoutMs: 0 });
    await torn;
  },
);

const facts: LedgerFacts = {
  ...{ jobId: "job", provider: "p", baseURL: "https://p.test", operation: "generate" as const },
  ...{ split: [1], requestDigest: "d" },
};
const call = { method: "POST", path: "/create", body: { json: {} } } as const;

function entryIn(journal: Journal): TaskEntry {
  return new TaskEntry(journal, systemClock, facts, 0);
}

test("a create that is lost does not hide the job that another process has bought meanwhile", async () => {
  const inner = memoryJournal();
  const second = entryIn(inner);
  const accept = async () => {
    await second.begin(call, "key");
    expect(await second.takeOver()).toBe(true);
    await second.accepted("task", undefined);
  };
  const first = entryIn({
    ...inner,
    async compareAndSwap(id, expected, next) {
      await accept();
      return (await inner.compareAndSwap?.(id, expected, next)) ?? false;
    },
  });
  await first.begin(call, "key");
  await first.unknown("It was lost");
  expect(await inner.read("job.0")).toMatchObject({ state: "submitted", taskId: "task" });
});

test("a record is not taken over that has ended or gone since it was read", async () => {
  const journal = memoryJournal();
  const [first, second, third] = [entryIn(journal), entryIn(journal), entryIn(journal)];
  await first.begin(call, "key");
  await second.begin(call, "key");
  await third.begin(call, "key");
  await first.accepted("task", undefined);
  expect(await second.takeOver()).toBe(false);
  expect(second.record).toMatchObject({ state: "submitted", taskId: "task" });
  await journal.delete("job.0");
  expect(await third.takeOver()).toBe(false);
});

test("what another one has begun under the same id is not taken back, in a journal without swaps", async () => {
  const { compareAndSwap: _, ...journal } = memoryJournal();
  const first = entryIn(journal);
  await first.begin(call, undefined);
  const anew = { ...first.record, owner: { host: "another-machine", pid: 7 } };
  if (first.record === undefined) throw new Error("nothing was begun");
  await journal.update({ ...first.record, ...anew });
  await first.refused();
  expect(await journal.read("job.0")).toEqual(anew);
});

test("a person's word does not hide that a create which was taken over is accepted after all", async () => {
  const journal = memoryJournal();
  const [first, second] = [entryIn(journal), entryIn(journal)];
  await first.begin(call, "key");
  await first.unknown("It was lost");
  await second.begin(call, "key");
  expect(await second.takeOver()).toBe(true);
  // On its way again: whoever looks must not take it for settled.
  expect(await journal.read("job.0")).toMatchObject({ state: "submitting" });
  expect(await journal.read("job.0")).not.toHaveProperty("failure");
  const said = { kind: "generation_failed", message: "never accepted", charged: "no" } as const;
  const settledAt = new Date().toISOString();
  const record = second.record ?? expect.fail("nothing was taken over");
  const word = { ...record, state: "failed", failure: said, settledAt, released: true } as const;
  await journal.update(word);
  await second.accepted("task", undefined);
  const kept = await journal.read("job.0");
  expect(kept).toMatchObject({ state: "submitted", taskId: "task" });
  for (const name of ["failure", "released", "settledAt"]) expect(kept).not.toHaveProperty(name);
});

test("a create that is taken over is no person's to settle while it may be on its way", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  stage.sandbox.inject({ ...{ provider: "aigptimage", phase: "create", fault: "hang", times: 2 } });
  const client = () => stage.client("aigptimage", journal);
  const torn = client();
  const lost = torn.submit({ prompt }, key).catch((error: unknown) => error);
  while (stage.count("create") === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  await torn.close({ timeoutMs: 0 });
  await lost;
  const { id } = (await recordsOf(journal))[0] ?? expect.fail("there is no record");
  const found = (await journal.read(id)) as Parameters<Journal["update"]>[0];
  await journal.update({ ...found, state: "unknown" });
  const second = client();
  const sending = second.submit({ prompt }, key).catch((error: unknown) => error);
  while (stage.count("create") < 2) await new Promise((resolve) => setTimeout(resolve, 2));
  const reference = (await only(recovered(client()))).reference;
  await expect(client().settle(reference, { charged: "no" })).rejects.toMatchObject({
    code: "invalid_request",
    retryable: true,
  });
  await second.close({ timeoutMs: 0 });
  await sending;
});

test.each(journals)(
  "a job that was handed out, and whose record has gone since, is not bought anew (%s)",
  async (_, journalOf) => {
    await using stage = await startStage();
    const journal = journalOf(stage);
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", fault: "hang", times: 1 });
    const dead = stage.client("aigptimage", journal);
    const lost = dead.submit({ prompt }).catch((error: unknown) => error);
    while (stage.count("create") === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await dead.close({ timeoutMs: 0 });
    await lost;
    const job = await only(recovered(stage.client("aigptimage", journal)));
    // Refused, released or settled by somebody else.
    for await (const { id } of journal.list()) await journal.delete(id);
    const creates = stage.count("create");
    expect(await failureOf(job.result())).toMatchObject({ code: "submission_unknown" });
    expect(stage.count("create")).toBe(creates);
  },
);
