import { setTimeout as sleep } from "node:timers/promises";
import { createImageClient, type ImageEvent, shortapi } from "gpt-image-client";
import { expect, test } from "vitest";
import {
  clients,
  inject,
  jobDurationMs,
  makeClient,
  polls,
  posting,
  prompt,
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

test("shortapi: a webhook that overtakes the response to the create ends the wait all the same", async () => {
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

test("trinetra: a webhook that overtakes the response to the create ends the wait all the same", async () => {
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
  await restart({ jobDurationMs: 1_500 });
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
  // Long enough that the first job still runs when the second is made, on a busy machine too.
  await restart({ jobDurationMs: 1_500 });
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
