import { hostname } from "node:os";
import { expect, test } from "vitest";
import { isImageError } from "../../src/errors";
import type { Settlement } from "../../src/job/settlement";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { ImageJob } from "../../src/types";
import {
  allProviders,
  endedPid,
  failureOf,
  jobProviders,
  leave,
  only,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

const key = { idempotencyKey: "message 17" };

/** The create was accepted, and its process died before the response: a person knows the provider's id. */
async function loseAnswer(journal: Journal, job: ImageJob): Promise<string> {
  await leave(journal, { state: "submitting" });
  return job.reference.tasks[0]?.id ?? "";
}

test.each(jobProviders)(
  "at %s what was paid for is had by the id that a person found",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    const job = await stage.client(name, journal).submit({ prompt }, key);
    const taskId = await loseAnswer(journal, job);
    const client = stage.client(name, journal);
    await client.settle(job.reference, { charged: "yes", taskId });
    const { images } = await (await only(recovered(client))).result();
    expect(images).toHaveLength(1);
    // A message that is delivered again has it, too.
    expect((await client.generate({ prompt }, key)).images).toHaveLength(1);
    expect([stage.count("create"), stage.sandbox.charges.length]).toEqual([1, 1]);
  },
);

test.each(allProviders)("at %s what was never accepted frees its key", async (name) => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const create = { provider: name, phase: "create" } as const;
  stage.sandbox.inject({ ...create, fault: "reset-before-acceptance", times: 99 });
  const client = stage.client(name, journal, { timeoutMs: 400 });
  const lost = await failureOf(client.generate({ prompt }, key));
  stage.sandbox.reset();
  await client.settle(lost.job, { charged: "no" });
  expect(await recovered(client)).toEqual([]);
  expect((await stage.client(name, journal).generate({ prompt }, key)).images).toHaveLength(1);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("what was never accepted, and had no key, leaves nothing", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("trinetra", journal).submit({ prompt });
  await leave(journal, { state: "unknown" });
  const client = stage.client("trinetra", journal);
  const job = await only(recovered(client));
  await client.settle(JSON.stringify(job), { charged: "no" });
  expect(await recordsOf(journal)).toEqual([]);
});

test("what was paid for and cannot be had is a failure that keeps its key, until it is released", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const job = await stage.client("openaiCompatible", journal).submit({ prompt }, key);
  await leave(journal, { state: "unknown" });
  const client = stage.client("openaiCompatible", journal);
  await client.settle(job, { charged: "yes" });
  const found = await only(recovered(client));
  for (const call of [found.result(), client.generate({ prompt }, key)]) {
    const error = await failureOf(call);
    expect([error.code, error.charged]).toEqual(["generation_failed", "yes"]);
    expect(error.message).toContain("A person has found");
  }
  expect(stage.count("create")).toBe(1);
  await found.release();
  expect(await recordsOf(journal)).toEqual([]);
});

test("of a split request the task that is named is settled, or all that are unknown", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { job } = await stage.client("shortapi", journal).generate({ prompt, n: 4 }, key);
  const ids = job.reference.tasks.map(({ id }) => id ?? "");
  for (const record of await recordsOf(journal)) {
    const { taskId: _, ...rest } = record;
    const owner = { host: hostname(), pid: endedPid };
    if (record.index > 0) await journal.update({ ...rest, owner, state: "unknown" });
  }
  const client = stage.client("shortapi", journal);
  const [, second = ""] = ids;
  const both = await failureOf(client.settle(job, { charged: "yes", taskId: second }));
  expect(both).toMatchObject({ field: "options.taskId", charged: "no" });
  await client.settle(job, { task: 1, charged: "yes", taskId: second });
  await client.settle(job, { charged: "no" });
  const { images, failures } = await (await only(recovered(client))).result();
  expect([images.length, failures.length]).toEqual([2, 2]);
  expect((await client.generate({ prompt, n: 4 }, key)).images).toHaveLength(4);
  expect(stage.count("create")).toBe(6);
});

test("what has ended, runs, or is not there is not settled by a person's word", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("trinetra", journal);
  const { job } = await client.generate({ prompt });
  const refused = async (settlement: Settlement = { charged: "no" }) => {
    const before = await recordsOf(journal);
    const error = await failureOf(client.settle(job, settlement));
    expect(error).toMatchObject({ code: "invalid_request", field: "reference", charged: "no" });
    expect(await recordsOf(journal)).toEqual(before);
  };
  await refused();
  await leave(journal, { state: "submitted", taskId: "job_1" });
  await refused();
  await leave(journal, { state: "unknown" });
  await refused({ charged: "no", task: 7 });
  await job.release();
  await refused();
});

