import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { shortapi } from "../../src/index";
import { answers, clientOf, json, pages, response } from "./fixtures";

const origin = "https://api.shortapi.ai";
const server = setupServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

const provider = shortapi({ apiKey: "sk-shortapi-test" });
const { read } = provider.adapter;
const client = clientOf(provider);
const accepted = [200, { code: 0, data: { amount: "0.02", job_id: "job-1" } }] as const;
const succeeded = [200, pages.shortapi.succeeded] as const;

test("the page's own generate request is sent exactly", async () => {
  const seen = answers(server, origin, accepted, succeeded);
  const expected = json(pages.shortapi.generate) as { args: { prompt: string } };
  await client.generate({ prompt: expected.args.prompt, webhookUrl: "https://app.test/hook" });
  const [create, query] = seen;
  expect(create).toMatchObject({ method: "POST", url: `${origin}/api/v1/job/create` });
  expect(create?.body).toEqual({ ...expected, callback_url: "https://app.test/hook" });
  expect(create?.headers.get("authorization")).toBe("Bearer sk-shortapi-test");
  expect(create?.headers.get("content-type")).toBe("application/json");
  expect(query).toMatchObject({ method: "GET", url: `${origin}/api/v1/job/query?id=job-1` });
  expect(query?.headers.get("authorization")).toBe("Bearer sk-shortapi-test");
});

test("the page's own edit request is sent exactly", async () => {
  const seen = answers(server, origin, accepted, succeeded);
  const expected = json(pages.shortapi.edit) as { args: { prompt: string; images: string[] } };
  const { prompt, images } = expected.args;
  await client.edit({ prompt, images, webhookUrl: "https://app.test/hook" });
  expect(seen[0]?.body).toEqual({ ...expected, callback_url: "https://app.test/hook" });
});

test.each(["1024x1024", "1536x1024", "1024x1536", "auto"])(
  "the page's size %s lands in args as it is",
  async (size) => {
    const seen = answers(server, origin, accepted, succeeded);
    await client.generate({ prompt: "x", size });
    expect(seen[0]?.body).toEqual({
      model: "openai/gpt-image-2/text-to-image",
      args: { prompt: "x", size },
    });
  },
);

test.each([
  ["1:1", "1K", "1024x1024"],
  ["3:2", "1K", "1536x1024"],
  ["2:3", undefined, "1024x1536"],
  ["auto", undefined, "auto"],
])("aspectRatio %s at %s becomes size %s", async (aspectRatio, resolution, size) => {
  const seen = answers(server, origin, accepted, succeeded);
  await client.generate({ prompt: "x", aspectRatio, ...(resolution && { resolution }) });
  expect(seen[0]?.body).toMatchObject({ args: { size } });
});

test("an edit takes no size, and says so before anything is sent", async () => {
  const seen = answers(server, origin, accepted);
  const edit = client.edit({ prompt: "x", images: ["https://a.test/1.png"], size: "1024x1024" });
  await expect(edit).rejects.toMatchObject({ code: "unsupported", field: "size", charged: "no" });
  expect(seen).toHaveLength(0);
});

test("another model can be asked for by providerOptions", async () => {
  const seen = answers(server, origin, accepted, succeeded);
  const providerOptions = { shortapi: { model: "openai/gpt-image-2.5/text-to-image" } };
  await client.generate({ prompt: "x", providerOptions });
  expect(seen[0]?.body).toMatchObject({ model: "openai/gpt-image-2.5/text-to-image" });
});

test("16 images are taken by an edit and 17 are not", async () => {
  const seen = answers(server, origin, accepted, succeeded);
  const images = Array.from({ length: 16 }, (_, index) => `https://a.test/${index}.png`);
  await client.edit({ prompt: "x", images });
  expect(seen[0]?.body).toMatchObject({ args: { images } });
  await expect(
    client.edit({ prompt: "x", images: [...images, "https://a.test/17.png"] }),
  ).rejects.toMatchObject({ code: "unsupported", field: "images", taken: "at most 16 images" });
});

