import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { createRequire } from "node:module";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import {
  createImageClient,
  directoryJournal,
  type ImageClientOptions,
  type ImageEvent,
  type ImageJob,
  InvalidRequestError,
  memoryJournal,
  openai,
  type ProviderImageClient,
  shortapi,
  trinetra,
  UnsupportedError,
  type WebhookOptions,
  type Webhooks,
} from "gpt-image-client";
import { type Adapter, defineOperation, defineProvider } from "gpt-image-client/provider";
import {
  type Sandbox,
  type SandboxFault,
  type SandboxFaultKind,
  type SandboxOptions,
  type SandboxWebhook,
  startSandbox,
} from "gpt-image-client/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { z } from "zod";

const jobDurationMs = 400;
/** Longer than any test takes: whatever settles before is settled by a webhook. */
const never = 60_000;
/** Far from what a query takes, and far from `never`. */
const soonMs = 5_000;
const secret = "a-secret-of-32-characters-or-so!";
const prompt = "A paper boat";

type Posting = "shortapi" | "trinetra";
const posting = ["shortapi", "trinetra"] as const;

let sandbox: Sandbox;
let receiver: Server;
let hookUrl: string;
let hooks: Webhooks | undefined;
let arrived: { url: string; headers: IncomingHttpHeaders }[];
let clients: ProviderImageClient[];
let directories: string[];

beforeEach(async () => {
  arrived = [];
  clients = [];
  directories = [];
  hooks = undefined;
  sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  receiver = createServer((request, response) => {
    arrived.push({ url: request.url ?? "", headers: request.headers });
    if (hooks === undefined) response.writeHead(503).end();
    else hooks.listener(request, response);
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  hookUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  sandbox.setWebhook("trinetra", hookUrl);
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await sandbox.close();
  receiver.closeAllConnections();
  receiver.close();
  await Promise.all(directories.map((path) => rm(path, { recursive: true, force: true })));
});

/** Puts another sandbox in place of the one that every test gets. */
async function restart(options: SandboxOptions): Promise<void> {
  await sandbox.close();
  sandbox = await startSandbox({ jobDurationMs, plainImages: true, ...options });
  sandbox.setWebhook("trinetra", hookUrl);
}

type Given = Omit<Partial<ImageClientOptions>, "webhooks"> & {
  readonly webhooks?: Partial<WebhookOptions>;
};

/** A client that nothing but a webhook can tell of an end, and that the receiver hands its calls. */
function makeClient(name: Posting, { webhooks, ...options }: Given = {}): ProviderImageClient {
  const client = createImageClient({
    provider: name === "shortapi" ? shortapi(sandbox.shortapi) : trinetra(sandbox.trinetra),
    poll: never,
    webhooks: { url: hookUrl, secret, ...webhooks },
    ...options,
  });
  clients.push(client);
  hooks = client.webhooks;
  return client;
}

async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "webhooks-"));
  directories.push(path);
  return path;
}

function inject(provider: Posting, kind: SandboxFaultKind, more: object = {}): void {
  sandbox.inject({ provider, phase: "webhook", ...kind, ...more } as SandboxFault);
}

/** How often the provider was asked after a job, or after all. */
function polls(taskId?: string): number {
  const asked = sandbox.requests.filter(({ phase }) => phase === "poll");
  return asked.filter(({ jobId }) => taskId === undefined || jobId === taskId).length;
}

function taskIdOf(job: ImageJob, index = 0): string {
  return job.reference.tasks[index]?.id ?? "";
}

async function until(check: () => unknown): Promise<void> {
  await vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 10_000, interval: 10 });
}

/** All that the sandbox has to post, posted and answered. */
async function webhooksAnswered(count: number): Promise<readonly SandboxWebhook[]> {
  await until(() => sandbox.webhooks.filter(({ status }) => status !== undefined).length >= count);
  return sandbox.webhooks;
}

/** The address that went with the newest create. */
function callbackUrl(): string {
  const create = sandbox.requests.findLast(({ phase }) => phase === "create");
  return callbackOf(create?.body);
}

function callbackOf(body: unknown): string {
  // The tests read what they know to be there; where it is missing, they fail.
  return (body as { callback_url?: string } | undefined)?.callback_url ?? "no address";
}

interface Knock {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  readonly tookMs: number;
}

