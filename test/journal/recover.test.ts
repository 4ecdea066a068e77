import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { ImageJob } from "../../src/types";
import {
  allProviders,
  endedPid,
  failureOf,
  type JournalStage,
  jobProviders,
  keyless,
  leave,
  marked,
  noRoom,
  only,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

test.each(jobProviders)("at %s a running job is polled on, and paid for once", async (name) => {
  await using stage = await startStage({ jobDurationMs: 100 });
  const journal = directoryJournal(stage.directory);
  const before = stage.client(name, journal);
  const job = await before.submit({ prompt, n: 2 });
  await before.close();
  const again = await only(recovered(stage.client(name, directoryJournal(stage.directory))));
  expect(again.id).toBe(job.id);
  expect(again.reference.tasks.map(({ id }) => id)).toEqual(
    job.reference.tasks.map(({ id }) => id),
  );
  const { images } = await again.result();
  expect(images).toHaveLength(2);
  expect(stage.count("create")).toBe(job.reference.tasks.length);
  expect((await recordsOf(journal)).map(({ state }) => state)).toEqual(
    job.reference.tasks.map(() => "succeeded"),
  );
});

test.each(allProviders)(
  "at %s a settled job is handed out until it is released, though the provider is gone",
  async (name) => {
    await using stage = await startStage();
    const { directory } = stage;
    const first = await stage.client(name, directoryJournal(directory)).generate({ prompt, n: 2 });
    const bytes = await Promise.all(first.images.map((image) => image.base64()));
    await stage.sandbox.close();
    const client = stage.client(name, directoryJournal(directory));
    for (let round = 0; round < 2; round += 1) {
      const job = await only(recovered(client));
      const result = await job.result();
      const again = await Promise.all(result.images.map((image) => image.base64()));
      expect(again.sort()).toEqual([...bytes].sort());
      expect(result.cost).toEqual(first.cost);
      expect(result.model).toBe(first.model);
      expect(await job.status()).toMatchObject({ settled: true, state: "succeeded" });
    }
    const job = await only(recovered(client));
    await job.release();
    expect(await recovered(client)).toEqual([]);
    expect(await readdir(directory)).toEqual([]);
  },
);

test.each(keyless)(
  "at %s a create of unknown fate is handed out as such, and never bought again",
  async (name) => {
    await using stage = await startStage();
    const { sandbox } = stage;
    const journal = memoryJournal();
    sandbox.inject({ provider: name, phase: "create", fault: "reset-after-acceptance" });
    const lost = await failureOf(stage.client(name, journal).generate({ prompt }));
    expect([lost.code, lost.charged]).toEqual(["submission_unknown", "unknown"]);
    for (let round = 0; round < 2; round += 1) {
      const job = await only(recovered(stage.client(name, journal)));
      expect(job.id).toBe(lost.job?.id);
      const error = await failureOf(job.result());
      expect([error.code, error.charged]).toEqual(["submission_unknown", "unknown"]);
      expect(await job.status()).toMatchObject({ state: "unknown", settled: true });
    }
    expect(stage.count("create")).toBe(1);
    // What a person needs to look it up.
    const record = await only(recordsOf(journal));
    expect(record).toMatchObject({ state: "unknown", provider: expect.any(String) });
    expect(JSON.stringify(record.request)).toContain(prompt);
    expect(Math.abs(Date.parse(record.submittedAt) - Date.now())).toBeLessThan(60_000);
    const job = await only(recovered(stage.client(name, journal)));
    await job.release();
    expect(await recordsOf(journal)).toEqual([]);
  },
);

test.each(keyless)(
  "at %s a marker alone, left by a process that died, is a create of unknown fate",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    await stage.client(name, journal).generate({ prompt });
    await leave(journal, { state: "submitting" });
    const creates = stage.count("create");
    const job = await only(recovered(stage.client(name, journal)));
    const error = await failureOf(job.result());
    expect(error.code).toBe("submission_unknown");
    expect(stage.count("create")).toBe(creates);
  },
);

