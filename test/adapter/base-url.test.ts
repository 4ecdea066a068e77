import { inspect } from "node:util";
import { expect, test } from "vitest";
import { version } from "../../package.json";
import { parseBaseURL } from "../../src/adapter/base-url";
import {
  aigptimage,
  createImageClient,
  type ImageClientOptions,
  type ImageEvent,
  memoryJournal,
  openai,
  openaiCompatible,
  shortapi,
} from "../../src/index";
import { onePixelPng } from "../providers/fixtures";
import { pixel, sendJson, startServer } from "../support/server";

const apiKey = "key-0123456789";

test.each([
  ["https://a.test/v1", "https://a.test/v1", ""],
  ["https://a.test/v1///", "https://a.test/v1", ""],
  [" \n https://a.test/v1 \n", "https://a.test/v1", ""],
  ["https://a.test/v1/\n", "https://a.test/v1", ""],
  ["https://a.test/\nv1", "https://a.test/v1", ""],
  ["https://a.test/v1?", "https://a.test/v1", ""],
  ["https://a.test/v1/?a=b&c=d", "https://a.test/v1", "a=b&c=d"],
  ["https://a.test?a=b?c", "https://a.test", "a=b?c"],
  ["HTTPS://A.test/V1", "HTTPS://A.test/V1", ""],
])("a base URL of %j is %s with the query %j", (given, baseURL, query) => {
  expect(parseBaseURL(given)).toEqual({ baseURL, query });
});

test("a URL object serves as its text does", () => {
  expect(parseBaseURL(new URL("https://a.test/v1?a=b"))).toEqual({
    ...{ baseURL: "https://a.test/v1", query: "a=b" },
  });
});

test.each([
  ["https://a.test/v1#x", "fragment"],
  ["https://a.test/v1#", "fragment"],
  ["https://a.test/v1?key=secret-word#x", "fragment"],
  ["a.test/v1?key=secret-word", 'got "a.test/v1"'],
  ["ftp://a.test/v1?key=secret-word", 'got "ftp://a.test/v1"'],
  ["https://user:secret-word@a.test/v1", "credentials"],
  ["user:secret-word@a.test/v1", "credentials"],
  ["https://user:secret-word@", "credentials"],
  ["", "got nothing"],
  [undefined, "got nothing"],
  [7, 'got "7"'],
])("a base URL of %j is refused, by name and without what may be a secret", (baseURL, words) => {
  let error: unknown;
  try {
    // What JavaScript callers may do.
    openaiCompatible({ baseURL: baseURL as string, apiKey });
  } catch (reason) {
    error = reason;
  }
  const { message } = Object(error);
  expect(error).toMatchObject({ code: "invalid_request", field: "baseURL", charged: "no" });
  expect(message).toContain(words);
  expect(message).not.toContain("secret-word");
});

const settled = { data: [{ b64_json: onePixelPng.toString("base64") }] };

test.each([
  ["/v1", "/v1/images/generations"],
  ["/v1/ ", "/v1/images/generations"],
  ["/v1/images/generations", "/v1/images/generations"],
  ["/v1/images/generations/", "/v1/images/generations"],
  ["/v1/images/edits", "/v1/images/generations"],
  ["/v1?api-version=preview", "/v1/images/generations?api-version=preview"],
  [
    "/d/gpt/images/generations?api-version=preview&x=%2F",
    "/d/gpt/images/generations?api-version=preview&x=%2F",
  ],
])("at a base URL that ends with %j a create goes to %s", async (end, path) => {
  await using server = await startServer((_, response) => sendJson(response, settled));
  for (const provide of [openaiCompatible, openai]) {
    const provider = provide({ baseURL: server.url + end, apiKey });
    await createImageClient({ provider }).generate({ prompt: "x" });
  }
  expect(server.requests.map((request) => request.path)).toEqual([path, path]);
});