/** What a stranger, or the provider, posts. */
async function knock(url: string, body: unknown = {}, init: RequestInit = {}): Promise<Knock> {
  const startedAt = Date.now();
  const response = await fetch(url, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
  const text = await response.text();
  const { status, headers } = response;
  return { status, text, headers, tookMs: Date.now() - startedAt };
}

/** Answered at once, and with nothing in it. */
function expectNothingSaid({ status, text, headers, tookMs }: Knock): void {
  expect(status).toBe(204);
  expect(text).toBe("");
  expect(
    [...headers.keys()].filter((name) => !/^(date|connection|keep-alive)$/.test(name)),
  ).toEqual([]);
  expect(tookMs).toBeLessThan(10_000);
}

function eventsOf(events: readonly ImageEvent[], type: ImageEvent["type"]): number {
  return events.filter((event) => event.type === type).length;
}

// ---- how a call ends a wait ----

test.each(posting)("%s: a webhook on time ends the wait", async (name) => {
  const result = await makeClient(name).generate({ prompt });

  expect(result.timing.durationMs).toBeLessThan(soonMs);
  expect(result.timing.polls).toBe(1);
  expect(sandbox.webhooks.map(({ status }) => status)).toEqual([204]);
});

test.each(posting)("%s: the result is the one that polling gives", async (name) => {
  const hooked = await makeClient(name).generate({ prompt });
  const polled = await makeClient(name, { poll: 50, webhooks: { backstopMs: 50 } }).generate({
    prompt,
  });

  const facts = ({ provider, model, cost, usage, warnings, failures, images }: typeof hooked) => ({
    ...{ provider, model, cost, usage, warnings, failures, images: images.length },
  });
  expect(facts(hooked)).toEqual(facts(polled));
  expect(await hooked.image.bytes()).toEqual(await polled.image.bytes());
});

test("all who wait for a job are given one result by one query", async () => {
  const job = await makeClient("shortapi").submit({ prompt });
  const [first, second] = await Promise.all([job.result(), job.result()]);

  expect(second.image).toBe(first.image);
  expect(polls()).toBe(1);
});

test("a failed job is told as well", async () => {
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "failure" });

  await expect(makeClient("trinetra").generate({ prompt })).rejects.toMatchObject({
    code: "generation_failed",
    charged: "no",
  });
  expect(polls()).toBe(1);
});

test("each task of a split request is told by a call of its own", async () => {
  const result = await makeClient("shortapi").generate({ prompt, n: 3 });

  expect(result.images).toHaveLength(3);
  expect(result.timing.durationMs).toBeLessThan(soonMs);
  expect(polls()).toBe(3);
  expect(new Set(sandbox.webhooks.map(({ url }) => url)).size).toBe(3);
});

test("a wait for a resumed job is ended too", async () => {
  const client = makeClient("trinetra");
  const job = await client.submit({ prompt });
  const { timing } = await client.resume(job.reference).result();

  expect(timing.durationMs).toBeLessThan(soonMs);
});

test("shortapi: a webhook that overtakes the answer to the create ends the wait all the same", async () => {
  sandbox.inject({ provider: "shortapi", phase: "create", fault: "slow", delayMs: 800 });
  const result = await makeClient("shortapi").generate({ prompt });

  expect(sandbox.webhooks).toHaveLength(1);
  expect(result.timing.durationMs).toBeLessThan(soonMs);
});

test.each(posting)(
  "%s: a wait that is given up before its query is answered harms nobody",
  async (name) => {
    const job = await makeClient(name).submit({ prompt });
    await expect(job.result({ signal: AbortSignal.abort(new Error("mine")) })).rejects.toThrow(
      "mine",
    );

    expect(polls()).toBe(0);
  },
);

test("trinetra: a webhook that overtakes the answer to the create ends the wait all the same", async () => {
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "slow", delayMs: 800 });
  const result = await makeClient("trinetra").generate({ prompt });

  expect(result.timing.durationMs).toBeLessThan(soonMs);
  expect(polls()).toBe(1);
});

test("who begins to wait while a webhook's query is on its way is told by that query", async () => {
  sandbox.inject({ provider: "trinetra", phase: "poll", fault: "slow", delayMs: 500 });
  const job = await makeClient("trinetra").submit({ prompt });
  await until(() => polls() === 1);
  const { timing } = await job.result();

  expect(timing.durationMs).toBeLessThan(soonMs);
  expect(polls()).toBe(1);
});

// ---- late, lost, doubled, in disorder, forged ----

test.each(posting)("%s: a late webhook ends the wait when it comes", async (name) => {
  inject(name, { fault: "late", delayMs: 600 });
  const { timing } = await makeClient(name).generate({ prompt });

  expect(timing.durationMs).toBeGreaterThanOrEqual(jobDurationMs + 600);
  expect(timing.durationMs).toBeLessThan(soonMs);
});

test.each(posting)("%s: where the webhook is lost, the backstop ends the wait", async (name) => {
  inject(name, { fault: "lost" });
  const client = makeClient(name, { poll: 20, webhooks: { backstopMs: 1_000 } });
  const { timing } = await client.generate({ prompt });

  expect(sandbox.webhooks).toEqual([]);
  expect(timing.polls).toBe(1);
  expect(timing.durationMs).toBeGreaterThanOrEqual(1_000);
});

test("where no webhook is expected, nothing is slowed down", async () => {
  const client = createImageClient({
    provider: shortapi(sandbox.shortapi),
    poll: 50,
    webhooks: { secret },
  });
  clients.push(client);
  const { timing } = await client.generate({ prompt });

  expect(sandbox.webhooks).toEqual([]);
  expect(timing.polls).toBeGreaterThan(2);
});

