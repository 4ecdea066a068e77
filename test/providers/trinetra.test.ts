import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { trinetra } from "../../src/index";
import { answers, clientOf, json, pages, response } from "./fixtures";

const origin = "https://brahmand-api.bulletshorts.co";
const server = setupServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

const provider = trinetra({ apiKey: "tk-trinetra-test" });
const { read } = provider.adapter;
const client = clientOf(provider);
const created = [202, pages.trinetra.created] as const;
const succeeded = [200, pages.trinetra.succeeded] as const;

test("the page's own request is sent exactly, with the key in X-API-Key", async () => {
  const seen = answers(server, origin, created, succeeded);
  const expected = json(pages.trinetra.request) as { prompt: string; quality: string; n: number };
  await client.generate(expected);
  const [create, query] = seen;
  expect(create).toMatchObject({ method: "POST", url: `${origin}/v1/image/gpt-image-2` });
  expect(create?.body).toEqual(expected);
  expect(create?.headers.get("x-api-key")).toBe("tk-trinetra-test");
  expect(create?.headers.get("authorization")).toBeNull();
  expect(query).toMatchObject({ method: "GET", url: `${origin}/v1/jobs/job_gptimage2_a1b2c3` });
  expect(query?.headers.get("x-api-key")).toBe("tk-trinetra-test");
});

test("every parameter of the page is reached from the portable request", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.edit({
    prompt: "x",
    aspectRatio: "16:9",
    quality: "low",
    n: 4,
    background: "opaque",
    outputFormat: "webp",
    outputCompression: 80,
    moderation: "low",
    user: "user-7",
    images: ["https://a.test/1.png"],
  });
  expect(seen[0]?.body).toEqual({
    prompt: "x",
    aspect_ratio: "16:9",
    quality: "low",
    n: 4,
    background: "opaque",
    output_format: "webp",
    output_compression: 80,
    moderation: "low",
    user: "user-7",
    image_url: "https://a.test/1.png",
  });
});

test("nothing is sent that was not asked for, besides n", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.generate({ prompt: "x" });
  expect(seen[0]?.body).toEqual({ prompt: "x", n: 1 });
});

test.each([
  ["quality", "ultra"],
  ["background", "green"],
  ["outputFormat", "gif"],
  ["moderation", "none"],
])("%s %s is not on the page, and is refused by name", (field, word) => {
  const [problem, ...more] = client.check({ prompt: "x", [field]: word });
  expect(problem).toMatchObject({ code: "unsupported", field, given: `"${word}"` });
  expect(more).toEqual([]);
});

test("a size of the standard table is sent as its ratio with a warning", async () => {
  const seen = answers(server, origin, created, succeeded);
  const { warnings } = await client.generate({ prompt: "x", size: "1536x864" });
  expect(seen[0]?.body).toMatchObject({ aspect_ratio: "16:9" });
  expect(warnings).toEqual([expect.stringContaining("1536x864")]);
});

test.each([
  [{ size: "2048x2048" }, "size"],
  [{ size: "auto" }, "size"],
  [{ aspectRatio: "1:1", resolution: "2K" }, "resolution"],
  [{ aspectRatio: "auto" }, "aspectRatio"],
  [{ webhookUrl: "https://app.test/hook" }, "webhookUrl"],
])("%j is refused: the page has no word for it", (fields, field) => {
  expect(client.check({ prompt: "x", ...fields })).toMatchObject([{ code: "unsupported", field }]);
});

test("five images are split into four and one", async () => {
  const seen = answers(server, origin, created, created, succeeded);
  await client.generate({ prompt: "x", n: 5 });
  const bodies = seen.flatMap(({ method, body }) => (method === "POST" ? [body] : []));
  expect(bodies).toEqual([
    { prompt: "x", n: 4 },
    { prompt: "x", n: 1 },
  ]);
});

