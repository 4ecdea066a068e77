import { expect, test } from "vitest";
import { directoryJournal } from "../../src/journal/directory";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { ImageResult } from "../../src/types";
import {
  allProviders,
  failureOf,
  keyless,
  leave,
  marked,
  prompt,
  recordsOf,
  recovered,
  startStage,
} from "./stage";

const key = { idempotencyKey: "message 17 / überall" };

async function bytesOf({ images }: ImageResult): Promise<string[]> {
  const all = await Promise.all(images.map((image) => image.base64()));
  return all.sort();
}

test.each(allProviders)(
  "at %s the same call made twice gives the same job and the same bytes",
  async (name) => {
    await using stage = await startStage();
    const client = stage.client(name, directoryJournal(stage.directory));
    const first = await client.generate({ prompt, n: 2 }, key);
    const requests = stage.sandbox.requests.length;
    const again = await client.generate({ prompt, n: 2 }, key);
    expect(again.job.id).toBe(first.job.id);
    expect(await bytesOf(again)).toEqual(await bytesOf(first));
    expect(again.cost).toEqual(first.cost);
    // Not even a poll: everything is in the journal.
    expect(stage.sandbox.requests).toHaveLength(requests);
  },
);

test.each(allProviders)("at %s the same call made ten times at once pays once", async (name) => {
  await using stage = await startStage({ jobDurationMs: 100 });
  const client = stage.client(name, directoryJournal(stage.directory));
  const results = await Promise.all(
    Array.from({ length: 10 }, () => client.generate({ prompt }, key)),
  );
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(new Set(results.map(({ job }) => job.id)).size).toBe(1);
  const bytes = await Promise.all(results.map(bytesOf));
  expect(new Set(bytes.flat()).size).toBe(1);
});

test.each(allProviders)(
  "at %s two clients with one journal pay once, and so does a third one later",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 100 });
    const open = () => stage.client(name, directoryJournal(stage.directory));
    const [first, second] = await Promise.all([
      open().generate({ prompt, n: 2 }, key),
      open().generate({ prompt, n: 2 }, key),
    ]);
    const charges = stage.sandbox.charges.length;
    const third = await open().generate({ prompt, n: 2 }, key);
    expect(stage.sandbox.charges).toHaveLength(charges);
    expect(stage.sandbox.charges.reduce((sum, { images }) => sum + images, 0)).toBe(2);
    expect(new Set([first, second, third].map(({ job }) => job.id)).size).toBe(1);
    expect(await bytesOf(second)).toEqual(await bytesOf(first));
    expect(await bytesOf(third)).toEqual(await bytesOf(first));
  },
);

test.each(allProviders)(
  "at %s another request under the same key is an error that names the key",
  async (name) => {
    await using stage = await startStage();
    const client = stage.client(name, memoryJournal());
    await client.generate({ prompt }, key);
    const requests = stage.sandbox.requests.length;
    const others = [{ prompt: "test of another" }, { prompt, n: 2 }, { prompt, n: 12 }];
    for (const other of others) {
      const error = await failureOf(client.generate(other, key));
      expect(error).toMatchObject({ code: "invalid_request", charged: "no" });
      expect(error).toMatchObject({ field: "options.idempotencyKey" });
      expect(error.message).not.toContain(prompt);
    }
    expect(stage.sandbox.requests).toHaveLength(requests);
  },
);

test.each(allProviders)(
  "at %s of two requests at once under one key one alone is sent",
  async (name) => {
    await using stage = await startStage();
    for (let round = 0; round < 5; round += 1) {
      stage.sandbox.reset();
      const journal = directoryJournal(stage.directory);
      const options = { idempotencyKey: `round ${round}` };
      const ends = await Promise.allSettled([
        stage.client(name, journal).generate({ prompt, n: 2 }, options),
        stage.client(name, journal).generate({ prompt, n: 3 }, options),
      ]);
      expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const images = stage.sandbox.charges.reduce((sum, charge) => sum + charge.images, 0);
      expect(images).toBe(ends[0]?.status === "fulfilled" ? 2 : 3);
    }
  },
);

test("an edit with the same key as a generate is an error", async () => {
  await using stage = await startStage();
  const client = stage.client("openaiCompatible", memoryJournal());
  const { image } = await client.generate({ prompt }, key);
  const images = [await image.bytes()];
  const error = await failureOf(client.edit({ prompt, images }, key));
  expect(error).toMatchObject({ field: "options.idempotencyKey", charged: "no" });
  const first = await client.edit({ prompt, images }, { idempotencyKey: "edit" });
  const again = await client.edit({ prompt, images }, { idempotencyKey: "edit" });
  expect(again.job.id).toBe(first.job.id);
  expect(stage.sandbox.charges).toHaveLength(2);
  const other = await failureOf(
    client.edit(
      { prompt, images: [Buffer.from(await first.image.bytes())] },
      { idempotencyKey: "edit" },
    ),
  ).catch(() => undefined);
  // The very same bytes make the very same request.
  if (other !== undefined) expect(other).toMatchObject({ field: "options.idempotencyKey" });
});

test.each(allProviders)("at %s different keys are different jobs", async (name) => {
  await using stage = await startStage();
  const client = stage.client(name, memoryJournal());
  const first = await client.generate({ prompt }, { idempotencyKey: "a" });
  const second = await client.generate({ prompt }, { idempotencyKey: "b" });
  expect(second.job.id).not.toBe(first.job.id);
  expect(stage.sandbox.charges).toHaveLength(2);
});

