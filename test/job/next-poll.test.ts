import { afterEach, beforeEach, expect, test } from "vitest";
import { memoryJournal } from "../../src/journal/journal";
import type { PollMoment } from "../../src/schedule/schedule";
import { failureOf, jobProviders, prompt, type Stage, startStage } from "../support/stage";

let stage: Stage;
beforeEach(async () => {
  stage = await startStage({ jobDurationMs: 5_000 });
});
afterEach(() => stage[Symbol.asyncDispose]());

/** A schedule that keeps what it is asked. */
function asked() {
  const moments: PollMoment[] = [];
  const next = (moment: PollMoment) => {
    moments.push(moment);
    return 1_234.5;
  };
  return { moments, poll: { next } };
}

test.each(jobProviders)("%s: a status says when this client would poll again", async (provider) => {
  const { moments, poll } = asked();
  const client = stage.client(provider, { poll });
  const { reference } = await client.submit({ prompt });
  const status = await client.resume(reference).status();
  expect(status).toMatchObject({ settled: false, nextPollMs: 1_234.5 });
  expect(moments.at(-1)).toMatchObject({ attempt: 1, provider });
});

test("of several tasks the one that comes due first counts", async () => {
  const delays = [9_000, 4_000, 6_000];
  const client = stage.client("shortapi", { poll: { next: () => delays.shift() ?? 1 } });
  const { reference } = await client.submit({ prompt, n: 3 });
  expect(reference.tasks.length).toBeGreaterThan(1);
  const status = await client.resume(reference).status();
  expect(status.nextPollMs).toBe(4_000);
});

test("without a poll a status tells what is known here", async () => {
  const client = stage.client("trinetra", { poll: { next: () => 3_000 } });
  const job = await client.submit({ prompt });
  expect(await job.status({ poll: false })).toMatchObject({ settled: false, nextPollMs: 3_000 });
  expect(stage.count("poll")).toBe(0);
});

test("a job that has ended has no next poll", async () => {
  await using quick = await startStage({ jobDurationMs: 0 });
  const client = quick.client("trinetra");
  const status = await (await client.submit({ prompt })).status();
  expect(status.settled).toBe(true);
  expect("nextPollMs" in status).toBe(false);
});

test("a schedule that throws ends the status, and the job is on the error", async () => {
  const next = () => {
    throw new Error("no idea");
  };
  const client = stage.client("trinetra", { poll: { next } });
  const job = await client.submit({ prompt });
  const error = await failureOf(job.status());
  expect(error).toMatchObject({ code: "callback_failed", charged: "unknown" });
  expect(error.job?.id).toBe(job.id);
});

test("a submit that is detached keeps no place from others", async () => {
  const client = stage.client("trinetra", { concurrency: 1 });
  await client.submit({ prompt }, { detached: true });
  await client.submit({ prompt }, { detached: true });
  expect(stage.count("create")).toBe(2);
  expect(stage.clock.elapsedMs).toBeLessThan(5_000);
});

test("the journal hands a detached job out to whoever sweeps", async () => {
  const client = stage.client("trinetra", { journal: memoryJournal() });
  const kept = await client.submit({ prompt });
  const detached = await client.submit({ prompt }, { detached: true });
  const found: string[] = [];
  for await (const { id } of client.recover()) found.push(id);
  expect(found).toEqual([detached.id]);
  expect(found).not.toContain(kept.id);
});