test("a second input image is refused", () => {
  const images = ["https://a.test/1.png", "https://a.test/2.png"];
  expect(client.check({ prompt: "x", images })).toMatchObject([
    { code: "unsupported", field: "images", taken: "one image" },
  ]);
});

test("another model becomes the last part of the path, and cannot leave it", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.generate({ prompt: "x", providerOptions: { trinetra: { model: "gpt-image-2.5" } } });
  expect(seen[0]?.url).toBe(`${origin}/v1/image/gpt-image-2.5`);
  for (const model of ["../keys", "a/b", "..", "", "a?b", "a#b"]) {
    const problems = client.check({ prompt: "x", providerOptions: { trinetra: { model } } });
    expect(problems).toMatchObject([{ field: "providerOptions.trinetra.model" }]);
  }
});

test("the create says job_id and the query says id: either names the job", () => {
  expect(read("create", response(202, json(pages.trinetra.created)))).toEqual({
    state: "queued",
    id: "job_gptimage2_a1b2c3",
    word: "queued",
    known: true,
  });
  expect(read("create", response(202, { id: "other" }))).toMatchObject({ id: "other" });
  expect(read("create", response(202, { job_id: "a", id: "b" }))).toMatchObject({ id: "a" });
});

test("an accepted job without an id is malformed, and the charge is unknown", () => {
  for (const body of [{ status: "queued" }, { job_id: "" }, { job_id: null }]) {
    expect(read("create", response(202, body))).toMatchObject({
      kind: "malformed_response",
      charged: "unknown",
    });
  }
});

test("an id with a slash in it stays one part of the query's path", () => {
  expect(provider.adapter.query?.("a/../b?c")).toMatchObject({ path: "/v1/jobs/a%2F..%2Fb%3Fc" });
});

test.each([
  ["queued", "queued"],
  ["pending", "queued"],
  ["submitted", "queued"],
  ["waiting", "queued"],
  ["created", "queued"],
  ["processing", "running"],
  ["running", "running"],
  ["in_progress", "running"],
  ["started", "running"],
  ["generating", "running"],
])("status %s is read as %s", (word, state) => {
  expect(read("query", response(200, { status: word }))).toMatchObject({ state, known: true });
});

test.each(["failed", "error", "cancelled", "canceled", "expired", "timeout", "rejected"])(
  "status %s is a failure, and not charged: jobs are billed on success",
  (status) => {
    expect(read("query", response(200, { status }))).toMatchObject({
      state: "failed",
      kind: "generation_failed",
      charged: "no",
      code: status,
      message: `The job ended as ${status}`,
    });
  },
);

test("an unknown word means still running", () => {
  expect(read("query", response(200, { status: "Composing" }))).toMatchObject({
    state: "running",
    word: "Composing",
    known: false,
  });
});

test("a failure that reports credits all the same was charged", () => {
  const failed = { status: "failed", error: { message: "boom", code: 17 }, credits_charged: 7 };
  expect(read("query", response(200, failed))).toMatchObject({
    charged: "yes",
    code: "17",
    message: "boom",
    cost: { amount: 7, unit: "credits", basis: "reported" },
  });
  expect(read("query", response(200, { ...failed, credits_charged: 0 }))).toMatchObject({
    charged: "no",
  });
});

test.each([
  [{ error: { message: "the words" } }],
  [{ error: "the words" }],
  [{ message: "the words" }],
  [{ detail: "the words" }],
])("an error is read from %j", (body) => {
  for (const phase of ["create", "query"] as const) {
    expect(read(phase, response(400, body))).toMatchObject({ message: "the words" });
  }
  expect(read("query", response(200, { status: "failed", ...body }))).toMatchObject({
    message: "the words",
  });
});

