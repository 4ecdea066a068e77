import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  type Sandbox,
  type SandboxFault,
  type SandboxFaultKind,
  type SandboxOptions,
  startSandbox,
} from "../../src/testing/sandbox";

const jobDurationMs = 300;
let sandbox: Sandbox;
let receiver: Server;
let received: { url: string; body: unknown; headers: object; at: number }[];
let answerStatus: number;
let hookUrl: string;

beforeEach(async () => {
  sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  received = [];
  answerStatus = 204;
  receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { url = "", headers } = request;
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
    received.push({ url, headers, body, at: Date.now() });
    response.writeHead(answerStatus).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  hookUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
});

afterEach(async () => {
  await sandbox.close();
  receiver.closeAllConnections();
  receiver.close();
});

/** Puts another sandbox in place of the one that every test gets: one that leaves a slow machine its time. */
async function restart(options: SandboxOptions): Promise<void> {
  await sandbox.close();
  sandbox = await startSandbox({ plainImages: true, ...options });
}

type Posting = "shortapi" | "trinetra";

/** What the tests read of a create's response: ShortAPI nests the id. */
interface Created {
  readonly data: { readonly job_id: string };
  readonly job_id: string;
}

/** A job at a provider; ShortAPI's takes its address along. */
async function create(provider: Posting, callbackUrl = hookUrl): Promise<string> {
  const { baseURL, apiKey } = sandbox[provider];
  const isShort = provider === "shortapi";
  const path = isShort ? "/api/v1/job/create" : "/v1/image/gpt-image-2";
  const args = { prompt: "A boat" };
  const model = "openai/gpt-image-2/text-to-image";
  const response = await fetch(baseURL + path, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(isShort ? { authorization: `Bearer ${apiKey}` } : { "x-api-key": apiKey }),
    },
    body: JSON.stringify(isShort ? { model, args, callback_url: callbackUrl } : args),
  });
  const reply = (await response.json()) as Created;
  return isShort ? reply.data.job_id : reply.job_id;
}

async function query(provider: Posting, jobId: string): Promise<unknown> {
  const { baseURL, apiKey } = sandbox[provider];
  const [path, headers] =
    provider === "shortapi"
      ? [`/api/v1/job/query?id=${jobId}`, { authorization: `Bearer ${apiKey}` }]
      : [`/v1/jobs/${jobId}`, { "x-api-key": apiKey }];
  const response = await fetch(baseURL + path, { headers: headers as Record<string, string> });
  return response.json();
}

function inject(provider: Posting, kind: SandboxFaultKind, more: object = {}): void {
  sandbox.inject({ provider, phase: "webhook", ...kind, ...more } as SandboxFault);
}

/** Until so many webhooks were answered. */
async function answered(count: number): Promise<Sandbox["webhooks"]> {
  await vi.waitFor(
    () => {
      const done = sandbox.webhooks.filter(({ status, error }) => status ?? error);
      expect(done).toHaveLength(count);
    },
    { timeout: 5_000, interval: 10 },
  );
  return sandbox.webhooks;
}