test("a create that may still be on its way is not settled", async () => {
  await using stage = await startStage({ jobDurationMs: 400 });
  const journal = memoryJournal();
  const client = stage.client("openaiCompatible", journal);
  const running = client.generate({ prompt });
  while ((await recordsOf(journal)).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { jobId, owner } = await only(recordsOf(journal));
  const reference = {
    ...{ v: 1, id: jobId, provider: client.name, baseURL: stage.sandbox.openaiCompatible.baseURL },
    ...{ operation: "generate", submittedAt: new Date().toISOString() },
    tasks: [{ index: 0, n: 1, state: "submitting" }],
  };
  const settling = () => client.settle(reference, { charged: "no" });
  expect((await failureOf(settling())).message).toContain("may be on its way");
  await running;
  // Another machine's process may live, until its time is over.
  const elsewhere = { host: "another-machine", pid: owner?.pid ?? 1 };
  await leave(journal, { state: "submitting", owner: elsewhere });
  expect((await failureOf(settling())).message).toContain("may be on its way");
  const submittedAt = new Date(Date.now() - 11 * 60 * 1_000).toISOString();
  await leave(journal, { state: "submitting", owner: elsewhere, submittedAt });
  await settling();
  expect(await recordsOf(journal)).toEqual([]);
});

test("nobody settles another account's job", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const job = await stage.client("trinetra", journal, { account: "acme" }).submit({ prompt });
  await leave(journal, { state: "unknown" });
  const other = stage.client("trinetra", journal, { account: "other" });
  const error = await failureOf(other.settle(job, { charged: "no" }));
  expect(error).toMatchObject({ field: "options.account", charged: "no" });
  expect(await recordsOf(journal)).toMatchObject([{ state: "unknown" }]);
});

test("what a person cannot have meant is refused by its name", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("openaiCompatible", journal);
  const { job } = await client.generate({ prompt });
  await leave(journal, { state: "unknown" });
  const wrong: [unknown, string][] = [
    [{ charged: "maybe" }, "options.charged"],
    [{}, "options.charged"],
    [{ charged: "no", taskId: "a" }, "options.taskId"],
    [{ charged: "yes", taskId: "" }, "options.taskId"],
    [{ charged: "yes", task: -1 }, "options.task"],
    // The image is the response: there is nothing to ask by an id.
    [{ charged: "yes", taskId: "a" }, "options.taskId"],
    [{ charged: "yes", id: "a" }, "options.id"],
  ];
  for (const [given, field] of wrong) {
    // As JavaScript may give it.
    const error = await failureOf(client.settle(job, given as Settlement));
    expect(error).toMatchObject({ code: "invalid_request", field });
  }
  expect(await recordsOf(journal)).toMatchObject([{ state: "unknown" }]);
});

test("without a journal there is nothing to settle", async () => {
  await using stage = await startStage();
  const { createImageClient, trinetra } = await import("../../src/index");
  const client = createImageClient({ provider: trinetra(stage.sandbox.trinetra), poll: 5 });
  const { job } = await client.generate({ prompt });
  expect(await failureOf(client.settle(job, { charged: "no" }))).toMatchObject({
    field: "options.journal",
  });
});

test("the README's loop rescues everything, however many creates are of unknown fate", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("shortapi", journal);
  await client.generate({ prompt, n: 2 });
  const [first] = await recordsOf(journal);
  if (first === undefined) throw new Error("no record");
  const { taskId: _, ...unknown } = first;
  for (const id of ["a", "b", "c", "z"]) {
    await journal.create({ ...unknown, id: `${id}.0`, jobId: id, split: [1], state: "unknown" });
  }
  const running = await client.submit({ prompt });
  const order: string[] = [];
  let rescued = 0;
  for await (const job of stage.client("shortapi", journal).recover()) {
    order.push(job.id);
    try {
      const { images } = await job.result();
      rescued += images.length;
    } catch (error) {
      if (!isImageError(error) || error.charged !== "unknown") throw error;
      continue;
    }
    await job.release();
  }
  expect(rescued).toBe(3);
  expect(order.slice(0, 2)).toEqual([running.id, first.jobId]);
  expect((await recordsOf(journal)).map(({ jobId }) => jobId).sort()).toEqual(["a", "b", "c", "z"]);
});

test.each(["no", "yes"] as const)(
  "a word that it was charged %s does not hide the job of which another process writes just then",
  async (charged) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    const job = await stage.client("trinetra", inner).submit({ prompt }, key);
    const taskId = await loseAnswer(inner, job);
    const accepted = { ...(await only(recordsOf(inner))), state: "submitted" as const, taskId };
    const journal: Journal = {
      ...inner,
      async compareAndSwap(id, expected, next) {
        await inner.update(accepted);
        return (await inner.compareAndSwap?.(id, expected, next)) ?? false;
      },
    };
    const error = await failureOf(stage.client("trinetra", journal).settle(job, { charged }));
    expect(error).toMatchObject({ code: "invalid_request", charged: "no", field: "reference" });
    expect(error.message).toContain("another process has just written");
    expect(await recordsOf(inner)).toEqual([accepted]);
  },
);
