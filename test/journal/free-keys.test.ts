import { expect, test } from "vitest";
import type { Charged } from "../../src/cost";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { SandboxProvider } from "../../src/testing/sandbox";
import {
  failureOf,
  type JournalStage,
  noRoom,
  only,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

const key = { idempotencyKey: "message 17" };

/** The next job fails, without a charge. */
function failNext({ sandbox }: JournalStage, provider: SandboxProvider): void {
  sandbox.inject({ provider, phase: "create", fault: "failure", message: "out of luck" });
}

/** Makes of the only record a failure of which this is known. */
async function charge(journal: Journal, charged: Charged): Promise<void> {
  const record = await only(recordsOf(journal));
  const failure = { kind: "generation_failed", message: "no luck", charged };
  await journal.update({ ...record, state: "failed", failure });
}

// What fails at aigptimage may have been charged.
test.each(["shortapi", "trinetra"] as const)(
  "at %s a job that failed without a charge frees its key, as often as it does",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    const client = stage.client(name, journal);
    for (let round = 0; round < 3; round += 1) {
      failNext(stage, name);
      const error = await failureOf(client.generate({ prompt }, key));
      expect(error).toMatchObject({ code: "generation_failed", charged: "no", retryable: true });
    }
    const { images, job } = await client.generate({ prompt }, key);
    expect(images).toHaveLength(1);
    expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([4, 1]);
    // From then on the key is taken, for other processes, too.
    const again = await stage.client(name, journal).generate({ prompt }, key);
    expect(again.job.id).toBe(job.id);
    expect(stage.count("create")).toBe(4);
  },
);

test("the next try has an idempotency key of its own: the old one names the job that failed", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("aigptimage", journal);
  failNext(stage, "aigptimage");
  await failureOf(client.generate({ prompt }, key));
  await charge(journal, "no");
  await client.generate({ prompt }, key);
  const creates = stage.sandbox.requests.filter(({ phase }) => phase === "create");
  expect(new Set(creates.map(({ headers }) => headers["x-request-id"])).size).toBe(2);
});

test("a key that is free takes another request", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("trinetra", journal);
  failNext(stage, "trinetra");
  await failureOf(client.generate({ prompt }, key));
  const { image } = await client.generate({ prompt: "something else" }, key);
  const jobs = await recovered(stage.client("trinetra", journal));
  const results = await Promise.allSettled(jobs.map((job) => job.result()));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  const [first] = results;
  if (first?.status !== "fulfilled") throw new Error("no picture");
  expect(await first.value.image.base64()).toBe(await image.base64());
});

test("a failure that was charged, or may have been, keeps its key", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("trinetra", journal);
  failNext(stage, "trinetra");
  await failureOf(client.generate({ prompt }, key));
  await charge(journal, "yes");
  const again = await failureOf(client.generate({ prompt }, key));
  expect([again.code, again.charged]).toEqual(["generation_failed", "yes"]);
  expect(stage.count("create")).toBe(1);
});

test("of a split request only what failed is sent again, and the result is one job", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  failNext(stage, "shortapi");
  const first = await stage.client("shortapi", journal).generate({ prompt, n: 3 }, key);
  expect([first.images.length, first.failures[0]?.charged]).toEqual([2, "no"]);
  const second = await stage.client("shortapi", journal).generate({ prompt, n: 3 }, key);
  expect(second.job.id).toBe(first.job.id);
  expect([second.images.length, second.failures.length]).toEqual([3, 0]);
  expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([4, 3]);
  const job = await only(recovered(stage.client("shortapi", journal)));
  expect((await job.result()).images).toHaveLength(3);
  await job.release();
  expect(await recordsOf(journal)).toEqual([]);
});

test("calls at once share the try that fails, and those after it the next one", async () => {
  await using stage = await startStage({ jobDurationMs: 100 });
  const journal = memoryJournal();
  failNext(stage, "trinetra");
  const calls = () =>
    Array.from({ length: 6 }, () => stage.client("trinetra", journal).generate({ prompt }, key));
  const first = await Promise.allSettled(calls());
  expect(new Set(first.map(({ status }) => status))).toEqual(new Set(["rejected"]));
  const second = await Promise.all(calls());
  expect(new Set(second.map(({ job }) => job.id)).size).toBe(1);
  expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([2, 1]);
});

test("whoever is late with the end of a try that failed does not touch the next one", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  failNext(stage, "trinetra");
  const slow = await stage.client("trinetra", journal).submit({ prompt }, key);
  await failureOf(stage.client("trinetra", journal).generate({ prompt }, key));
  const { images } = await stage.client("trinetra", journal).generate({ prompt }, key);
  expect(images).toHaveLength(1);
  // It polls the job that failed, writes so, and lets go of it.
  await failureOf(slow.result());
  await slow.release();
  await stage.client("trinetra", journal).generate({ prompt }, key);
  expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([2, 1]);
});

test("a failure that was released still leads on to the try that another process is at", async () => {
  await using stage = await startStage({ jobDurationMs: 100 });
  const journal = memoryJournal();
  failNext(stage, "trinetra");
  const error = await failureOf(stage.client("trinetra", journal).generate({ prompt }, key));
  const next = stage.client("trinetra", journal).generate({ prompt }, key);
  await error.job?.release();
  await Promise.all([next, stage.client("trinetra", journal).generate({ prompt }, key)]);
  expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([2, 1]);
});

test("a failure under a key is handed out until it is released, and goes after the retention time", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  failNext(stage, "trinetra");
  await failureOf(stage.client("trinetra", journal).generate({ prompt }, key));
  const job = await only(recovered(stage.client("trinetra", journal)));
  expect((await failureOf(job.result())).charged).toBe("no");
  await job.release();
  expect(await recovered(stage.client("trinetra", journal))).toEqual([]);
  const kept = await only(recordsOf(journal));
  expect(kept).toMatchObject({ state: "failed", released: true });
  expect(JSON.stringify(kept)).not.toContain(prompt);
  await new Promise((resolve) => setTimeout(resolve, 5));
  for await (const _ of stage.client("trinetra", journal).recover({ retentionMs: 1 })) {
    expect.unreachable();
  }
  expect(await recordsOf(journal)).toEqual([]);
});

test("a refusal whose marker cannot be taken back is not called retryable", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  const fail = () => Promise.reject(noRoom());
  const journal: Journal = { ...inner, delete: fail, compareAndSwap: fail };
  const client = stage.client("trinetra", journal);
  stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 429 });
  const options = { ...key, timeoutMs: 300 };
  const error = await failureOf(client.generate({ prompt }, options));
  expect([error.charged, error.retryable]).toEqual(["no", false]);
});

test("by the time a refusal is heard its key is free", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  const journal: Journal = {
    ...inner,
    async delete(id) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await inner.delete(id);
    },
    async compareAndSwap(id, expected, next) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return (await inner.compareAndSwap?.(id, expected, next)) ?? false;
    },
  };
  stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "refusal", status: 402 });
  await failureOf(stage.client("trinetra", journal).generate({ prompt }, key));
  expect(await recordsOf(inner)).toEqual([]);
});