/** The query's document with its URLs, which are fresh ones each time, made the same. */
function withoutUrls(document: unknown): unknown {
  return JSON.parse(JSON.stringify(document).replaceAll(/http[^"]*/g, "URL"));
}

test("ShortAPI posts the query's own document to the address in the request", async () => {
  const jobId = await create("shortapi", `${hookUrl}?order=7`);
  const [call] = await answered(1);

  expect(received).toHaveLength(1);
  expect(received[0]?.url).toBe("/hook?order=7");
  expect(call).toMatchObject({ provider: "shortapi", jobId, forged: false, status: 204 });
  expect(call?.body).toEqual(received[0]?.body);
  expect(withoutUrls(call?.body)).toEqual(withoutUrls(await query("shortapi", jobId)));
});

test("Trinetra posts the terminal document to the address that is set on the key", async () => {
  sandbox.setWebhook("trinetra", hookUrl);
  const jobId = await create("trinetra");
  const [call] = await answered(1);

  expect(call?.body).toMatchObject({ id: jobId, status: "succeeded" });
  expect(withoutUrls(call?.body)).toEqual(withoutUrls(await query("trinetra", jobId)));
});

test("nothing is posted before the job's end", async () => {
  const startedAt = Date.now();
  await create("shortapi");
  const [call] = await answered(1);

  expect((call?.at ?? 0) - startedAt).toBeGreaterThanOrEqual(jobDurationMs);
});

test("a failed job is posted too", async () => {
  sandbox.inject({ provider: "shortapi", phase: "create", fault: "failure" });
  await create("shortapi");
  const [call] = await answered(1);

  expect(call?.body).toMatchObject({ code: 0, data: { status: 3, refunded: true } });
});

test("a job that fails at a poll is posted then, and once", async () => {
  await restart({ jobDurationMs: 2_000 });
  sandbox.setWebhook("trinetra", hookUrl);
  sandbox.inject({ provider: "trinetra", phase: "poll", fault: "failure" });
  const jobId = await create("trinetra");
  await query("trinetra", jobId);
  await answered(1);
  await sleep(2_100);

  expect(received).toHaveLength(1);
  expect(received[0]?.body).toMatchObject({ id: jobId, status: "failed" });
});

test("without an address nobody is called", async () => {
  sandbox.setWebhook("trinetra", hookUrl);
  sandbox.setWebhook("trinetra", undefined);
  await create("trinetra");
  await create("shortapi", "CALLBACK_URL");
  await sleep(3 * jobDurationMs);

  expect(sandbox.webhooks).toEqual([]);
});

test("an address that is no http(s) URL is refused", () => {
  expect(() => sandbox.setWebhook("trinetra", "ftp://example.com")).toThrow(TypeError);
});

test("no webhook carries a key", async () => {
  sandbox.setWebhook("trinetra", hookUrl);
  await Promise.all([create("trinetra"), create("shortapi")]);
  await answered(2);

  const all = JSON.stringify([received, sandbox.webhooks]);
  expect(all).not.toContain(sandbox.trinetra.apiKey);
  expect(all).not.toContain(sandbox.shortapi.apiKey);
});

test("a late one comes after its delay", async () => {
  inject("shortapi", { fault: "late", delayMs: 300 });
  const startedAt = Date.now();
  await create("shortapi");
  const [call] = await answered(1);

  expect((call?.at ?? 0) - startedAt).toBeGreaterThanOrEqual(jobDurationMs + 300);
  expect(call?.fault).toBe("late");
});

test("a lost one never comes, and the next does", async () => {
  inject("shortapi", { fault: "lost" });
  await create("shortapi");
  await sleep(3 * jobDurationMs);
  const jobId = await create("shortapi");
  const calls = await answered(1);

  expect(calls.map((call) => call.jobId)).toEqual([jobId]);
});

test("a doubled one comes twice, the same both times", async () => {
  inject("shortapi", { fault: "twice" });
  await create("shortapi");
  const [first, second] = await answered(2);

  expect(second?.url).toBe(first?.url);
  expect(withoutUrls(second?.body)).toEqual(withoutUrls(first?.body));
});

test("two are swapped by out-of-order", async () => {
  inject("shortapi", { fault: "out-of-order" });
  const first = await create("shortapi");
  await sleep(2 * jobDurationMs);
  const second = await create("shortapi");
  const calls = await answered(2);

  expect(calls.map(({ jobId }) => jobId)).toEqual([second, first]);
});

test("times and after count jobs that end", async () => {
  inject("shortapi", { fault: "lost" }, { after: 1, times: 2 });
  for (let job = 0; job < 4; job += 1) await create("shortapi");
  await answered(2);
  await sleep(2 * jobDurationMs);

  expect(received).toHaveLength(2);
});

test("a forged one of an unknown job precedes the true one", async () => {
  sandbox.setWebhook("trinetra", hookUrl);
  inject("trinetra", { fault: "forged" });
  const jobId = await create("trinetra");
  const [forged, right] = await answered(2);

  expect(forged).toMatchObject({ forged: true, jobId });
  expect(JSON.stringify(forged?.body)).not.toContain(jobId);
  expect(right).toMatchObject({ forged: false, body: { id: jobId } });
});

test("a forged one may name another job", async () => {
  await restart({ jobDurationMs: 1_500 });
  sandbox.setWebhook("trinetra", hookUrl);
  inject("trinetra", { fault: "forged", as: "another-job" });
  const first = await create("trinetra");
  await sleep(30);
  const second = await create("trinetra");
  const [forged] = await answered(3);

  expect(forged).toMatchObject({ jobId: first, body: { id: second } });
});

test("a forged one at an address in the request takes the name of another and keeps its token", async () => {
  await restart({ jobDurationMs: 1_500 });
  inject("shortapi", { fault: "forged", as: "another-job" });
  await create("shortapi", `${hookUrl}?job=a.0&token=secret-of-a`);
  await sleep(30);
  await create("shortapi", `${hookUrl}?job=b.0&token=secret-of-b`);
  const [forged] = await answered(3);

  expect(forged?.url).toBe(`${hookUrl}?job=b.0&token=secret-of-a`);
});

test("a forged one may carry a wrong token, as long as the right one", async () => {
  inject("shortapi", { fault: "forged", as: "wrong-token" });
  await create("shortapi", `${hookUrl}?job=a.0&token=right`);
  const [forged, right] = await answered(2);

  expect(forged?.url).toMatch(/\?job=a\.0&token=.{5}$/);
  expect(forged?.url).not.toBe(right?.url);
});

test("what was answered is on the list: the status and after how long", async () => {
  answerStatus = 500;
  await create("shortapi");
  const [call] = await answered(1);

  expect(call?.status).toBe(500);
  expect(call?.answeredAfterMs).toBeLessThan(5_000);
});

test("a receiver that cannot be reached is on the list, and harms nobody", async () => {
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
  await create("shortapi");
  const [call] = await answered(1);

  expect(call?.status).toBeUndefined();
  expect(call?.error).toContain("ECONNREFUSED");
});

test("the first URLs that expire are those of the first query, not the webhook's", async () => {
  sandbox.inject({ provider: "shortapi", phase: "create", fault: "expired" });
  const jobId = await create("shortapi");
  await answered(1);

  const document = JSON.stringify(await query("shortapi", jobId));
  const url = /http[^"]*/.exec(document)?.[0] ?? "";
  expect((await fetch(url)).status).toBe(403);
});

test("reset forgets webhooks, also those to come, and keeps the address", async () => {
  sandbox.setWebhook("trinetra", hookUrl);
  await create("trinetra");
  await answered(1);
  await create("trinetra");
  sandbox.reset();
  await sleep(3 * jobDurationMs);
  expect(sandbox.webhooks).toEqual([]);

  await create("trinetra");
  expect(await answered(1)).toHaveLength(1);
});

test("close ends what was to be posted", async () => {
  await create("shortapi");
  await sandbox.close();
  await sleep(3 * jobDurationMs);

  expect(received).toEqual([]);
});

test.each([
  [{ provider: "aigptimage", phase: "webhook", fault: "lost" }, "posts no webhooks"],
  [{ provider: "openaiCompatible", phase: "webhook", fault: "lost" }, "posts no webhooks"],
  [{ provider: "shortapi", phase: "poll", fault: "lost" }, "for webhook"],
  [{ provider: "shortapi", phase: "webhook", fault: "hang" }, "not for webhook"],
  [{ provider: "trinetra", phase: "webhook", fault: "forged", as: "wrong-token" }, "no token"],
] as [SandboxFault, string][])("what makes no sense is refused: %j", (fault, complaint) => {
  expect(() => sandbox.inject(fault)).toThrow(complaint);
});
