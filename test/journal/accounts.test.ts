import { createHmac } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import { createImageClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { InvalidRequestError } from "../../src/errors";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { JournalRecord } from "../../src/journal/record";
import { aigptimage, openaiCompatible, shortapi, trinetra } from "../../src/providers/index";
import { namesUnder } from "../../src/request/fingerprint";
import { pixel, sendJson, startServer } from "../support/server";
import { failureOf, only, recordsOf, recovered } from "./stage";

const keyOfA = "key-of-account-A-0123456789";
const keyOfB = "key-of-account-B-0123456789";
const order = { idempotencyKey: "order 1" };
const prompt = "a logo";

afterEach(() => vi.unstubAllEnvs());

interface Setup extends AsyncDisposable {
  readonly journal: Journal;
  /** The keys that came with creates, and with polls. */
  readonly creates: string[];
  readonly polls: string[];
  isRunning: boolean;
  client(
    apiKey: string | (() => string) | undefined,
    options?: Partial<ImageClientOptions>,
  ): ReturnType<typeof createImageClient>;
  images(
    apiKey: string,
    options?: Partial<ImageClientOptions>,
  ): ReturnType<typeof createImageClient>;
  readonly url: string;
}

/** ShortAPI, whose jobs have ids of their own, and an endpoint that answers with the image. */
async function setUp(journal: Journal = memoryJournal()): Promise<Setup> {
  const creates: string[] = [];
  const polls: string[] = [];
  const png = (seed: number) => Buffer.concat([pixel, Buffer.from(`picture ${seed}`)]);
  const server = await startServer(({ method, path, headers }, response) => {
    if (path.startsWith("/pictures/")) {
      return response.end(png(Number(path.split("/").at(-1))));
    }
    const given = headers.authorization ?? headers["x-api-key"];
    const key = String(given).replace(/^Bearer /, "");
    if (method === "POST") {
      creates.push(key);
      const base64 = png(creates.length).toString("base64");
      if (path.includes("/images")) return sendJson(response, { data: [{ b64_json: base64 }] });
      return sendJson(response, { code: 0, data: { job_id: `job-${creates.length}` } });
    }
    polls.push(key);
    if (setup.isRunning) return sendJson(response, { code: 0, data: { status: 1 } });
    const url = `${server.url}/pictures/${/job-(\d+)/.exec(path)?.[1]}`;
    return sendJson(response, { code: 0, data: { status: 2, result: { images: [{ url }] } } });
  });
  const setup: Setup = {
    ...{ journal, creates, polls, url: server.url, isRunning: false },
    client: (apiKey, options = {}) =>
      createImageClient({
        provider: shortapi({ baseURL: server.url, ...(apiKey !== undefined && { apiKey }) }),
        ...{ journal, poll: 5, ...options },
      }),
    images: (apiKey, options = {}) =>
      createImageClient({
        provider: openaiCompatible({ baseURL: `${server.url}/v1`, apiKey }),
        ...{ journal, ...options },
      }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  return setup;
}

/** Leaves the only record as a process would that died in the middle. */
async function change(journal: Journal, more: Partial<JournalRecord>): Promise<JournalRecord> {
  const record = await only(recordsOf(journal));
  const changed = { ...record, ...more };
  await journal.update(changed);
  return changed;
}

// ---- who is asked, and who is given ----

test("a function that yields the key and a journal need an account, and say so at construction", async () => {
  await using setup = await setUp();
  const make = (options: Partial<ImageClientOptions>) => setup.client(() => keyOfA, options);
  expect(() => make({})).toThrow(InvalidRequestError);
  expect(() => make({})).toThrow("`options.account` is invalid");
  expect(() => make({})).toThrow("since `apiKey` is a function");
  make({ account: "acme" });
  createImageClient({ provider: shortapi({ apiKey: () => keyOfA }) });
  expect(setup.creates).toEqual([]);
});

test.each(["", "x".repeat(201), 7])("the account %j is refused by its name", (account) => {
  const options = { provider: shortapi({ apiKey: keyOfA }), account };
  // As JavaScript may give it.
  const given = options as unknown as ImageClientOptions;
  expect(() => createImageClient(given)).toThrow("`options.account` is invalid");
});

test("a record holds 128 bits of a keyed hash in place of the key, and nothing else shows it", async () => {
  await using setup = await setUp();
  const client = setup.client(`  ${keyOfA}\n`);
  const { job } = await client.generate({ prompt });
  const { account = "" } = await only(recordsOf(setup.journal));
  const mac = createHmac("sha256", keyOfA).update(`gpt-image-client account\n${setup.url}`);
  expect(account).toBe(mac.digest("hex").slice(0, 32));
  expect(JSON.stringify([job, await recordsOf(setup.journal)])).not.toContain(keyOfA);
  expect(JSON.stringify(job)).not.toContain(account);
});

test("two machines with the same key agree, and so does one with the key in its environment", async () => {
  await using setup = await setUp();
  const first = await setup.client(keyOfA).generate({ prompt }, order);
  const second = await setup.client(keyOfA).generate({ prompt }, order);
  vi.stubEnv("SHORTAPI_KEY", keyOfA);
  const third = await setup.client(undefined).generate({ prompt }, order);
  expect(new Set([first, second, third].map(({ job }) => job.id)).size).toBe(1);
  expect(setup.creates).toEqual([keyOfA]);
  expect(await recovered(setup.client(undefined))).toHaveLength(1);
});

test("recover hands out, polls and counts nothing of another account, and says so once", async () => {
  await using setup = await setUp();
  const { journal } = setup;
  const a = setup.client(keyOfA);
  const ids = [(await a.submit({ prompt, n: 2 })).id, (await a.submit({ prompt })).id];
  const own = await setup.client(keyOfB).submit({ prompt });
  setup.polls.length = 0;
  const heard: [string, string][] = [];
  const jobs: string[] = [];
  const b = setup.client(keyOfB);
  for await (const job of b.recover({ onSkipped: (...each) => heard.push(each) })) {
    jobs.push(job.id);
    await job.result();
    await job.release();
  }
  expect(jobs).toEqual([own.id]);
  expect(new Set(setup.polls)).toEqual(new Set([keyOfB]));
  expect(heard).toEqual([
    [expect.any(String), expect.stringContaining("2 jobs of other accounts")],
  ]);
  expect(ids.map((id) => `${id}.0`)).toContain(heard[0]?.[0]);
  expect(await recordsOf(journal)).toHaveLength(3);
});

test("without onSkipped a warning of the process says what was left to another account", async () => {
  await using setup = await setUp();
  await setup.client(keyOfA).submit({ prompt });
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  expect(await recovered(setup.client(keyOfB))).toEqual([]);
  expect(warn.mock.calls).toEqual([[expect.stringContaining("1 job of other accounts")]]);
  warn.mockRestore();
});

test("a settled job of another account outlives the retention time of this one", async () => {
  await using setup = await setUp();
  await setup.client(keyOfA).generate({ prompt });
  const warn = vi.fn();
  await new Promise((resolve) => setTimeout(resolve, 5));
  for await (const _ of setup.client(keyOfB).recover({ retentionMs: 0, onSkipped: warn })) {
    expect.unreachable();
  }
  expect(warn).toHaveBeenCalledTimes(1);
  expect(await recordsOf(setup.journal)).toHaveLength(1);
});

test("a job from before there were accounts belongs to whoever asks", async () => {
  await using setup = await setUp();
  const { id } = await setup.client(keyOfA).submit({ prompt });
  await change(setup.journal, { account: undefined });
  for (const client of [setup.client(keyOfB), setup.client(keyOfB, { account: "acme" })]) {
    expect((await only(recovered(client))).id).toBe(id);
  }
});

test("a journal without accounts is read without a key, and one with them asks for it", async () => {
  await using setup = await setUp();
  vi.stubEnv("SHORTAPI_KEY", "");
  await setup.client(keyOfA).generate({ prompt });
  expect((await failureOf(recovered(setup.client(undefined)))).code).toBe("authentication");
  await change(setup.journal, { account: undefined });
  expect(await recovered(setup.client(undefined))).toHaveLength(1);
});

test("without a key nothing is written and nothing sent", async () => {
  await using setup = await setUp();
  vi.stubEnv("SHORTAPI_KEY", "");
  for (const call of [order, {}]) {
    const error = await failureOf(setup.client(undefined).generate({ prompt }, call));
    expect([error.code, error.charged]).toEqual(["authentication", "no"]);
  }
  expect([setup.creates, await recordsOf(setup.journal)]).toEqual([[], []]);
});

// ---- the caller's keys ----

test("equal keys of two named accounts are two jobs, at once and one after the other", async () => {
  await using setup = await setUp();
  const named = (account: string) => setup.client(() => keyOfA, { account });
  const [acme, other] = await Promise.all(
    ["acme", "other"].map((account) => named(account).generate({ prompt }, order)),
  );
  expect(acme?.job.id).not.toBe(other?.job.id);
  expect(setup.creates).toHaveLength(2);
  const again = await named("acme").generate({ prompt }, order);
  expect(again.job.id).toBe(acme?.job.id);
  expect(await again.image.base64()).toBe(await acme?.image.base64());
  // Another request under the same key is another account's own business.
  await named("third").generate({ prompt: "something else" }, order);
  expect(setup.creates).toHaveLength(3);
});

test("the key that goes to a provider which honours it tells named accounts apart, journal or none", () => {
  const provider = aigptimage({ apiKey: keyOfA });
  const keys = [undefined, "acme", "other"].map((account) =>
    namesUnder("order 1", provider, account).taskKey(0),
  );
  expect(new Set(keys).size).toBe(3);
});

test("names under a caller's key are those of the version before, to the letter", () => {
  const provider = { name: "shortapi", baseURL: "https://api.shortapi.ai" };
  const { jobId, taskKey } = namesUnder("message 17 / überall", provider);
  expect([jobId, taskKey(0), taskKey(3)]).toEqual([
    "f60c97a8dc7f1dc33b92d9df799bec3d",
    "4be47515a2d8ad5eb2014381da443102",
    "e22304e40afee50a1e1bc250632490b5",
  ]);
});

test.each(["shortapi", "openaiCompatible"] as const)(
  "at %s a settled job of another key's account is passed over, and each finds its own again",
  async (name) => {
    await using setup = await setUp();
    const open = (key: string) => (name === "shortapi" ? setup.client(key) : setup.images(key));
    const first = await open(keyOfA).generate({ prompt }, order);
    const second = await open(keyOfB).generate({ prompt }, order);
    expect(setup.creates).toEqual([keyOfA, keyOfB]);
    expect(second.job.id).not.toBe(first.job.id);
    expect(await second.image.base64()).not.toBe(await first.image.base64());
    for (const [key, result] of [
      [keyOfA, first],
      [keyOfB, second],
    ] as const) {
      const again = await open(key).generate({ prompt }, order);
      expect(again.job.id).toBe(result.job.id);
      expect(await again.image.base64()).toBe(await result.image.base64());
    }
    expect(setup.creates).toHaveLength(2);
    // Nor does it lose its place when the other one's is free.
    await first.job.release();
    expect((await open(keyOfB).generate({ prompt }, order)).job.id).toBe(second.job.id);
    expect(setup.creates).toHaveLength(2);
  },
);

test.each(["submitting", "submitted", "unknown"] as const)(
  "a job of another key's account that is %s stops the create, and names the account",
  async (state) => {
    await using setup = await setUp();
    setup.isRunning = true;
    await setup.client(keyOfA).submit({ prompt }, order);
    await change(setup.journal, { state });
    const before = await recordsOf(setup.journal);
    const error = await failureOf(setup.client(keyOfB).generate({ prompt }, order));
    expect(error).toMatchObject({ code: "invalid_request", charged: "no", retryable: false });
    expect(error).toMatchObject({ field: "options.account" });
    expect(error.message).not.toContain(keyOfA);
    expect([setup.creates, setup.polls.filter((key) => key === keyOfB)]).toEqual([[keyOfA], []]);
    expect(await recordsOf(setup.journal)).toEqual(before);
  },
);

test("a task that the first one's absence would hide stops the create, too", async () => {
  await using setup = await setUp();
  setup.isRunning = true;
  const { id } = await setup.client(keyOfA).submit({ prompt, n: 3 }, order);
  await setup.journal.delete(`${id}.0`);
  await setup.journal.delete(`${id}.1`);
  const error = await failureOf(setup.client(keyOfB).generate({ prompt, n: 3 }, order));
  expect(error).toMatchObject({ field: "options.account", charged: "no" });
  expect(setup.creates).toHaveLength(3);
});

test("of two keys at once one alone sends under the same caller's key", async () => {
  for (let round = 0; round < 5; round += 1) {
    await using setup = await setUp();
    setup.isRunning = true;
    const ends = await Promise.allSettled(
      [keyOfA, keyOfB].map((key) => setup.client(key).submit({ prompt, n: 2 }, order)),
    );
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(new Set(setup.creates).size).toBe(1);
    expect(setup.creates).toHaveLength(2);
  }
});

test("a message that is delivered again right after the upgrade does not pay again, whatever the account", async () => {
  for (const options of [{}, { account: "acme" }]) {
    await using setup = await setUp();
    setup.isRunning = true;
    const { id } = await setup.client(keyOfA).submit({ prompt }, order);
    const { account: _, attempt: __, ...old } = await only(recordsOf(setup.journal));
    await setup.journal.delete(old.id);
    await setup.journal.create(old);
    setup.isRunning = false;
    const { job } = await setup.client(keyOfA, options).generate({ prompt }, order);
    expect(job.id).toBe(id);
    expect(setup.creates).toHaveLength(1);
    expect(await only(recordsOf(setup.journal))).not.toHaveProperty("account");
  }
});

test("a job that the key began before its account had a name is not bought again under the name", async () => {
  await using setup = await setUp();
  setup.isRunning = true;
  await setup.client(keyOfA).submit({ prompt }, order);
  const error = await failureOf(
    setup.client(keyOfA, { account: "acme" }).generate({ prompt }, order),
  );
  expect(error).toMatchObject({ field: "options.account", charged: "no" });
  expect(setup.creates).toHaveLength(1);
  // Another key's is no business of a named account's.
  setup.isRunning = false;
  await setup.client(keyOfB, { account: "acme" }).generate({ prompt }, order);
  expect(setup.creates).toEqual([keyOfA, keyOfB]);
});

test("after a key was replaced, the account that stands in the records gives what the old one began", async () => {
  await using setup = await setUp();
  setup.isRunning = true;
  const { id } = await setup.client(keyOfA).submit({ prompt }, order);
  const { account = "" } = await only(recordsOf(setup.journal));
  setup.isRunning = false;
  const heir = setup.client(keyOfB, { account });
  expect((await only(recovered(heir))).id).toBe(id);
  const { job } = await setup.client(keyOfB, { account }).generate({ prompt }, order);
  expect(job.id).toBe(id);
  expect(setup.creates).toEqual([keyOfA]);
});

test("the account is that of the key at the time at which it is sent", async () => {
  await using setup = await setUp();
  vi.stubEnv("SHORTAPI_KEY", keyOfA);
  const client = setup.client(undefined, { concurrency: 1 });
  await client.generate({ prompt });
  vi.stubEnv("SHORTAPI_KEY", keyOfB);
  await client.generate({ prompt });
  const accounts = (await recordsOf(setup.journal)).map(({ account }) => account);
  expect(new Set(accounts).size).toBe(2);
  expect(setup.creates).toEqual([keyOfA, keyOfB]);
  expect(await recovered(setup.client(keyOfB))).toHaveLength(1);
});

test("a call under a key whose API key changed while it waited for its turn is not sent", async () => {
  await using setup = await setUp();
  setup.isRunning = true;
  vi.stubEnv("SHORTAPI_KEY", keyOfA);
  const client = setup.client(undefined, { concurrency: 1 });
  const first = client.generate({ prompt });
  await vi.waitFor(() => expect(setup.polls.length).toBeGreaterThan(0), 20_000);
  const waiting = failureOf(client.generate({ prompt }, order));
  await new Promise((resolve) => setTimeout(resolve, 50));
  vi.stubEnv("SHORTAPI_KEY", keyOfB);
  setup.isRunning = false;
  await first;
  expect(await waiting).toMatchObject({ field: "options.account", charged: "no", retryable: true });
  expect(setup.creates).toEqual([keyOfA]);
  await client.generate({ prompt }, order);
  expect(setup.creates).toEqual([keyOfA, keyOfB]);
});

// ---- webhooks ----

test("a webhook about another account's job asks for nothing", async () => {
  await using setup = await setUp();
  const { journal } = setup;
  setup.isRunning = true;
  const provider = (apiKey: string) => trinetra({ baseURL: setup.url, apiKey });
  const webhooks = { secret: "0123456789abcdef" };
  const record = await leaveTrinetra(setup, keyOfA);
  const b = createImageClient({ provider: provider(keyOfB), journal, webhooks });
  const body = JSON.stringify({ id: record.taskId });
  await b.webhooks.handle(new Request("http://x/", { method: "POST", body }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(setup.polls).toEqual([]);
  const a = createImageClient({ provider: provider(keyOfA), journal, webhooks });
  await a.webhooks.handle(new Request("http://x/", { method: "POST", body }));
  await vi.waitFor(() => expect(setup.polls).toEqual([keyOfA]), 20_000);
  await a.close();
});

/** A job at Trinetra that some process began, with the account of a key. */
async function leaveTrinetra({ journal, url, client }: Setup, apiKey: string) {
  await client(apiKey).submit({ prompt });
  const { id } = await only(recordsOf(journal));
  const record = await change(journal, { provider: "trinetra", baseURL: url, taskId: "job-7" });
  await journal.delete(id);
  await journal.create(record);
  await journal.update(record);
  return record;
}
