import { mkdtemp, readdir, rm } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import { type ImageClientOptions, openaiCompatible, shortapi } from "../../src/index";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import type { ImageEvent, ImageJob } from "../../src/types";
import { TestClock } from "../support/clock";
import { type Arrived, pixel, sendJson, startServer, type TestServer } from "../support/server";
import { aMoment, failureOf, prompt, typesOf, until } from "../support/stage";

const places: string[] = [];
afterAll(() => Promise.all(places.map((place) => rm(place, { recursive: true, force: true }))));

const apiKey = "sk-of-the-test";
const b64_json = pixel.toString("base64");

/** A server that answers creates when it is told to, and counts those whose caller hung up. */
async function startHeldServer() {
  const held: { request: Arrived; response: ServerResponse }[] = [];
  let torn = 0;
  const server = await startServer((request, response) => {
    response.on("close", () => {
      if (!response.writableFinished) torn += 1;
    });
    held.push({ request, response });
  });
  return Object.assign(server, {
    held,
    torn: () => torn,
    answerAll(reply: (request: Arrived) => unknown) {
      for (const { request, response } of held) sendJson(response, reply(request));
    },
  });
}

const imagesFor = ({ body }: Arrived) => {
  // As the client sends it.
  const { n = 1 } = JSON.parse(body) as { n?: number };
  return { data: Array.from({ length: n }, () => ({ b64_json })) };
};

function syncClient(
  server: TestServer,
  options: Partial<ImageClientOptions> = {},
  clock = systemClock,
) {
  const provider = openaiCompatible({ baseURL: `${server.url}/v1`, apiKey });
  return new ProviderClient({ provider, ...options }, clock);
}

function jobClient(server: TestServer, options: Partial<ImageClientOptions> = {}) {
  const provider = shortapi({ baseURL: server.url, apiKey });
  return new ProviderClient({ provider, ...options }, systemClock);
}

async function statesOf(journal: Journal): Promise<unknown[]> {
  const states: unknown[] = [];
  // What the client has written itself.
  for await (const { record } of journal.list()) states.push((record as { state: unknown }).state);
  return states;
}

test("an image whose create is on its way when the client is closed comes in, and its caller has it", async () => {
  await using server = await startHeldServer();
  const journal = memoryJournal();
  const place = await mkdtemp(join(tmpdir(), "close-"));
  places.push(place);
  const plain = syncClient(server);
  const keeping = syncClient(server, { journal });
  const calls = [plain.generate({ prompt }), keeping.generate({ prompt }, { saveTo: place })];
  await until(() => server.held.length === 2);
  let closed = 0;
  const closing = [plain, keeping].map((client) => client.close().then(() => (closed += 1)));
  await aMoment();
  expect([closed, server.torn()]).toEqual([0, 0]);
  server.answerAll(imagesFor);
  await Promise.all(closing);
  for (const call of calls) expect((await (await call).image.bytes()).length).toBe(pixel.length);
  expect(server.requests).toHaveLength(2);
  expect(server.torn()).toBe(0);
  expect(await statesOf(journal)).toEqual(["succeeded"]);
  expect(await readdir(place)).toHaveLength(1);
});

test("of a split call the tasks on their way come in, and the others were never sent", async () => {
  await using server = await startHeldServer();
  const client = syncClient(server, { concurrency: 1 });
  const call = client.generate({ prompt, n: 12 });
  await until(() => server.held.length === 1);
  const closing = client.close();
  server.answerAll(imagesFor);
  await closing;
  const { images, failures } = await call;
  expect(images).toHaveLength(10);
  expect(failures).toMatchObject([{ code: "client_closed", charged: "no" }]);
  expect(server.requests).toHaveLength(1);
});

test("a submit of what is answered with the image has its job, and the image in it", async () => {
  await using server = await startHeldServer();
  const client = syncClient(server);
  const submitting = client.submit({ prompt });
  await until(() => server.held.length === 1);
  const closing = client.close();
  server.answerAll(imagesFor);
  await closing;
  const { images } = await (await submitting).result();
  expect(images).toHaveLength(1);
});