test.each([
  [400, "invalid_request", "no"],
  [401, "authentication", "no"],
  [402, "insufficient_credits", "no"],
  [403, "permission_denied", "no"],
  [408, "submission_unknown", "unknown"],
  [423, "submission_unknown", "unknown"],
  [424, "submission_unknown", "unknown"],
  [425, "submission_unknown", "unknown"],
  [429, "rate_limited", "no"],
  [499, "submission_unknown", "unknown"],
  [500, "submission_unknown", "unknown"],
  [502, "submission_unknown", "unknown"],
])("HTTP %i to a create is %s, charged %s", (status, kind, charged) => {
  for (const body of [{ error: "words" }, undefined]) {
    expect(read("create", response(status, body))).toMatchObject({
      ...{ state: "refused", kind, charged },
    });
  }
});

test("a 503 may be anybody's: with an error body, with Retry-After, and without", () => {
  expect(read("create", response(503, { error: "busy" }))).toMatchObject({ charged: "unknown" });
  expect(read("create", response(503, undefined, { "retry-after": "5" }))).toMatchObject({
    charged: "unknown",
    resend: "keyed",
    retryAfterMs: 5_000,
  });
  expect(read("create", response(503, undefined))).toMatchObject({ charged: "unknown" });
  expect(read("create", response(503, {}))).toMatchObject({ charged: "unknown" });
});

test("a date in Retry-After is held against the time of the response", () => {
  const date = new Date(Date.UTC(2026, 0, 1) + 90_000).toUTCString();
  expect(read("create", response(429, {}, { "retry-after": date }))).toMatchObject({
    retryAfterMs: 90_000,
  });
  expect(read("create", response(429, {}, { "retry-after": "soon" }))).toHaveProperty(
    "retryAfterMs",
    undefined,
  );
});

test("a failure that speaks of moderation is moderation", () => {
  const body = { status: "failed", error: "Blocked by moderation" };
  expect(read("query", response(200, body))).toMatchObject({ kind: "moderation", charged: "no" });
  expect(read("query", response(200, { status: "moderated" }))).toMatchObject({
    kind: "moderation",
  });
});

test("the page's success is read: URL, model and the credits that fit no row of its table", async () => {
  answers(server, origin, created, succeeded);
  const result = await client.generate({ prompt: "x", quality: "high" });
  expect(result.image.url).toBe("https://cdn.trinetra.ai/out/gpt-image-2/a1b2c3.png");
  expect(result.model).toBe("gpt-image-2");
  expect(result.cost).toEqual({ amount: 10, unit: "credits", basis: "reported" });
});

test("success without a URL was charged, and keeps what it cost", () => {
  expect(read("query", response(200, { status: "succeeded", credits_charged: 7 }))).toMatchObject({
    state: "failed",
    kind: "malformed_response",
    charged: "yes",
    cost: { amount: 7 },
  });
});

test.each([
  ["low", 3],
  ["medium", 7],
  ["high", 14],
  [undefined, 7],
])("quality %s costs %i credits an image by the page's table", (quality, amount) => {
  const request = { prompt: "x", ...(quality && { quality }) };
  expect(client.estimate(request)).toEqual({ amount, unit: "credits", basis: "list" });
  expect(client.estimate({ ...request, n: 5 })?.amount).toBe(amount * 5);
});

test('quality "auto" has no price', () => {
  expect(client.estimate({ prompt: "x", quality: "auto" })).toBeUndefined();
});

test("compression is for jpeg and webp alone", () => {
  for (const outputFormat of [undefined, "png"]) {
    const request = { prompt: "x", outputCompression: 50, ...(outputFormat && { outputFormat }) };
    expect(client.check(request)).toMatchObject([{ field: "outputCompression" }]);
  }
  expect(client.check({ prompt: "x", outputCompression: 50, outputFormat: "jpeg" })).toEqual([]);
});

test("a create refused in words of moderation is moderation, and nobody says before or after the work", () => {
  expect(read("create", response(400, { error: "Blocked by moderation" }))).toMatchObject({
    state: "refused",
    kind: "moderation",
    charged: "unknown",
    resend: "never",
  });
});