test.each(posting)("%s: a webhook that comes twice settles once, by one query", async (name) => {
  inject(name, { fault: "twice" });
  const events: ImageEvent[] = [];
  await makeClient(name, { onEvent: (event) => events.push(event) }).generate({ prompt });
  await webhooksAnswered(2);

  expect(eventsOf(events, "succeeded")).toBe(1);
  expect(polls()).toBe(1);
});

test.each(posting)("%s: webhooks out of order end each its own wait", async (name) => {
  inject(name, { fault: "out-of-order" });
  const client = makeClient(name);
  const first = client.generate({ prompt });
  await until(() => sandbox.jobs.length === 1);
  await sleep(100);
  const results = await Promise.all([first, client.generate({ prompt })]);

  const [a, b] = results.map(({ job }) => taskIdOf(job));
  expect(sandbox.webhooks.map(({ jobId }) => jobId)).toEqual([b, a]);
  for (const { timing } of results) expect(timing.polls).toBe(1);
});

test.each([
  ["shortapi", "unknown-job"],
  ["shortapi", "another-job"],
  ["shortapi", "wrong-token"],
  ["trinetra", "unknown-job"],
] as const)("%s: one forged as %s costs nothing and hinders nothing", async (name, as) => {
  inject(name, { fault: "forged", as });
  const client = makeClient(name);
  const first = client.generate({ prompt });
  await until(() => sandbox.jobs.length === 1);
  await sleep(100);
  const results = await Promise.all([first, client.generate({ prompt })]);

  expect(sandbox.webhooks.filter(({ forged }) => forged)).toHaveLength(1);
  for (const { timing } of results) {
    expect(timing.polls).toBe(1);
    expect(timing.durationMs).toBeLessThan(soonMs);
  }
});

test("trinetra: one forged in another job's name costs that one query, and the true call counts", async () => {
  inject("trinetra", { fault: "forged", as: "another-job" });
  const client = makeClient("trinetra");
  const first = client.generate({ prompt });
  await until(() => sandbox.jobs.length === 1);
  await sleep(150);
  const second = await client.generate({ prompt });

  expect((await first).timing.polls).toBe(1);
  expect(second.timing.polls).toBe(2);
  expect(second.timing.durationMs).toBeLessThan(soonMs);
});

// ---- what strangers post ----

test("whatever is posted is answered with an empty 204, and changes nothing", async () => {
  await restart({ jobDurationMs: 3_000 });
  const client = makeClient("shortapi");
  const other = await client.submit({ prompt });
  const otherUrl = callbackUrl();
  const job = await client.submit({ prompt });
  const url = callbackUrl();
  const token = new URL(url).searchParams.get("token") ?? "";
  const withToken = (value: string) => url.replace(token, value);

  const urls = [
    hookUrl,
    withToken(""),
    withToken("A".repeat(token.length)),
    withToken(`${token}A`),
    withToken(new URL(otherUrl).searchParams.get("token") ?? ""),
    url.replace(".0&", ".1&"),
    url.replace(".0&", "&"),
    url.replace(job.id, "../../etc/passwd"),
    url.replace(job.id, "__proto__"),
    `${url}&token=${token}&job=x`.replace("?job", "?x"),
  ];
  for (const each of urls) expectNothingSaid(await knock(each));
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]) {
    expectNothingSaid(await knock(url, undefined, { method, body: null }));
  }

  expect(polls()).toBe(0);
  const states = [job, other].flatMap(({ reference }) => reference.tasks.map(({ state }) => state));
  expect(states).toEqual(["queued", "queued"]);
});

test("a body is no matter where the address says it all: none, no JSON, too large", async () => {
  const client = makeClient("shortapi");
  for (const body of ["", "{", "x".repeat(3 * 1024 * 1024)]) {
    const job = await client.submit({ prompt });
    const url = callbackUrl();
    await until(() => sandbox.jobs.at(-1)?.state === "succeeded");
    const before = polls();
    expectNothingSaid(await knock(url, body));
    await job.result();
    expect(polls()).toBeLessThanOrEqual(before + 1);
  }
});

test("where the body says it, one that cannot be read or names nobody's job changes nothing", async () => {
  await restart({ jobDurationMs: 3_000 });
  const job = await makeClient("trinetra").submit({ prompt });
  const id = taskIdOf(job);

  const bodies: unknown[] = ["", "{", "null", "[]", '"text"', `{"id": "${id}"`, { id: 7 }];
  bodies.push({ id: "job_gptimage2_0000000000000000" }, { id: `${id} ` }, { job: id });
  bodies.push({ id, padding: "x".repeat(1024 * 1024) });
  for (const body of bodies) expectNothingSaid(await knock(hookUrl, body));
  expectNothingSaid(await knock(hookUrl, undefined, { method: "GET", body: null }));

  expect(polls()).toBe(0);
});