test("a create of unknown fate is sent again with the key that went with it", async () => {
  await using stage = await startStage();
  const { sandbox } = stage;
  const journal = directoryJournal(stage.directory);
  const provider = "aigptimage";
  sandbox.inject({ provider, phase: "create", fault: "reset-after-acceptance" });
  const lost = await failureOf(
    stage.client(provider, journal, { timeoutMs: 300 }).generate({ prompt }),
  );
  expect(lost.charged).toBe("unknown");
  const job = await only(recovered(stage.client(provider, journal)));
  expect(job.id).toBe(lost.job?.id);
  const { images } = await job.result();
  expect(images).toHaveLength(1);
  const creates = sandbox.requests.filter(({ phase }) => phase === "create");
  expect(creates.length).toBeGreaterThan(1);
  expect(new Set(creates.map(({ headers }) => headers["x-request-id"])).size).toBe(1);
  expect(new Set(creates.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  expect(sandbox.charges).toHaveLength(1);
  const record = await only(recordsOf(journal));
  expect(record.state).toBe("succeeded");
  expect(record.call).toBeUndefined();
});

test("a key that is not young any more is not used again", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("aigptimage", journal).generate({ prompt });
  const record = await only(recordsOf(journal));
  const { taskId: _, ...rest } = record;
  const submittedAt = new Date(Date.now() - 2 * 60 * 60 * 1_000).toISOString();
  const call = { path: "/api/v1/jobs/createTask", json: {} };
  await journal.update({ ...rest, state: "submitting", submittedAt, call });
  const creates = stage.count("create");
  const job = await only(recovered(stage.client("aigptimage", journal)));
  expect((await failureOf(job.result())).code).toBe("submission_unknown");
  expect(stage.count("create")).toBe(creates);
});

test("what a split request has is handed out with what it has not", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { job } = await stage.client("shortapi", journal).generate({ prompt, n: 4 });
  await journal.delete(`${job.id}.1`);
  const third = (await recordsOf(journal)).find(({ index }) => index === 2);
  if (third === undefined) throw new Error("no third task");
  const { taskId: _, ...rest } = third;
  await journal.update({ ...rest, state: "unknown" });
  const again = await only(recovered(stage.client("shortapi", journal)));
  const { images, failures } = await again.result();
  expect(images).toHaveLength(2);
  expect(failures.map(({ code, charged }) => [code, charged])).toEqual([
    ["generation_failed", "no"],
    ["submission_unknown", "unknown"],
  ]);
});

test("jobs of this very client that still run are left out", async () => {
  await using stage = await startStage({ jobDurationMs: 150 });
  const client = stage.client("trinetra", memoryJournal());
  const job = await client.submit({ prompt });
  expect(await recovered(client)).toEqual([]);
  await job.result();
  expect((await only(recovered(client))).id).toBe(job.id);
});

test("a failed job is handed out with its error until it is released", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { sandbox } = stage;
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "failure", message: "too dull" });
  const error = await failureOf(stage.client("trinetra", journal).generate({ prompt }));
  const job = await only(recovered(stage.client("trinetra", journal)));
  const again = await failureOf(job.result());
  expect([again.code, again.charged]).toEqual([error.code, error.charged]);
  expect(again.message).toContain("too dull");
  await job.release();
  expect(await recordsOf(journal)).toEqual([]);
});

test("settled jobs are let go of after the retention time, unsettled ones never", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const client = stage.client("shortapi", journal);
  await client.generate({ prompt });
  stage.sandbox.inject({ provider: "shortapi", phase: "create", fault: "reset-after-acceptance" });
  await client.generate({ prompt }).catch(() => {});
  const ids = async (retentionMs?: number) => {
    const jobs: string[] = [];
    const options = retentionMs === undefined ? {} : { retentionMs };
    for await (const { id } of stage.client("shortapi", journal).recover(options)) jobs.push(id);
    return jobs;
  };
  expect(await ids()).toHaveLength(2);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await ids(10)).toHaveLength(1);
  expect((await recordsOf(journal)).map(({ state }) => state)).toEqual(["unknown"]);
});