test.each(allProviders)("at %s a refused create frees its key", async (name) => {
  await using stage = await startStage();
  const journal = directoryJournal(stage.directory);
  const client = stage.client(name, journal);
  stage.sandbox.inject({ provider: name, phase: "create", fault: "refusal", status: 402 });
  const error = await failureOf(client.generate({ prompt }, key));
  expect([error.code, error.charged]).toEqual(["insufficient_credits", "no"]);
  expect(await recordsOf(journal)).toEqual([]);
  expect(await recovered(client)).toEqual([]);
  const { images } = await client.generate({ prompt: "test of something else" }, key);
  expect(images).toHaveLength(1);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test.each(["shortapi", "trinetra"] as const)(
  "at %s a redelivery goes on with what another process had begun",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    const job = await stage.client(name, journal).submit({ prompt }, key);
    await leave(journal, { state: "submitted", taskId: job.reference.tasks[0]?.id ?? "" });
    const result = await stage.client(name, journal).generate({ prompt }, key);
    expect(result.job.id).toBe(job.id);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test.each(keyless)(
  "at %s a redelivery never takes over a marker whose process died",
  async (name) => {
    await using stage = await startStage();
    const journal = memoryJournal();
    await stage.client(name, journal).generate({ prompt }, key);
    await leave(journal, { state: "submitting" });
    const creates = stage.count("create");
    for (let delivery = 0; delivery < 3; delivery += 1) {
      const error = await failureOf(stage.client(name, journal).generate({ prompt }, key));
      expect([error.code, error.charged]).toEqual(["submission_unknown", "unknown"]);
      expect(error.retryable).toBe(false);
    }
    expect(stage.count("create")).toBe(creates);
  },
);

test("where the key is honoured a redelivery sends the create again under it", async () => {
  await using stage = await startStage();
  const { sandbox } = stage;
  const journal = memoryJournal();
  await stage.client("aigptimage", journal).generate({ prompt }, key);
  const [sent] = sandbox.requests;
  const call = { path: "/api/v1/jobs/createTask", json: sent?.body, headers: {} };
  const headers = { "X-Request-ID": sent?.headers["x-request-id"] ?? "" };
  await leave(journal, { state: "submitting", call: { ...call, headers } });
  const { images } = await stage.client("aigptimage", journal).generate({ prompt }, key);
  expect(images).toHaveLength(1);
  const creates = sandbox.requests.filter(({ phase }) => phase === "create");
  expect(creates.map((request) => request.headers["x-request-id"])).toEqual([
    headers["X-Request-ID"],
    headers["X-Request-ID"],
  ]);
  expect(sandbox.charges).toHaveLength(1);
});

test.each(["shortapi", "aigptimage"] as const)(
  "at %s a redelivery sends only those tasks that were never sent",
  async (name) => {
    await using stage = await startStage();
    const inner = memoryJournal();
    let room = 1;
    const narrow: Journal = {
      ...inner,
      async create(record) {
        room -= 1;
        if (room < 0) throw new Error("ENOSPC");
        return inner.create(record);
      },
    };
    const first = await stage.client(name, narrow).generate({ prompt, n: 3 }, key);
    expect(first.images).toHaveLength(1);
    expect(first.failures).toHaveLength(2);
    const second = await stage.client(name, inner).generate({ prompt, n: 3 }, key);
    expect(second.images).toHaveLength(3);
    expect(stage.sandbox.charges).toHaveLength(3);
    expect(new Set((await recordsOf(inner)).map(({ jobId }) => jobId))).toEqual(
      new Set([first.job.id]),
    );
  },
);

test("while another process is at it a second call waits, and gets what the first one got", async () => {
  await using stage = await startStage({ jobDurationMs: 700 });
  const open = () => stage.client("openaiCompatible", directoryJournal(stage.directory));
  const first = open().generate({ prompt }, key);
  await marked(stage.directory);
  const second = open().generate({ prompt }, key);
  expect(await bytesOf(await second)).toEqual(await bytesOf(await first));
  expect(stage.count("create")).toBe(1);
});

test("a second call waits no longer than it was told to", async () => {
  await using stage = await startStage({ jobDurationMs: 3_000 });
  const journal = directoryJournal(stage.directory);
  const first = stage.client("openaiCompatible", journal).generate({ prompt }, key);
  await marked(stage.directory);
  const second = stage.client("openaiCompatible", journal);
  const startedAt = performance.now();
  const error = await failureOf(second.generate({ prompt }, { ...key, timeoutMs: 400 }));
  expect(performance.now() - startedAt).toBeLessThan(2_700);
  expect(error.charged).toBe("unknown");
  await stage.sandbox.close();
  await first.catch(() => {});
  expect(stage.count("create")).toBe(1);
});

test("what one process learnt is not overwritten by another that gave up", async () => {
  await using stage = await startStage({ jobDurationMs: 200 });
  const journal = memoryJournal();
  const create = { provider: "aigptimage", phase: "create" } as const;
  stage.sandbox.inject({ ...create, fault: "reset-after-acceptance", times: 1 });
  const options = { ...key, timeoutMs: 500 };
  const lost = stage.client("aigptimage", journal).generate({ prompt }, options);
  const failing = failureOf(lost);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { job } = await stage.client("aigptimage", journal).generate({ prompt }, key);
  await failing;
  expect(await recordsOf(journal)).toMatchObject([{ jobId: job.id, state: "succeeded" }]);
  expect(stage.sandbox.charges).toHaveLength(1);
});