test("an oversized body without a length is not read to its end", async () => {
  await restart({ jobDurationMs: 3_000 });
  const job = await makeClient("trinetra").submit({ prompt });
  async function* body() {
    yield Buffer.from(`{"id":"${taskIdOf(job)}","padding":"`);
    for (let chunk = 0; chunk < 64; chunk += 1) yield Buffer.alloc(64 * 1024, "x");
    yield Buffer.from('"}');
  }
  const init = { body: Readable.toWeb(Readable.from(body())), duplex: "half" };

  // Node's two declarations of a web stream differ in name alone.
  expectNothingSaid(await knock(hookUrl, undefined, init as RequestInit));
  expect(polls()).toBe(0);
});

test("a body that breaks off harms nobody", async () => {
  const client = makeClient("trinetra");
  const generating = client.generate({ prompt });
  const socket = connect(Number(new URL(hookUrl).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write('POST /hook HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"id":');
  await until(() => arrived.length === 1);
  socket.resetAndDestroy();

  expect((await generating).timing.polls).toBe(1);
});

test.each([
  ["a path that is no URL", "POST // HTTP/1.1"],
  ["a method that fetch forbids", "TRACE /hook HTTP/1.1"],
  ["a method that has a body in fetch alone", "GET /hook HTTP/1.1"],
])("%s does not bring the server down", async (_name, line) => {
  makeClient("shortapi");
  const socket = connect(Number(new URL(hookUrl).port), "127.0.0.1");
  socket.write(`${line}\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`);
  let answer = "";
  for await (const chunk of socket) answer += chunk;

  expect(answer).toMatch(/^HTTP\/1\.1 204 /);
});

test.each(posting)("%s: a replay after the end asks nobody", async (name) => {
  await makeClient(name).generate({ prompt });
  const [call] = await webhooksAnswered(1);
  const before = sandbox.requests.length;
  for (let time = 0; time < 5; time += 1) {
    expectNothingSaid(await knock(call?.url ?? "", call?.body));
  }
  await sleep(200);

  expect(sandbox.requests).toHaveLength(before);
});

test.each(posting)(
  "%s: a true call that is repeated too early costs one query, and the end is seen soon",
  async (name) => {
    await restart({ jobDurationMs: 600 });
    inject(name, { fault: "lost" });
    const client = makeClient(name);
    const job = await client.submit({ prompt });
    const result = job.result();
    const url = name === "shortapi" ? callbackUrl() : hookUrl;
    const startedAt = Date.now();
    for (let time = 0; time < 50; time += 1) await knock(url, { id: taskIdOf(job) });
    expect(polls()).toBeLessThanOrEqual(1 + Math.floor((Date.now() - startedAt) / 1_000));
    await until(() => sandbox.jobs[0]?.state === "succeeded");
    await knock(url, { id: taskIdOf(job) });

    expect((await result).timing.durationMs).toBeLessThan(soonMs);
    expect(polls()).toBeLessThanOrEqual(3);
  },
);

test("the more calls tell nothing, the less is asked", async () => {
  await restart({ jobDurationMs: 60_000 });
  const job = await makeClient("trinetra").submit({ prompt });
  const end = Date.now() + 3_500;
  while (Date.now() < end) {
    await knock(hookUrl, { id: taskIdOf(job) });
    await sleep(10);
  }

  // At once, after 1 s, and after 2 s more; and so on.
  expect(polls()).toBeGreaterThan(1);
  expect(polls()).toBeLessThanOrEqual(3);
});

test("a flood of 200 forged calls does not slow a true one", async () => {
  const client = makeClient("trinetra", { journal: memoryJournal() });
  const generating = client.generate({ prompt });
  const flood = Promise.all(
    Array.from({ length: 200 }, (_, index) => knock(hookUrl, { id: `job_${index}` })),
  );
  const { timing } = await generating;
  for (const answer of await flood) expect(answer.status).toBe(204);

  expect(timing.polls).toBe(1);
  expect(timing.durationMs).toBeLessThan(soonMs);
});

test("a flood of unknown jobs lists the journal once in ten seconds", async () => {
  const journal = memoryJournal();
  const list = vi.spyOn(journal, "list");
  makeClient("trinetra", { journal });
  for (let call = 0; call < 200; call += 1) await knock(hookUrl, { id: `job_${call}` });
  await sleep(1_200);

  expect(list).toHaveBeenCalledTimes(1);
});

// ---- what goes out ----

test("no key and no secret is in what goes to the provider to be posted back", async () => {
  await makeClient("shortapi").generate({ prompt });
  await makeClient("trinetra").generate({ prompt });
  await webhooksAnswered(2);

  const all = JSON.stringify([arrived, sandbox.webhooks]);
  for (const hidden of [sandbox.shortapi.apiKey, sandbox.trinetra.apiKey, secret, prompt]) {
    expect(all).not.toContain(hidden);
  }
});

test("a token differs from task to task and from secret to secret", async () => {
  const tokens: (string | null)[] = [];
  for (const webhooks of [{}, {}, { secret: "another secret of enough length" }]) {
    await makeClient("shortapi", { webhooks }).submit({ prompt, n: 2 });
    const creates = sandbox.requests.filter(({ phase }) => phase === "create").slice(-2);
    for (const { body } of creates) {
      tokens.push(new URL(callbackOf(body)).searchParams.get("token"));
    }
  }

  expect(tokens).not.toContain(null);
  expect(new Set(tokens).size).toBe(6);
});

test("a token of another secret opens nothing", async () => {
  await restart({ jobDurationMs: 3_000 });
  await makeClient("shortapi", { webhooks: { secret: "another secret of enough length" } }).submit({
    prompt,
  });
  const url = callbackUrl();
  makeClient("shortapi");
  expectNothingSaid(await knock(url));

  expect(polls()).toBe(0);
});

test("the address may have a query of its own, and a request may bring its own address", async () => {
  const client = makeClient("shortapi", { webhooks: { url: `${hookUrl}?tenant=a%20b` } });
  await client.generate({ prompt });
  expect(new URL(callbackUrl()).searchParams.get("tenant")).toBe("a b");

  const result = await client.generate({ prompt, webhookUrl: `${hookUrl}/mine?x=1` });
  expect(new URL(callbackUrl()).pathname).toBe("/hook/mine");
  expect(result.timing.polls).toBe(1);
});

test("webhookUrl is passed on untouched where the client has no webhooks option", async () => {
  const client = createImageClient({ provider: shortapi(sandbox.shortapi), poll: 50 });
  clients.push(client);
  await client.generate({ prompt, webhookUrl: "https://example.com/a?b=c" });

  expect(callbackUrl()).toBe("https://example.com/a?b=c");
});

test("the url of the webhooks option goes to none but providers that take one", async () => {
  const { image, warnings } = await makeClient("trinetra").generate({ prompt });
  const create = sandbox.requests.find(({ phase }) => phase === "create");

  expect(image.url).toBeDefined();
  expect(warnings).toEqual([]);
  expect(JSON.stringify(create?.body)).not.toContain(hookUrl);
});

test("webhookUrl is unsupported where the address is set on the key", async () => {
  const [problem] = makeClient("trinetra").check({ prompt, webhookUrl: hookUrl });

  expect(problem).toMatchObject({ code: "unsupported", field: "webhookUrl" });
});

// ---- the handler ----

test("handle takes a Request and gives a Response, also when it is passed around alone", async () => {
  const client = makeClient("trinetra");
  const { handle } = client.webhooks;
  hooks = undefined;
  const job = await client.submit({ prompt });
  const waiting = job.result();
  await webhooksAnswered(1);
  const response = await handle(
    new Request("https://app.example/hook", {
      method: "POST",
      body: JSON.stringify({ id: taskIdOf(job) }),
    }),
  );

  expect(response).toBeInstanceOf(Response);
  expect([response.status, await response.text()]).toEqual([204, ""]);
  expect((await waiting).timing.polls).toBe(1);
});

test("the answer does not wait for the provider's", async () => {
  sandbox.inject({ provider: "trinetra", phase: "poll", fault: "slow", delayMs: 2_500 });
  await makeClient("trinetra").generate({ prompt });
  const [call] = await webhooksAnswered(1);

  expect(call?.answeredAfterMs).toBeLessThan(1_500);
});

test("after close a call is answered, and asks nobody", async () => {
  const client = makeClient("trinetra");
  const job = await client.submit({ prompt });
  await client.close();
  expectNothingSaid(await knock(hookUrl, { id: taskIdOf(job) }));
  await webhooksAnswered(1);

  expect(polls()).toBe(0);
});

test("without the option there is nothing to receive with, and the error says so", () => {
  const client = createImageClient({ provider: shortapi(sandbox.shortapi) });

  expect(() => client.webhooks).toThrow(InvalidRequestError);
  expect(() => client.webhooks).toThrow(/options\.webhooks/);
});

test("a provider that posts nothing has no webhooks, and the error says so", () => {
  const client = createImageClient({
    provider: openai({ apiKey: "k" }),
    webhooks: { secret },
  });

  expect(() => client.webhooks).toThrow(UnsupportedError);
});

test.each([
  [{ secret: "short" }, "secret"],
  [{}, "secret"],
  [{ secret, url: "ftp://example.com" }, "url"],
  [{ secret, backstopMs: 0 }, "backstopMs"],
  [{ secret, onSettled: 1 }, "onSettled"],
])("wrong options are named: %j", (webhooks, field) => {
  const options = { provider: shortapi(), webhooks } as ImageClientOptions;

  expect(() => createImageClient(options)).toThrow(new RegExp(`webhooks\\.${field}`));
});

// ---- jobs that nobody waits for ----

test.each(posting)("%s: a job that nobody waits for is settled, and told of once", async (name) => {
  inject(name, { fault: "twice" });
  const onSettled = vi.fn();
  const job = await makeClient(name, { webhooks: { onSettled } }).submit({ prompt });
  const [call] = await webhooksAnswered(2);
  await until(() => onSettled.mock.calls.length > 0);
  await knock(call?.url ?? "", call?.body);
  await sleep(200);

  expect(onSettled.mock.calls).toEqual([[job]]);
  expect(polls()).toBe(1);
  expect(await job.status()).toMatchObject({ settled: true, state: "succeeded" });
  expect((await job.result()).images).toHaveLength(1);
  expect(polls()).toBe(1);
});

test("a split job that nobody waits for is told of once, when all of it has ended", async () => {
  const settled: number[] = [];
  const onSettled = () => settled.push(sandbox.webhooks.length);
  const client = makeClient("shortapi", { webhooks: { onSettled } });
  const job = await client.submit({ prompt, n: 4 });
  await webhooksAnswered(4);
  await until(() => settled.length > 0);
  await sleep(200);

  expect(settled).toEqual([4]);
  expect((await job.result()).images).toHaveLength(4);
});

test("a failed job that nobody waits for is told of too", async () => {
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "failure" });
  const onSettled = vi.fn();
  await makeClient("trinetra", { webhooks: { onSettled } }).submit({ prompt });
  await until(() => onSettled.mock.calls.length === 1);

  const [job] = onSettled.mock.calls[0] as [ImageJob];
  expect((await job.status()).state).toBe("failed");
});

