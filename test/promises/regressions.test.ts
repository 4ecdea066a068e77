import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createImageClient,
  type Journal,
  memoryJournal,
  openaiCompatible,
  shortapi,
} from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";
import { expect, test } from "vitest";
import type { JournalRecord } from "../../src/journal/record";
import { onePixelPng } from "../providers/fixtures";

const prompt = "test";
const apiKey = "sk-0123456789abcdef";

/** A create that is on its way until it is told to answer. */
function heldCreate() {
  let posts = 0;
  let arrived: () => void = () => {};
  const isThere = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const fetch: typeof globalThis.fetch = (_input, init) => {
    posts += 1;
    arrived();
    return new Promise((_, reject) => {
      init?.signal?.addEventListener("abort", () => reject(init.signal?.reason));
    });
  };
  return { fetch, isThere, posts: () => posts };
}

test("close() during a create of unknown fate keeps the marker, and the key does not pay again", async () => {
  const journal = memoryJournal();
  const provider = openaiCompatible({ baseURL: "https://api.test/v1", apiKey });
  const { fetch, isThere, posts } = heldCreate();
  const client = createImageClient({ provider, journal, fetch });
  const call = client.generate({ prompt }, { idempotencyKey: "m" });
  const failure = call.catch((error: unknown) => error);
  await isThere;
  await client.close({ timeoutMs: 20 });
  expect(await failure).toMatchObject({ code: "client_closed", charged: "unknown" });
  const again = createImageClient({ provider, journal, fetch });
  await expect(again.generate({ prompt }, { idempotencyKey: "m" })).rejects.toMatchObject({
    code: "submission_unknown",
    charged: "unknown",
  });
  expect(posts()).toBe(1);
});

test("an abort before anything left frees the key", async () => {
  const journal = memoryJournal();
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const abort = new AbortController();
  const slow = {
    ...journal,
    async create(record: JournalRecord) {
      const created = await journal.create(record);
      abort.abort(new Error("the user left"));
      return created;
    },
  };
  const provider = shortapi(sandbox.shortapi);
  const options = { idempotencyKey: "m", signal: abort.signal };
  const first = createImageClient({ provider, journal: slow, poll: 10 });
  await expect(first.generate({ prompt }, options)).rejects.toThrow("the user left");
  await first.close();
  expect(sandbox.requests).toHaveLength(0);
  const client = createImageClient({ provider, journal, poll: 10 });
  await client.generate({ prompt }, { idempotencyKey: "m" });
  expect(sandbox.charges).toHaveLength(1);
});

test("an open connection that dies of EHOSTUNREACH may have sent, and is not sent again", async () => {
  let posts = 0;
  const client = createImageClient({
    provider: shortapi({ apiKey }),
    fetch: async () => {
      posts += 1;
      const cause = Object.assign(new Error("read EHOSTUNREACH"), { code: "EHOSTUNREACH" });
      throw new TypeError("fetch failed", { cause: Object.assign(cause, { syscall: "read" }) });
    },
  });
  await expect(client.generate({ prompt })).rejects.toMatchObject({ charged: "unknown" });
  expect(posts).toBe(1);
});

