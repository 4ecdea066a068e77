import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/index";
import { isLoopback } from "../../src/schedule/schedule";
import { type Sandbox, startSandbox } from "../../src/testing/sandbox";
import { TestClock } from "../support/clock";
import { sendJson, startServer } from "../support/server";
import { failureOf, jobProviders, prompt, providerOf, shortestMs } from "../support/stage";

const jobDurationMs = 300;
let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ jobDurationMs, plainImages: true });
});
afterAll(() => sandbox.close());

const webhooks = { url: "http://127.0.0.1:9/never-heard", secret: "a-secret-of-the-test" };

test.for(
  jobProviders.flatMap((name) => [
    [name, "without webhooks", {}] as const,
    [name, "with webhooks that never come", { webhooks }] as const,
  ]),
)("a sandbox job of %s is seen soon after its end, %s", async ([name, , options]) => {
  const provider = providerOf(name, sandbox[name]);
  const lateMs = await shortestMs(200, async () => {
    const client = new ProviderClient({ provider, ...options }, systemClock);
    const { timing } = await client.generate({ prompt });
    return timing.durationMs - jobDurationMs;
  });
  expect(lateMs).toBeLessThan(200);
});

/** The ages at which a job that never ends is polled within a minute. */
async function polledAt(options: Partial<ImageClientOptions>, hostname = "127.0.0.1") {
  await using server = await startServer((request, response) => {
    const isCreate = request.method === "POST";
    sendJson(response, { code: 0, data: isCreate ? { job_id: "job-7" } : { status: 1 } });
  });
  const clock = new TestClock();
  const ages: number[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    if (init?.method === "GET") ages.push(clock.elapsedMs);
    return globalThis.fetch(String(input).replace(hostname, "127.0.0.1"), init);
  };
  const baseURL = server.url.replace("127.0.0.1", hostname);
  const provider = providerOf("shortapi", { baseURL, apiKey: "a-key-of-the-test" });
  const client = new ProviderClient({ provider, fetch, timeoutMs: 60_000, ...options }, clock);
  await failureOf(client.generate({ prompt }));
  return ages;
}

test("a job that takes its time is polled ever less often, by some thirty polls more than elsewhere", async () => {
  const local = await polledAt({});
  const elsewhere = await polledAt({}, "provider.example");
  expect(local[0]).toBe(20);
  local.forEach((ageMs, index) => {
    const before = local[index - 1] ?? 0;
    expect(ageMs - before).toBeLessThanOrEqual(Math.max(20, before / 4) + 1);
  });
  expect(local.length - elsewhere.length).toBeLessThan(35);
  expect(elsewhere[0]).toBeGreaterThan(4_000);
});

test("a poll of the caller's own holds on this machine too", async () => {
  expect(await polledAt({ poll: 20_000 })).toEqual([20_000, 40_000]);
});

test.for([
  ["http://127.0.0.1:8080/v1", true],
  ["http://127.5.0.1", true],
  ["http://localhost:8080", true],
  ["http://api.localhost", true],
  ["http://[::1]:8080", true],
  ["https://api.trinetra.ai", false],
  ["https://127.0.0.1.example.com", false],
  ["https://notlocalhost", false],
  ["http://10.0.0.1", false],
] as const)("%s leads to this machine: %s", ([url, isLocal]) => {
  expect(isLoopback(url)).toBe(isLocal);
});