test("onSettled is not told of jobs that somebody waits for", async () => {
  const onSettled = vi.fn();
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await client.generate({ prompt });
  const job = await client.submit({ prompt });
  await job.result();
  sandbox.inject({ provider: "trinetra", phase: "create", fault: "slow", delayMs: 700 });
  await client.generate({ prompt });
  await sleep(200);

  expect(onSettled).not.toHaveBeenCalled();
});

test("a job whose waiting was given up is told of", async () => {
  const onSettled = vi.fn();
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await expect(client.generate({ prompt }, { timeoutMs: 150 })).rejects.toMatchObject({
    code: "timeout",
  });

  await until(() => onSettled.mock.calls.length === 1);
});

test.each([
  ["rejects", () => Promise.reject(new Error("later"))],
  [
    "throws",
    () => {
      throw new Error("at once");
    },
  ],
])("an onSettled that %s is nobody's trouble", async (_name, fail) => {
  const onSettled = vi.fn(fail);
  const client = makeClient("trinetra", { webhooks: { onSettled } });
  await client.submit({ prompt });
  await until(() => onSettled.mock.calls.length === 1);

  expect((await client.generate({ prompt })).images).toHaveLength(1);
});

// ---- with a journal ----

test.each(posting)(
  "%s: another client on the journal settles a job that it never saw",
  async (name) => {
    const path = await temporaryDirectory();
    const first = makeClient(name, { journal: directoryJournal(path) });
    const { id } = await first.submit({ prompt });
    await first.close();
    const settled: ImageJob[] = [];
    makeClient(name, {
      journal: directoryJournal(path),
      webhooks: { onSettled: (job) => settled.push(job) },
    });
    await until(() => settled.length > 0);
    await sleep(200);

    expect(settled.map((job) => job.id)).toEqual([id]);
    expect(await recordsIn(path)).toMatchObject([{ jobId: id, state: "succeeded" }]);
    expect(polls()).toBe(1);
    expect((await readdir(path)).filter((file) => file.endsWith(".png"))).toHaveLength(1);
  },
);

