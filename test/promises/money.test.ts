import {
  aigptimage,
  createImageClient,
  type ImageError,
  isImageError,
  openai,
  openaiCompatible,
  type Provider,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { describe, expect, test } from "vitest";
import { sendJson, startServer } from "../support/server";

/** What a server answers to a create, and what the error must say. */
interface Row {
  readonly what: string;
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly charged: ImageError["charged"];
  readonly code: string;
  readonly more?: Readonly<Record<string, unknown>>;
}

const apiKey = "sk-test-0123456789abcdef";
const page = "<!DOCTYPE html><title>Error</title>";

/** Too short for another attempt: whether there would be one is said by `retryable`. */
const timeoutMs = 500;

async function errorOf(provider: Provider, fetch?: typeof globalThis.fetch): Promise<ImageError> {
  const client = createImageClient({ provider, timeoutMs, ...(fetch && { fetch }) });
  const error = await client.generate({ prompt: "x" }).then(
    (result) => result,
    (reason: unknown) => reason,
  );
  if (!isImageError(error)) throw new Error(`no error of ours: ${JSON.stringify(error)}`);
  return error;
}

async function expectRow(row: Row, providerAt: (url: string) => Provider): Promise<void> {
  await using server = await startServer((_, response) => {
    const { status, body, headers } = row;
    if (typeof body === "object") sendJson(response, body, status, headers);
    else response.writeHead(status, { "content-type": "text/html", ...headers }).end(body ?? page);
  });
  const error = await errorOf(providerAt(server.url));
  expect(error).toMatchObject({ charged: row.charged, code: row.code, ...row.more });
  if (row.charged !== "no") expect(error.retryable).toBe(false);
  // aigptimage's carry a key and may be sent again: the time-out leaves no room for it here.
  expect(server.requests).toHaveLength(1);
}

const everywhere: readonly Row[] = [
  { what: "a CDN's 403 page", status: 403, charged: "no", code: "permission_denied" },
  ...[408, 423, 424, 425, 499, 500, 502, 503, 504].map((status) => ({
    ...{ what: `a ${status} page with Retry-After`, status, headers: { "retry-after": "1" } },
    ...({ charged: "unknown", code: "submission_unknown" } as const),
  })),
  ...[301, 302, 303].map((status) => ({
    ...{ what: `a ${status}`, status, headers: { location: "https://elsewhere.example/v1?key=1" } },
    ...({ charged: "unknown", code: "submission_unknown" } as const),
    more: { field: "baseURL", message: expect.stringContaining("https://elsewhere.example/v1:") },
  })),
  ...[307, 308].map((status) => ({
    ...{ what: `a ${status}`, status, headers: { location: "https://elsewhere.example/v1?key=1" } },
    ...({ charged: "no", code: "invalid_request" } as const),
    more: { field: "baseURL", message: expect.stringContaining("https://elsewhere.example/v1:") },
  })),
  ...[404, 405].map((status) => ({
    ...({ what: `a ${status} page`, status, charged: "no", code: "invalid_request" } as const),
    more: { field: "baseURL", message: expect.stringContaining("http://127.0.0.1:") },
  })),
  {
    ...{ what: "a 400 that says it was charged", status: 400, charged: "yes" },
    ...{ code: "invalid_request", body: { error: { message: "no", charged: "yes" } } },
  },
  {
    ...{ what: "a 400 that says it may have been charged", status: 400, charged: "unknown" },
    ...{ code: "invalid_request", body: { error: { message: "no", charged: "unknown" } } },
  },
  {
    ...{ what: "a 502 that says it was not charged", status: 502, charged: "unknown" },
    ...{ code: "submission_unknown", body: { error: { message: "no", charged: "no" } } },
  },
  {
    ...{ what: "a 429 that is not to be repeated", status: 429, charged: "no" },
    ...{ code: "rate_limited", headers: { "x-should-retry": "false" } },
    more: { retryable: false },
  },
  {
    ...{ what: "a 403 for an empty quota", status: 403, charged: "no" },
    ...{ code: "insufficient_credits" },
    body: { error: { message: "quota", code: "insufficient_user_quota" } },
  },
];

describe.each([
  { name: "shortapi", at: (baseURL: string) => shortapi({ baseURL, apiKey }) },
  { name: "aigptimage", at: (baseURL: string) => aigptimage({ baseURL, apiKey }) },
  { name: "trinetra", at: (baseURL: string) => trinetra({ baseURL, apiKey }) },
  {
    name: "openaiCompatible",
    at: (url: string) => openaiCompatible({ baseURL: `${url}/v1`, apiKey }),
  },
])("a create that $name answers with", ({ at }) => {
  test.each(everywhere)("$what is charged $charged", (row) => expectRow(row, at));
});

const strangers: readonly Row[] = [
  {
    ...{ what: "a 503 with OpenAI's error object", status: 503, charged: "unknown" },
    ...{ code: "submission_unknown" },
    body: { error: { message: "busy", type: "server_error", code: "overloaded" } },
  },
  {
    ...{ what: "an unknown model under 503", status: 503, charged: "unknown" },
    ...{ code: "submission_unknown", body: { error: { message: "no", code: "model_not_found" } } },
  },
  {
    ...{ what: "an error of its own under 200", status: 200, charged: "unknown" },
    ...{ code: "generation_failed", body: { error: { message: "upstream", code: "oops" } } },
  },
  {
    ...{ what: "a documented refusal under 200", status: 200, charged: "no" },
    ...{
      code: "insufficient_credits",
      body: { error: { message: "no", code: "insufficient_quota" } },
    },
  },
  {
    ...{ what: "a bare 402 under 200", status: 200, charged: "unknown" },
    ...{ code: "insufficient_credits", body: { code: 402, msg: "no money left" } },
    more: { message: expect.stringContaining("no money left") },
  },
  {
    ...{ what: "moderation whose stage nobody tells", status: 400, charged: "unknown" },
    ...{ code: "moderation", body: { error: { message: "no", code: "moderation_blocked" } } },
  },
  {
    ...{ what: "Azure's content filter", status: 400, charged: "unknown", code: "moderation" },
    body: {
      error: { message: "no", code: "x", innererror: { code: "ResponsibleAIPolicyViolation" } },
    },
  },
  {
    ...{ what: "moderation of the input", status: 400, charged: "no", code: "moderation" },
    body: {
      error: {
        ...{ message: "no", code: "moderation_blocked" },
        moderation_details: { moderation_stage: "input", categories: ["violence"] },
      },
    },
    more: { stage: "input", categories: ["violence"] },
  },
  {
    ...{ what: "moderation of the picture that was made", status: 400, charged: "unknown" },
    ...{ code: "moderation", more: { stage: "output" } },
    body: { error: { message: "The generated image was filtered.", code: "content_filter" } },
  },
];

describe("a create that an OpenAI-compatible stranger answers with", () => {
  test.each(strangers)("$what is charged $charged", (row) =>
    expectRow(row, (url) => openaiCompatible({ baseURL: `${url}/v1`, apiKey })),
  );
});

test("a 503 that the caller has declared to be a refusal is not charged, and may be sent again", async () => {
  const row: Row = { what: "", status: 503, charged: "no", code: "provider_unavailable" };
  await expectRow({ ...row, more: { retryable: true } }, (url) =>
    openaiCompatible({ baseURL: `${url}/v1`, apiKey, refusalStatuses: [503] }),
  );
});

test("an endpoint that is declared as the caller's own is believed when it says that nothing was charged", async () => {
  const body = { error: { message: "no", charged: "no" } };
  const row: Row = { what: "", status: 502, body, charged: "no", code: "provider_unavailable" };
  await expectRow(row, (url) =>
    openaiCompatible({ baseURL: `${url}/v1`, apiKey, trustCharged: true }),
  );
});

/** OpenAI's own origin, which no test can serve: its responses by `fetch`. */
async function atOpenAI(status: number, error: object): Promise<ImageError> {
  let calls = 0;
  const found = await errorOf(openai({ apiKey }), async () => {
    calls += 1;
    return Response.json({ error }, { status });
  });
  expect(calls).toBe(1);
  return found;
}

test("a 503 with OpenAI's error object from OpenAI's own origin is a refusal", async () => {
  const error = await atOpenAI(503, { message: "busy", type: "server_error", code: null });
  expect(error).toMatchObject({ charged: "no", code: "provider_unavailable", retryable: true });
});

test("an unknown model under 503 is not worth another try, even at OpenAI itself", async () => {
  const error = await atOpenAI(503, { message: "no", type: "x", code: "model_not_found" });
  expect(error).toMatchObject({ charged: "no", retryable: false });
});

test("OpenAI's documented moderation from its own origin is not charged, unless it is of the output", async () => {
  const code = "moderation_blocked";
  expect(await atOpenAI(400, { message: "no", code })).toMatchObject({ charged: "no" });
  const details = { moderation_details: { moderation_stage: "output" } };
  const withheld = await atOpenAI(400, { message: "no", code, ...details });
  expect(withheld).toMatchObject({ charged: "unknown", stage: "output" });
});

test.each([
  { status: 200, body: { code: 4001, info: "no" }, charged: "no" },
  { status: 503, body: { code: 4001, info: "no" }, charged: "no" },
  { status: 200, body: { code: 3000, info: "unstable" }, charged: "unknown" },
  { status: 200, body: { code: 500, info: "no" }, charged: "unknown" },
  { status: 200, body: { code: 424, info: "no" }, charged: "unknown" },
  { status: 503, body: { code: 503, info: "no" }, charged: "unknown" },
  { status: 502, body: { code: 4001, info: "no" }, charged: "unknown" },
  { status: 503, body: { info: "no" }, charged: "unknown" },
  { status: 200, body: { code: 4001, data: { job_id: "j" } }, charged: "unknown" },
] as const)("ShortAPI's $status with $body is charged $charged", async (row) => {
  await using server = await startServer((_, response) => sendJson(response, row.body, row.status));
  const error = await errorOf(shortapi({ baseURL: server.url, apiKey }));
  expect(error.charged).toBe(row.charged);
  expect(server.requests).toHaveLength(1);
});