test("two images are two jobs, since a job yields one", async () => {
  const seen = answers(server, origin, accepted, accepted, succeeded);
  const { images, cost } = await client.generate({ prompt: "x", n: 2 });
  expect(images).toHaveLength(2);
  expect(seen.filter(({ method }) => method === "POST")).toHaveLength(2);
  expect(cost).toEqual({ amount: 0.04, unit: "USD", basis: "reported" });
});

test("the result has the page's URL and the amount that the create reported", async () => {
  answers(server, origin, accepted, succeeded);
  const result = await client.generate({ prompt: "x" });
  expect(result.image.url).toBe("https://...");
  expect(result.cost).toEqual({ amount: 0.02, unit: "USD", basis: "reported" });
});

test("the list price is $0.06 a request, whatever amount says", () => {
  expect(client.estimate({ prompt: "x" })).toEqual({ amount: 0.06, unit: "USD", basis: "list" });
  expect(client.estimate({ prompt: "x", n: 3 })?.amount).toBe(0.18);
});

test("job_id is read nested under data as the page's schema has it", () => {
  expect(read("create", response(200, { code: 0, data: { job_id: "nested" } }))).toMatchObject({
    state: "queued",
    id: "nested",
  });
});

test("job_id is read at the top level as the page's samples have it", () => {
  expect(read("create", response(200, { code: 0, job_id: "top" }))).toMatchObject({ id: "top" });
  expect(read("create", response(200, { job_id: "top" }))).toMatchObject({ id: "top" });
});

test("job_id under data wins over the one at the top level, and an empty one does not", () => {
  expect(
    read("create", response(200, { code: 0, job_id: "top", data: { job_id: "in" } })),
  ).toMatchObject({ id: "in" });
  expect(
    read("create", response(200, { code: 0, job_id: "top", data: { job_id: "" } })),
  ).toMatchObject({ id: "top" });
});

test("the page's own create response has an empty job_id: malformed, and the charge is unknown", async () => {
  const seen = answers(server, origin, [200, pages.shortapi.created]);
  await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({
    code: "malformed_response",
    charged: "unknown",
    retryable: false,
  });
  expect(seen).toHaveLength(1);
});

test.each([
  [0, "queued"],
  ["0", "queued"],
  [1, "running"],
  ["1", "running"],
  ["queued", "queued"],
  ["processing", "running"],
  ["RUNNING", "running"],
])("status %j is %s", (status, state) => {
  expect(read("query", response(200, { code: 0, data: { status } }))).toMatchObject({
    state,
    word: String(status),
    known: true,
  });
});

test.each([2, "2", "succeeded", "SUCCESS"])("status %j with a URL is success", (status) => {
  const result = { images: [{ url: "https://a.test/1.png" }, { url: "https://a.test/2.png" }] };
  expect(read("query", response(200, { code: 0, data: { status, result } }))).toMatchObject({
    state: "succeeded",
    outputs: [{ url: "https://a.test/1.png" }, { url: "https://a.test/2.png" }],
  });
});

test.each([3, "3", 4, 99, "failed", "cancelled", "error"])(
  "status %j is a failure that nobody says who pays for",
  (status) => {
    expect(
      read("query", response(200, { code: 0, data: { status, error: "boom" } })),
    ).toMatchObject({
      state: "failed",
      kind: "generation_failed",
      charged: "unknown",
      message: "boom",
      code: String(status),
    });
  },
);

test.each([-1, "reviewing", "2x"])("a status %j that nobody knows is still running", (status) => {
  expect(read("query", response(200, { code: 0, data: { status } }))).toMatchObject({
    state: "running",
    word: String(status),
    known: false,
  });
});

test("a refunded failure was not charged", async () => {
  answers(server, origin, accepted, [
    200,
    { code: 0, data: { status: 3, refunded: true, error: "upstream broke", amount: "0.02" } },
  ]);
  const error = await client.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: "generation_failed",
    charged: "no",
    retryable: true,
  });
  expect(String(error)).toContain("upstream broke");
  // The amount came back: whoever adds up what errors cost must not count it.
  expect(error).not.toHaveProperty("cost");
  expect(error).not.toHaveProperty("job.reference.tasks.0.cost");
});