test("a process that ended after submit has its job settled by another", async () => {
  const path = await temporaryDirectory();
  const { baseURL, apiKey } = sandbox.shortapi;
  await writeFile(
    join(path, "submit.mts"),
    `import { createImageClient, directoryJournal, shortapi } from ${JSON.stringify(sourceUrl)};
    const client = createImageClient({
      provider: shortapi(${JSON.stringify({ baseURL, apiKey })}),
      journal: directoryJournal(${JSON.stringify(join(path, "journal"))}),
      webhooks: ${JSON.stringify({ url: hookUrl, secret })},
    });
    const job = await client.submit({ prompt: "A paper boat" });
    console.log(job.id);
    process.kill(process.pid, "SIGKILL");`,
  );
  inject("shortapi", { fault: "late", delayMs: 300 });
  const settled: ImageJob[] = [];
  makeClient("shortapi", {
    journal: directoryJournal(join(path, "journal")),
    webhooks: { onSettled: (job) => settled.push(job) },
  });
  const args = ["--import", tsxUrl, join(path, "submit.mts")];
  const child = await execFileAsync(process.execPath, args).catch((error) => error);
  await until(() => settled.length === 1);

  expect(child.signal).toBe("SIGKILL");
  expect(settled[0]?.id).toBe(child.stdout.trim());
  const image = await settled[0]?.result();
  expect((await image?.image.info())?.mediaType).toBe("image/png");
});

test("a journal's job that a false call has woken is handed out by recover", async () => {
  await restart({ jobDurationMs: 1_500 });
  const path = await temporaryDirectory();
  const first = makeClient("trinetra", { journal: directoryJournal(path) });
  const job = await first.submit({ prompt });
  await first.close();
  sandbox.setWebhook("trinetra", undefined);
  const second = makeClient("trinetra", {
    journal: directoryJournal(path),
    poll: 100,
    webhooks: { backstopMs: 100 },
  });
  await knock(hookUrl, { id: taskIdOf(job) });
  await until(() => polls() === 1);
  const recovered: ImageJob[] = [];
  for await (const each of second.recover()) recovered.push(each);

  expect(recovered.map(({ id }) => id)).toEqual([job.id]);
  expect((await recovered[0]?.result())?.images).toHaveLength(1);
});