test("an image whose file is gone is fetched again where its URL still serves", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  const journal: Journal = { ...inner, readImage: async () => undefined };
  await stage.client("trinetra", inner).generate({ prompt });
  const job = await only(recovered(stage.client("trinetra", journal)));
  const { image } = await job.result();
  expect(await image.info()).toMatchObject({ mediaType: "image/png" });
});

test("an image that was recovered can be saved anywhere", async () => {
  await using stage = await startStage();
  const { directory } = stage;
  await stage.client("openaiCompatible", directoryJournal(directory)).generate({ prompt });
  const client = stage.client("openaiCompatible", directoryJournal(directory));
  const job = await only(recovered(client));
  const { image } = await job.result({ saveTo: join(directory, "out") });
  const file = image.file ?? "";
  expect(file).toMatch(/out\/.*\.png$/);
  await job.release();
  expect(Buffer.from(await image.bytes())).toEqual(await readFile(file));
});

test("a release that cannot be written says so, and can be made again", async () => {
  await using stage = await startStage();
  const inner = memoryJournal();
  let isStuck = true;
  const journal: Journal = {
    ...inner,
    delete: (id) => (isStuck ? Promise.reject(noRoom()) : inner.delete(id)),
  };
  const { job } = await stage.client("trinetra", journal).generate({ prompt });
  expect((await failureOf(job.release())).code).toBe("journal_failed");
  expect(await recordsOf(inner)).toHaveLength(1);
  isStuck = false;
  await job.release();
  expect(await recordsOf(inner)).toEqual([]);
});

test("without a journal there is nothing to release, and recover says what is missing", async () => {
  await using stage = await startStage();
  const { createImageClient, trinetra } = await import("../../src/index");
  const client = createImageClient({ provider: trinetra(stage.sandbox.trinetra), poll: 5 });
  const { job } = await client.generate({ prompt });
  await job.release();
  const error = await failureOf(recovered(client));
  expect(error).toMatchObject({
    ...{ code: "invalid_request", charged: "no" },
    field: "options.journal",
  });
  expect(error.message).toContain("a journal such as directoryJournal(path)");
});

test.each(jobProviders)(
  "at %s two processes that recover one job at once pay once",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 60 });
    const { directory } = stage;
    const before = stage.client(name, directoryJournal(directory));
    await before.submit({ prompt });
    await before.close();
    const ends = await Promise.all(
      [1, 2].map(async () => {
        const job = await only(recovered(stage.client(name, directoryJournal(directory))));
        return (await job.result()).image.base64();
      }),
    );
    expect(new Set(ends).size).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test.each(keyless)(
  "at %s what another process is at this moment sending is waited for, not called unknown",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 300 });
    stage.sandbox.inject({ provider: name, phase: "create", fault: "slow", delayMs: 300 });
    const { directory } = stage;
    const sending = stage.client(name, directoryJournal(directory)).generate({ prompt });
    await marked(directory);
    const job = await only(recovered(stage.client(name, directoryJournal(directory))));
    expect(await job.status()).toMatchObject({ settled: false });
    const [first, second] = await Promise.all([sending, job.result()]);
    expect(await second.image.base64()).toBe(await first.image.base64());
    expect(stage.count("create")).toBe(1);
  },
);

test("a wait for another process ends with it, and at the time-out", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("trinetra", journal).generate({ prompt });
  const { host = "" } = (await only(recordsOf(journal))).owner ?? {};
  await leave(journal, { state: "submitting", owner: { host, pid: process.ppid } });
  const job = await only(recovered(stage.client("trinetra", journal)));
  expect((await failureOf(job.result({ timeoutMs: 50 }))).code).toBe("timeout");
  const waiting = failureOf(job.result());
  await leave(journal, { state: "submitting", owner: { host, pid: endedPid } });
  expect((await waiting).code).toBe("submission_unknown");
  expect(await job.status()).toMatchObject({ settled: true, state: "unknown" });
});