test("a failure that speaks of the content policy is moderation", () => {
  const data = { status: 3, error: "Rejected by the safety system" };
  expect(read("query", response(200, { code: 0, data }))).toMatchObject({ kind: "moderation" });
  expect(read("query", response(200, { code: 0, data: { status: "moderated" } }))).toMatchObject({
    kind: "moderation",
  });
});

test("success without a URL was charged, and is malformed", () => {
  for (const result of [undefined, {}, { images: [] }, { images: [{}] }, { images: "x" }, null]) {
    expect(read("query", response(200, { code: 0, data: { status: 2, result } }))).toMatchObject({
      state: "failed",
      kind: "malformed_response",
      charged: "yes",
    });
  }
});

test.each(["info", "message", "msg", "error"])("a refusal's words are read from %s", (field) => {
  expect(read("create", response(200, { code: 1001, [field]: "no such size" }))).toMatchObject({
    state: "refused",
    charged: "no",
    message: "no such size",
    code: "1001",
  });
});

test("a refusal's words are read from data.info, and info goes before the others", () => {
  expect(read("create", response(200, { code: 1001, data: { info: "inside" } }))).toMatchObject({
    message: "inside",
  });
  expect(
    read("create", response(200, { code: 1, info: "first", message: "second" })),
  ).toMatchObject({
    message: "first",
  });
});

test("code 3000 says that the upstream is unstable, and nothing of the money", () => {
  expect(read("create", response(200, { code: 3000, info: "unstable" }))).toMatchObject({
    kind: "provider_unavailable",
    charged: "unknown",
    resend: "never",
    code: "3000",
  });
});

test("a refusal that says the balance is insufficient is about money", () => {
  expect(read("create", response(200, { code: 2001, info: "Insufficient balance" }))).toMatchObject(
    {
      kind: "insufficient_credits",
      charged: "no",
    },
  );
});

test.each([
  [400, "invalid_request", "no"],
  [401, "authentication", "no"],
  [402, "insufficient_credits", "no"],
  [429, "rate_limited", "no"],
  [408, "submission_unknown", "unknown"],
  [424, "submission_unknown", "unknown"],
  [499, "submission_unknown", "unknown"],
  [500, "submission_unknown", "unknown"],
  [503, "submission_unknown", "unknown"],
])("HTTP %i and body code %i mean the same for a create", (status, kind, charged) => {
  const words = { info: "why" };
  expect(read("create", response(status, words))).toMatchObject({ kind, charged });
  expect(read("create", response(200, { code: status, ...words }))).toMatchObject({
    kind,
    charged,
  });
});

test("a 5xx that speaks of safety is no certain refusal: the charge is unknown", () => {
  expect(read("create", response(502, { info: "safety service crashed" }))).toMatchObject({
    kind: "submission_unknown",
    charged: "unknown",
  });
});

test("a refused poll is asked again, since it says nothing of the job", () => {
  expect(read("query", response(200, { code: 3000, info: "unstable" }))).toMatchObject({
    state: "refused",
    charged: "unknown",
    resend: "wait",
  });
});

test.each([null, "", true, {}, "free", -1])("an amount of %j is no cost at all", (amount) => {
  const outcome = read("create", response(200, { code: 0, data: { job_id: "a", amount } }));
  expect(outcome).toMatchObject({ state: "queued", id: "a" });
  expect(outcome).toHaveProperty("cost", undefined);
});

test("an amount is read from a number as from a string", () => {
  expect(
    read("create", response(200, { code: 0, data: { job_id: "a", amount: 0.06 } })),
  ).toMatchObject({ cost: { amount: 0.06, unit: "USD", basis: "reported" } });
});

test("a prompt of 32,000 characters is taken and one more is not", () => {
  expect(client.check({ prompt: "😀".repeat(32_000) })).toEqual([]);
  expect(client.check({ prompt: "😀".repeat(32_001) })).toMatchObject([
    { code: "invalid_request", field: "prompt" },
  ]);
});

test("a create refused in words of moderation is moderation, and nobody says before or after the work", () => {
  expect(
    read("create", response(400, { code: 400, info: "May violate content policies" })),
  ).toMatchObject({
    state: "refused",
    kind: "moderation",
    charged: "unknown",
    resend: "never",
  });
});
