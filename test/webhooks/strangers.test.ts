import { connect } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createImageClient,
  type ImageClientOptions,
  InvalidRequestError,
  memoryJournal,
  openai,
  shortapi,
  UnsupportedError,
} from "gpt-image-client";
import { expect, test, vi } from "vitest";
import {
  arrived,
  clients,
  expectNothingSaid,
  hookUrl,
  inject,
  knock,
  makeClient,
  polls,
  posting,
  prompt,
  receiveWith,
  restart,
  sandbox,
  secret,
  soonMs,
  taskIdOf,
  until,
  useReceiver,
  webhooksAnswered,
} from "./receiver-support";

useReceiver();

/** The address that went with the newest create. */
function callbackUrl(): string {
  const create = sandbox.requests.findLast(({ phase }) => phase === "create");
  return callbackOf(create?.body);
}

function callbackOf(body: unknown): string {
  // The tests read what they know to be there; where it is missing, they fail.
  return (body as { callback_url?: string } | undefined)?.callback_url ?? "no address";
}

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
  let reply = "";
  for await (const chunk of socket) reply += chunk;

  expect(reply).toMatch(/^HTTP\/1\.1 204 /);
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
  for (const reply of await flood) expect(reply.status).toBe(204);

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
  receiveWith(undefined);
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

test("the response does not wait for the provider's", async () => {
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
