import { expect, test, vi } from "vitest";
import { LightAbortSignal } from "../../src/async/clock";
import { TaskFinder } from "../../src/job/task-finder";
import { Account } from "../../src/journal/account";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { OwnRecords } from "../../src/journal/own-records";
import { trinetra } from "../../src/providers/index";
import { TestClock } from "../support/clock";
import { recordOf } from "./contract";

const baseURL = "https://example.com";

function setUp(change: Partial<Journal> = {}) {
  const { findTask, ...simple } = memoryJournal();
  const list = vi.fn(simple.list);
  const journal: Journal = { ...simple, list, ...change };
  const provider = trinetra({ baseURL, apiKey: "key" });
  const clock = new TestClock({ auto: false });
  const closing = new LightAbortSignal();
  const account = new Account("acme", provider, async () => "key");
  const finder = new TaskFinder(new OwnRecords(journal, provider, account), {
    ...{ clock, closing, provider },
  });
  const submit = (id: string, taskId: string) =>
    journal.update(recordOf(id, { state: "submitted", taskId }));
  return { ...{ clock, closing, finder, journal, submit }, list: journal.list };
}

test("however many unknown names there are, the journal is listed once in ten seconds", async () => {
  const { clock, finder, list } = setUp();
  const found: (string | undefined)[] = [];
  // One every 100 ms, for a minute.
  for (let call = 0; call < 600; call += 1) {
    void finder.find({ taskId: `forged-${call}` }).then((id) => found.push(id));
    await clock.advance(100);
  }
  expect(list).toHaveBeenCalledTimes(6);
  await clock.advance(10_000);
  expect(found).toHaveLength(600);
  expect(found.every((id) => id === undefined)).toBe(true);
});

test("what the last listing had is found without another, amid forged names", async () => {
  const { clock, finder, list, submit } = setUp();
  await submit("a.0", "true-1");
  await submit("b.0", "true-2");
  expect(await finder.find({ taskId: "true-1" })).toBe("a.0");
  void finder.find({ taskId: "forged" });
  expect(await finder.find({ taskId: "true-2" })).toBe("b.0");
  expect(list).toHaveBeenCalledTimes(1);
  expect(clock.elapsedMs).toBe(0);
});

test("what was submitted since is found by the next listing", async () => {
  const { clock, finder, list, submit } = setUp();
  await finder.find({ taskId: "forged" });
  await submit("a.0", "true-1");
  const finding = finder.find({ taskId: "true-1" });
  await clock.advance(9_900);
  expect(list).toHaveBeenCalledTimes(1);
  await clock.advance(200);
  expect(await finding).toBe("a.0");
});

test("a journal that finds tasks is not listed for those that it has", async () => {
  const whole = memoryJournal();
  const { finder, list, submit } = setUp({ ...whole, list: vi.fn(whole.list) });
  await finder.find({ taskId: "forged" });
  await submit("a.0", "true-1");
  expect(await finder.find({ taskId: "true-1" })).toBe("a.0");
  expect(list).toHaveBeenCalledTimes(1);
});

test("a token names the record itself, at its newest try, and lists nothing", async () => {
  const { finder, journal, list } = setUp();
  const failure = { kind: "generation_failed", message: "", charged: "no" as const };
  await journal.create(recordOf("job.1", { state: "failed", failure, attempt: 0 }));
  const next = recordOf("job-1.1", { jobId: "job", state: "submitted", attempt: 1 });
  await journal.create(next);
  expect(await finder.find({ jobId: "job", index: 1 })).toBe("job-1.1");
  expect(await finder.find({ jobId: "job", index: 0 })).toBeUndefined();
  expect(list).not.toHaveBeenCalled();
});

test("what is settled, another account's or another provider's is found by no listing", async () => {
  const { finder, journal } = setUp();
  const submitted = { state: "submitted", taskId: "t" } as const;
  await journal.update(recordOf("a.0", { ...submitted, state: "succeeded" }));
  await journal.update(recordOf("b.0", { ...submitted, account: "other" }));
  await journal.update(recordOf("c.0", { ...submitted, provider: "shortapi" }));
  expect(await finder.find({ taskId: "t" })).toBeUndefined();
});

test("a flood holds no more than a thousand calls in memory, and a true one is still found", async () => {
  const whole = memoryJournal();
  const { clock, finder, submit } = setUp(whole);
  await finder.find({ taskId: "forged" });
  await submit("a.0", "true-1");
  let answered = 0;
  for (let call = 0; call < 3_000; call += 1) {
    void finder.find({ taskId: `forged-${call}` }).then(() => {
      answered += 1;
    });
  }
  await vi.waitFor(() => expect(answered).toBe(2_000), 20_000);
  expect(await finder.find({ taskId: "true-1" })).toBe("a.0");
  await clock.advance(10_000);
  expect(answered).toBe(3_000);
});

test("a clock that was set back holds the next listing up no longer than the gap", async () => {
  const { clock, finder, list } = setUp();
  await finder.find({ taskId: "forged" });
  const { now } = clock;
  vi.spyOn(clock, "now").mockImplementation(() => now.call(clock) - 3_600_000);
  void finder.find({ taskId: "forged" });
  await vi.waitFor(() => expect(clock.pending).toBe(1), 20_000);
  await clock.advance(10_100);
  expect(list).toHaveBeenCalledTimes(2);
});

test("a listing that fails is made again for the next call, and one that was closed is not made", async () => {
  let fails = true;
  const inner = memoryJournal();
  const { clock, closing, finder, submit } = setUp({
    async *list() {
      if (fails) throw new Error("EIO");
      yield* inner.list();
    },
    update: inner.update,
    read: inner.read,
  });
  await submit("a.0", "true-1");
  await expect(finder.find({ taskId: "true-1" })).rejects.toThrow("EIO");
  fails = false;
  const finding = finder.find({ taskId: "true-1" });
  await clock.advance(10_000);
  expect(await finding).toBe("a.0");
  const late = finder.find({ taskId: "forged" });
  closing.abort(new Error("closed"));
  await expect(late).rejects.toThrow("closed");
});