test("two calls at once for a job of the journal settle it once, by one query", async () => {
  const path = await temporaryDirectory();
  const first = makeClient("trinetra", { journal: directoryJournal(path) });
  const job = await first.submit({ prompt });
  await first.close();
  sandbox.setWebhook("trinetra", undefined);
  await until(() => sandbox.jobs[0]?.state === "succeeded");
  const onSettled = vi.fn();
  makeClient("trinetra", { journal: directoryJournal(path), webhooks: { onSettled } });
  await Promise.all(Array.from({ length: 20 }, () => knock(hookUrl, { id: taskIdOf(job) })));
  await until(() => onSettled.mock.calls.length > 0);
  await Promise.all(Array.from({ length: 20 }, () => knock(hookUrl, { id: taskIdOf(job) })));
  await sleep(1_300);

  expect(onSettled).toHaveBeenCalledTimes(1);
  expect(polls()).toBe(1);
});

test("the journal of a hooked job holds neither key nor secret", async () => {
  const path = await temporaryDirectory();
  await makeClient("shortapi", { journal: directoryJournal(path) }).generate({ prompt });

  const all = JSON.stringify(await recordsIn(path));
  expect(all).not.toContain(sandbox.shortapi.apiKey);
  expect(all).not.toContain(secret);
});

const sourceUrl = pathToFileURL(fileURLToPath(new URL("../../src/index.ts", import.meta.url))).href;
const tsxUrl = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const execFileAsync = promisify(execFile);

async function recordsIn(path: string): Promise<unknown[]> {
  const files = (await readdir(path)).filter((file) => file.endsWith(".json"));
  return Promise.all(
    files.map(async (file) => JSON.parse(await readFile(join(path, file), "utf8"))),
  );
}

// ---- a provider that signs ----

/** As kie.ai signs: over the task's id and the moment of sending. */
const signing: Adapter = {
  name: "signing",
  authorize: () => ({}),
  answersWith: "job",
  idempotent: false,
  operations: {
    generate: defineOperation({
      parameters: z.strictObject({ prompt: z.string() }),
      options: z.strictObject({}),
      maxImagesPerTask: 1,
      create: () => ({ method: "POST", path: "/create" }),
    }),
  },
  webhook: {
    address: "account",
    read: (body) => signedBody.safeParse(body).data?.data.task_id,
    signature({ body, headers }) {
      const id = signedBody.safeParse(body).data?.data.task_id;
      const timestamp = headers["x-webhook-timestamp"];
      const signature = headers["x-webhook-signature"];
      return id === undefined || timestamp === undefined || signature === undefined
        ? undefined
        : { content: `${id}.${timestamp}`, signature };
    },
  },
  query: (id) => ({ method: "GET", path: `/query/${id}` }),
  read: (phase) =>
    phase === "create"
      ? { state: "queued", id: "task-1", word: "queued", known: true }
      : { state: "succeeded", outputs: [{ url: "https://example.com/1.png" }] },
};

const signedBody = z.object({ data: z.object({ task_id: z.string() }) });

function signed(taskId: string, timestamp: string, key = secret): Record<string, string> {
  const signature = createHmac("sha256", key).update(`${taskId}.${timestamp}`).digest("base64");
  return { "x-webhook-timestamp": timestamp, "x-webhook-signature": signature };
}

test.each([
  ["a good one is heard", signed("task-1", "1700000000"), 1],
  ["one under another secret is not", signed("task-1", "1700000000", "other"), 0],
  ["one for another task is not", signed("task-2", "1700000000"), 0],
  [
    "one for another moment is not",
    { ...signed("task-1", "1700000000"), "x-webhook-timestamp": "1700000001" },
    0,
  ],
  ["a cut one is not", { "x-webhook-timestamp": "1700000000", "x-webhook-signature": "" }, 0],
  ["a missing one is not", {}, 0],
])("signatures: %s", async (_name, headers, queries) => {
  let asked = 0;
  const client = createImageClient({
    provider: defineProvider("https://api.example.com", signing)({ apiKey: "k" }),
    webhooks: { secret },
    poll: never,
    fetch: async (input) => {
      if (String(input instanceof Request ? input.url : input).includes("/query/")) asked += 1;
      return Response.json({});
    },
  });
  clients.push(client);
  hooks = client.webhooks;
  await client.submit({ prompt });
  const body = { code: 200, data: { task_id: "task-1", callbackType: "task_completed" } };
  expectNothingSaid(await knock(hookUrl, body, { headers: headers as Record<string, string> }));
  await sleep(100);

  expect(asked).toBe(queries);
});

// ---- a thousand jobs ----

function groupBy<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string | undefined,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const name = nameOf(item) ?? "";
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return groups;
}