test.each([{ "x-token": undefined }, { "bad header": "x" }, { "x-token": "☃" }])(
  "headers that HTTP cannot hold are refused when the provider is made: %o",
  (headers) => {
    // A caller without types may well give such a thing.
    const given = headers as unknown as Record<string, string>;
    expect(() => shortapi({ apiKey, headers: given })).toThrow(/headers\[/);
  },
);

test("a reference whose id would lead out of a directory is refused", async () => {
  const client = createImageClient({ provider: shortapi({ apiKey }) });
  const task = { index: 0, n: 1, id: "a", state: "queued" };
  const reference = {
    ...{ v: 1, id: "../../escaped", provider: "shortapi", baseURL: "https://api.shortapi.ai" },
    ...{ operation: "generate", submittedAt: new Date(0).toISOString(), tasks: [task] },
  };
  expect(() => client.resume(reference)).toThrow(/reference\.id/);
});

test("retention counts from the end of a job, not from its beginning", async () => {
  const journal = memoryJournal();
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const client = createImageClient({ provider: shortapi(sandbox.shortapi), journal, poll: 10 });
  await client.generate({ prompt });
  for await (const { record } of journal.list()) {
    // The journal gives back what the client wrote.
    const old = { ...(record as JournalRecord), submittedAt: new Date(0).toISOString() };
    await journal.update(old);
  }
  const found: string[] = [];
  for await (const job of client.recover()) found.push(job.id);
  expect(found).toHaveLength(1);
});

test("a sentence in place of a picture is no picture, and is asked for again", async () => {
  let downloads = 0;
  const client = createImageClient({
    provider: shortapi({ apiKey }),
    allowPrivateNetwork: true,
    poll: 0,
    fetch: async (input, init) => {
      if (init?.method === "POST") return Response.json({ code: 0, data: { job_id: "a" } });
      const images = [{ url: "https://cdn.test/1.png" }];
      if (String(input).includes("/query")) {
        return Response.json({ code: 0, data: { status: 2, result: { images } } });
      }
      downloads += 1;
      return new Response(downloads === 1 ? "Still being processed" : new Uint8Array(onePixelPng));
    },
  });
  const { image } = await client.generate({ prompt });
  expect((await image.info()).mediaType).toBe("image/png");
  expect(downloads).toBe(2);
});

test("saveTo writes each image as it arrives, and the memory lets go of it", async () => {
  const directory = await mkdtemp(join(tmpdir(), "save-"));
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const provider = shortapi(sandbox.shortapi);
  const client = createImageClient({ provider, poll: 10, concurrency: 1 });
  const seen: string[] = [];
  const onEvent = (event: { type: string; task: number }) => {
    if (event.type === "succeeded" || event.type === "saved")
      seen.push(`${event.type} ${event.task}`);
  };
  await client.generate({ prompt, n: 2 }, { saveTo: directory, onEvent });
  expect(seen).toEqual(["succeeded 0", "saved 0", "succeeded 1", "saved 1"]);
  expect(await readdir(directory)).toHaveLength(2);
  await rm(directory, { recursive: true });
});

test("a timed-out job of this client is handed out by its own recover()", async () => {
  const journal = memoryJournal();
  await using sandbox = await startSandbox({ jobDurationMs: 600, plainImages: true });
  const client = createImageClient({ provider: shortapi(sandbox.shortapi), journal, poll: 20 });
  const late = client.generate({ prompt }, { timeoutMs: 200 });
  await expect(late).rejects.toMatchObject({ code: "timeout", timeoutMs: 200 });
  for await (const job of client.recover()) expect((await job.result()).images).toHaveLength(1);
  expect(sandbox.charges).toHaveLength(1);
});

test("a function of the caller's that never ends does not hold close() for ever", async () => {
  const client = createImageClient({
    provider: shortapi({ apiKey: () => new Promise<string>(() => {}) }),
  });
  await expect(client.generate({ prompt }, { timeoutMs: 50 })).rejects.toMatchObject({
    code: "timeout",
  });
  await client.close({ timeoutMs: 20 });
});

test("what job.result is given is checked like every other option", async () => {
  const client = createImageClient({ provider: shortapi({ apiKey }) });
  const task = { index: 0, n: 1, id: "a", state: "queued" };
  const job = client.resume({
    ...{ v: 1, id: "a-b", provider: "shortapi", baseURL: "https://api.shortapi.ai" },
    ...{ operation: "generate", submittedAt: new Date(0).toISOString(), tasks: [task] },
  });
  // A caller without types may well give such a thing.
  const wrong = { timeoutMs: "5000" } as unknown as { timeoutMs: number };
  await expect(job.result(wrong)).rejects.toMatchObject({ field: "options.timeoutMs" });
});

test("a record that says succeeded and has no image ends in an error of ours, charged yes", async () => {
  const journal = memoryJournal();
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const client = createImageClient({ provider: shortapi(sandbox.shortapi), journal, poll: 10 });
  await client.generate({ prompt });
  for await (const { record } of journal.list()) {
    // The journal gives back what the client wrote.
    await journal.update({ ...(record as JournalRecord), images: [] });
  }
  for await (const job of client.recover()) {
    await expect(job.result()).rejects.toMatchObject({
      code: "malformed_response",
      charged: "yes",
    });
  }
});

test("entries of providerOptions that nobody knows are warned about under omit", async () => {
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const provider = shortapi(sandbox.shortapi);
  const client = createImageClient({ provider, poll: 10, onUnsupported: "omit" });
  const providerOptions = { shortapii: { model: "x" }, trinetra: { model: "y" } };
  const { warnings } = await client.generate({ prompt, providerOptions });
  expect(warnings).toEqual([
    "`providerOptions.shortapii` a plain object was left out: shortapi takes `shortapi`, if that was meant",
  ]);
});

test("a task whose record cannot be read is unknown, and one that has none was never sent", async () => {
  const journal = memoryJournal();
  await using sandbox = await startSandbox({ jobDurationMs: 0, plainImages: true });
  const provider = shortapi(sandbox.shortapi);
  const client = createImageClient({ provider, journal, poll: 10 });
  const { job } = await client.generate({ prompt, n: 3 });
  const [torn, missing] = [`${job.id}.1`, `${job.id}.2`];
  const damaged: Journal = {
    ...journal,
    read: async (id) => {
      if (id === missing) return undefined;
      return id === torn ? "{ torn" : journal.read(id);
    },
    async *list(filter) {
      for await (const entry of journal.list(filter)) {
        if (entry.id === missing) continue;
        yield entry.id === torn ? { ...entry, record: "{ torn" } : entry;
      }
    },
  };
  const other = createImageClient({ provider, journal: damaged, poll: 10 });
  for await (const found of other.recover({ onSkipped: () => {} })) {
    const { images, failures } = await found.result();
    expect(images).toHaveLength(1);
    expect(failures.map((failure) => failure.charged)).toEqual(["unknown", "no"]);
  }
});