test("what is not there in time is torn, and says so: perhaps charged, with its job", async () => {
  await using server = await startHeldServer();
  const journal = memoryJournal();
  const client = syncClient(server, { journal });
  const call = failureOf(client.generate({ prompt }));
  await until(() => server.held.length === 1);
  const startedAt = performance.now();
  await client.close({ timeoutMs: 80 });
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  const error = await call;
  expect(error).toMatchObject({ code: "client_closed", charged: "unknown", retryable: false });
  expect(error.message).toContain("given up 80 ms after `close` was called");
  expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  await until(() => server.torn() === 1);
  expect(await statesOf(journal)).toEqual(["unknown"]);
  expect(server.requests).toHaveLength(1);
});

test("a second close with less patience tears what the first one waits for", async () => {
  await using server = await startHeldServer();
  const client = syncClient(server);
  const call = failureOf(client.generate({ prompt }));
  await until(() => server.held.length === 1);
  const first = client.close();
  await client.close({ timeoutMs: 0 });
  await first;
  expect(await call).toMatchObject({ code: "client_closed", charged: "unknown" });
});

test("without a word it waits for 30 s, also at the end of a block", async () => {
  await using server = await startHeldServer();
  const clock = new TestClock({ auto: false });
  let call: ReturnType<typeof failureOf> | undefined;
  let isLeft = false;
  const block = (async () => {
    await using client = syncClient(server, {}, clock);
    call = failureOf(client.generate({ prompt }));
    await until(() => server.held.length === 1);
  })().then(() => {
    isLeft = true;
  });
  await until(() => server.held.length === 1);
  await aMoment();
  await clock.advance(29_999);
  await aMoment();
  expect([isLeft, server.torn()]).toEqual([false, 0]);
  await clock.advance(1);
  await block;
  expect(await call).toMatchObject({ code: "client_closed", charged: "unknown" });
});

test("a create that waits to be sent again is not sent any more, and nothing was charged", async () => {
  await using server = await startServer((_, response) =>
    sendJson(response, { error: { message: "slow down" } }, 429, { "retry-after": "60" }),
  );
  const events: ImageEvent[] = [];
  const client = syncClient(server, { onEvent: (event) => events.push(event) });
  const call = failureOf(client.generate({ prompt }));
  await until(() => typesOf(events).includes("retry"));
  await client.close();
  expect(await call).toMatchObject({ code: "client_closed", charged: "no" });
  expect(server.requests).toHaveLength(1);
});

test("after it nothing is sent", async () => {
  await using server = await startHeldServer();
  const client = syncClient(server);
  await client.close();
  expect(await failureOf(client.generate({ prompt }))).toMatchObject({
    ...{ code: "client_closed", charged: "no" },
  });
  await aMoment();
  expect(server.requests).toHaveLength(0);
});

test("a caller whose job is being created is released at once, and the job's id still comes in", async () => {
  await using server = await startHeldServer();
  const client = jobClient(server);
  const told: ImageJob[] = [];
  const call = failureOf(client.generate({ prompt }, { onSubmitted: (job) => told.push(job) }));
  await until(() => server.held.length === 1);
  const closing = client.close();
  const error = await call;
  expect(error).toMatchObject({ code: "client_closed", charged: "unknown" });
  server.answerAll(() => ({ code: 0, data: { job_id: "job-7" } }));
  await closing;
  expect(server.torn()).toBe(0);
  expect(error.job?.reference.tasks).toMatchObject([{ state: "queued", id: "job-7" }]);
  expect(told).toHaveLength(1);
});

test("a create of a job that is not answered in time is torn, and its events end with that", async () => {
  await using server = await startHeldServer();
  const events: ImageEvent[] = [];
  const client = jobClient(server, { onEvent: (event) => events.push(event) });
  const call = failureOf(client.generate({ prompt }));
  await until(() => server.held.length === 1);
  await client.close({ timeoutMs: 50 });
  await until(() => server.torn() === 1);
  expect((await call).job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  expect(events.at(-1)).toMatchObject({
    ...{ type: "failed", error: { code: "client_closed", charged: "unknown" } },
  });
});

test.for([{ timeoutMs: -1 }, { timeoutMs: Number.NaN }, { timeout: 5 }])(
  "an argument of close that makes no sense is refused, and the client goes on: %o",
  async (wrong) => {
    await using server = await startServer((request, response) => {
      sendJson(response, imagesFor(request));
    });
    const client = syncClient(server);
    expect(await failureOf(client.close(wrong))).toMatchObject({ code: "invalid_request" });
    expect((await client.generate({ prompt })).images).toHaveLength(1);
  },
);