/** A small generator with a seed (mulberry32): the same run every time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

test("a thousand jobs, their webhooks late, lost, doubled and forged: each settles once, by one extra query at most", async () => {
  const backstopMs = 2_000;
  const jobsEach = 500;
  await restart({ jobDurationMs: 600 });
  const random = seeded(20_261_120);
  for (const provider of posting) {
    const forgeries =
      provider === "shortapi"
        ? (["unknown-job", "another-job", "wrong-token"] as const)
        : (["unknown-job", "another-job"] as const);
    for (let after = 0; after < jobsEach; after += 1) {
      const chance = random();
      const as = forgeries[Math.floor(random() * forgeries.length)] ?? "unknown-job";
      const delayMs = 300 + 2_500 * random();
      if (chance < 0.15) inject(provider, { fault: "late", delayMs }, { after });
      else if (chance < 0.3) inject(provider, { fault: "lost" }, { after });
      else if (chance < 0.45) inject(provider, { fault: "twice" }, { after });
      else if (chance < 0.7) inject(provider, { fault: "forged", as }, { after });
    }
  }

  const ends = new Map<string, number>();
  const onEvent = ({ type, jobId }: ImageEvent) => {
    if (type === "succeeded" || type === "failed") ends.set(jobId, (ends.get(jobId) ?? 0) + 1);
  };
  const onSettled = vi.fn();
  const webhooks = { backstopMs, onSettled };
  const receivers = new Map(
    posting.map((name) => [
      name,
      makeClient(name, { poll: 100, concurrency: 100, webhooks, onEvent }),
    ]),
  );
  // One address for both: what is another client's is unknown to a client.
  hooks = {
    handle: () => Promise.reject(new Error("not called")),
    listener(request, response) {
      const name = request.url?.includes("token=") ? "shortapi" : "trinetra";
      receivers.get(name)?.webhooks.listener(request, response);
    },
  };
  const startedAt = Date.now();
  const results = await Promise.all(
    [...receivers.values()].flatMap((client) =>
      Array.from({ length: jobsEach }, () => client.generate({ prompt })),
    ),
  );
  const tookMs = Date.now() - startedAt;
  // The late ones and the doubles, which come after the end.
  await sleep(2_500);
  await until(() => sandbox.webhooks.every(({ status }) => status !== undefined));

  const calls = groupBy(sandbox.webhooks, ({ jobId }) => jobId);
  const asked = groupBy(
    sandbox.requests.filter(({ phase }) => phase === "poll"),
    ({ jobId }) => jobId,
  );
  const rows = results.map(({ job, provider, timing }) => {
    const id = taskIdOf(job);
    const told = calls.get(id) ?? [];
    const fault = told[0]?.fault ?? (told.length === 0 ? "lost" : "on time");
    const queries = asked.get(id)?.length ?? 0;
    const backstops = Math.floor(timing.durationMs / backstopMs);
    return {
      ...{ provider, fault, queries, durationMs: timing.durationMs },
      // The query that sees the end is needed, whoever brings it about.
      extra: queries - Math.max(1, backstops),
      settled: ends.get(job.id),
    };
  });
  const figures: Record<string, object> = {};
  for (const [kind, each] of groupBy(rows, ({ provider, fault }) => `${provider} ${fault}`)) {
    const sum = (pick: (row: (typeof rows)[number]) => number) =>
      each.reduce((total, row) => total + pick(row), 0);
    figures[kind] = {
      jobs: each.length,
      "settled once": each.filter(({ settled }) => settled === 1).length,
      queries: sum(({ queries }) => queries),
      "extra, most": Math.max(...each.map(({ extra }) => extra)),
      "jobs with one extra": each.filter(({ extra }) => extra > 0).length,
      "mean s": Number((sum(({ durationMs }) => durationMs) / each.length / 1_000).toFixed(2)),
      "longest s": Math.max(...each.map(({ durationMs }) => durationMs)) / 1_000,
    };
  }
  console.table(Object.fromEntries(Object.entries(figures).sort()));
  const posted = sandbox.webhooks.length;
  const forged = sandbox.webhooks.filter((call) => call.forged).length;
  const slowest = Math.max(...sandbox.webhooks.map(({ answeredAfterMs = 0 }) => answeredAfterMs));
  console.log(
    `${results.length} jobs in ${tookMs} ms: ${posted} calls (${forged} forged), the slowest answered after ${slowest} ms; ` +
      `${polls()} queries, ${rows.filter(({ extra }) => extra > 0).length} of them extra; ${sandbox.charges.length} charges`,
  );

  expect(rows).toHaveLength(2 * jobsEach);
  expect(new Set(results.map(({ job }) => taskIdOf(job))).size).toBe(2 * jobsEach);
  expect(rows.filter(({ settled }) => settled !== 1)).toEqual([]);
  expect(rows.filter(({ extra }) => extra > 1)).toEqual([]);
  expect(sandbox.webhooks.filter(({ status }) => status !== 204)).toEqual([]);
  expect(sandbox.charges).toHaveLength(2 * jobsEach);
  expect(onSettled).not.toHaveBeenCalled();
}, 60_000);