test("a process that has the number of the one before it, as in a container, does not wait for itself", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  await stage.client("trinetra", journal).generate({ prompt }, { idempotencyKey: "a" });
  const { host = "" } = (await only(recordsOf(journal))).owner ?? {};
  const submittedAt = new Date(Date.now() - 60 * 60 * 1_000).toISOString();
  const owner = { host, pid: process.pid };
  await leave(journal, { state: "submitting", owner, submittedAt });
  const client = stage.client("trinetra", journal);
  const error = await failureOf(client.generate({ prompt }, { idempotencyKey: "a" }));
  expect(error.code).toBe("submission_unknown");
});

test.each(["recover", "a redelivery"])(
  "what a process wrote just before it ended counts, though %s saw the marker alone",
  async (way) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    const { job } = await stage
      .client("trinetra", inner)
      .generate({ prompt }, { idempotencyKey: "a" });
    const whole = await only(recordsOf(inner));
    await leave(inner, { state: "submitting" });
    let reads = 0;
    const journal: Journal = {
      ...inner,
      async read(id) {
        const found = await inner.read(id);
        reads += 1;
        // It writes its last, and ends, between this read and the look whether it lives.
        if (reads === 1 && way === "a redelivery") await inner.update(whole);
        return found;
      },
      async *list() {
        yield* inner.list();
        await inner.update(whole);
      },
    };
    const client = stage.client("trinetra", journal);
    const result =
      way === "recover"
        ? await (await only(recovered(client))).result()
        : await client.generate({ prompt }, { idempotencyKey: "a" });
    expect(result.job.id).toBe(job.id);
    expect(result.images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);

/** A call whose first task was accepted, and whose second one waits until `go` for the only slot. */
async function callInTurn(stage: JournalStage, journal: Journal) {
  let go = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const controller = new AbortController();
  let isAccepted = false;
  const onSubmitted = () => {
    isAccepted = true;
    return gate;
  };
  const made = stage
    .client("shortapi", journal, { concurrency: 1 })
    .generate({ prompt, n: 2 }, { onSubmitted, signal: controller.signal });
  await expect.poll(() => isAccepted).toBe(true);
  return { made, go, controller };
}

const statesOf = ({ reference }: ImageJob) => reference.tasks.map(({ state }) => state);

test("a task that waits for its turn at another client of the process is not said to be unsent", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { made, go } = await callInTurn(stage, journal);
  const early = await only(recovered(stage.client("shortapi", journal)));
  expect(statesOf(early)).toEqual(["queued", "unknown"]);
  go();
  expect((await made).images).toHaveLength(2);
});

test("nor where it was sent while the jobs before it were handled", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const other = await stage.client("shortapi", journal).submit({ prompt });
  const { made, go } = await callInTurn(stage, journal);
  const found: string[][] = [];
  for await (const job of stage.client("shortapi", journal).recover()) {
    found.push(statesOf(job));
    if (job.id !== other.id) continue;
    go();
    await made;
  }
  expect(found).toEqual([["queued"], ["queued", "unknown"]]);
  expect(stage.sandbox.charges).toHaveLength(3);
});

test("a task whose turn never came is known to be unsent once its call has ended", async () => {
  await using stage = await startStage();
  const journal = memoryJournal();
  const { made, go, controller } = await callInTurn(stage, journal);
  controller.abort(new Error("enough"));
  go();
  await expect(made).rejects.toThrow("enough");
  const job = await only(recovered(stage.client("shortapi", journal)));
  expect(statesOf(job)).toEqual(["queued", "refused"]);
  const { failures } = await job.result();
  expect(failures).toMatchObject([{ charged: "no" }]);
});