test("the query of a base URL goes with creates, polls and edits, before what they ask themselves", async () => {
  await using server = await startServer(({ path, method }, response) => {
    const outputs = { images: [{ url: `${server.url}/1.png` }] };
    if (path === "/1.png") response.end(pixel);
    else if (method === "POST") sendJson(response, { code: 0, data: { job_id: "job-7" } });
    else sendJson(response, { code: 0, data: { status: 2, result: outputs } });
  });
  const provider = shortapi({ baseURL: `${server.url}/?tenant=tenant-secret-7`, apiKey });
  const { image } = await createImageClient({ provider, poll: 1 }).generate({ prompt: "x" });
  await image.bytes();
  expect(server.requests.map(({ path }) => path)).toEqual([
    "/api/v1/job/create?tenant=tenant-secret-7",
    "/api/v1/job/query?tenant=tenant-secret-7&id=job-7",
    "/1.png",
  ]);
});

test("the query of a base URL stands in no reference, record, event, message or inspected object", async () => {
  const secret = "tenant-secret-7";
  const records: unknown[] = [];
  const events: ImageEvent[] = [];
  const journal = memoryJournal();
  const fetch: ImageClientOptions["fetch"] = async (url, init) => {
    if (init?.method === "POST") {
      return Response.json({ code: 200, data: { taskId: "task-7" } });
    }
    const failMsg = `no picture for ${secret} at ${String(url)}`;
    return Response.json({ code: 200, data: { state: "fail", failMsg } });
  };
  const provider = aigptimage({ baseURL: `https://a.test/?tenant=${secret}`, apiKey });
  const client = createImageClient({
    ...{ provider, journal, fetch, poll: 1 },
    onEvent: async (event) => {
      events.push(event);
      for await (const { record } of journal.list()) records.push(structuredClone(record));
    },
  });
  const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  const { message, raw, job } = Object(error);
  expect(message).toContain("no picture for <key> at https://a.test/api/v1/jobs/recordInfo");
  expect(records.length).toBeGreaterThan(0);
  const shown = [message, raw, error, job.reference, events, records, provider, client];
  for (const each of shown) {
    expect(`${JSON.stringify(each)} ${inspect(each, { depth: 20 })}`).not.toContain(secret);
  }
  expect(job.reference.baseURL).toBe("https://a.test");
});

test("a reference is resumed whatever the query is by then", async () => {
  const fetch: ImageClientOptions["fetch"] = async () =>
    Response.json({ code: 0, data: { job_id: "job-7", status: 1 } });
  const clientFor = (baseURL: string) =>
    createImageClient({ provider: shortapi({ baseURL, apiKey }), fetch, poll: 1 });
  const job = await clientFor("https://a.test/v1?version=1").submit({ prompt: "x" });
  const resumed = clientFor(" https://a.test/v1/?version=2").resume(job.reference);
  expect(await resumed.status()).toMatchObject({ state: "running" });
});

// ---- who calls ----

test("every call and every download says which client it is, and a caller's own header wins", async () => {
  await using server = await startServer(({ method }, response) => {
    if (method === "GET") response.end(pixel);
    else sendJson(response, { data: [{ url: `${server.url}/1.png` }] });
  });
  const baseURL = `${server.url}/v1`;
  const run = async (headers: Record<string, string>, options: Partial<ImageClientOptions>) => {
    const provider = openaiCompatible({ baseURL, apiKey, headers });
    const client = createImageClient({ provider, ...options });
    const { image } = await client.edit({ prompt: "x", images: [`${server.url}/in.png`] });
    await image.bytes();
  };
  await run({}, {});
  await run({}, { fetch: globalThis.fetch });
  await run({ "User-Agent": "mine/1" }, {});
  const own = `gpt-image-client/${version}`;
  const agents = server.requests.map(({ method, headers }) => [method, headers["user-agent"]]);
  const ours = [
    ["GET", own],
    ["POST", own],
    ["GET", own],
  ];
  expect(agents).toEqual([...ours, ...ours, ["GET", own], ["POST", "mine/1"], ["GET", own]]);
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
});
