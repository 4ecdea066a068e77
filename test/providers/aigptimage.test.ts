import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import { aigptimage } from "../../src/index";
import { answers, clientOf, json, jumpingClock, pages, response } from "./fixtures";

const origin = "https://aigptimage.com";
const server = setupServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

const provider = aigptimage({ apiKey: "sk-aigptimage-test" });
const { read } = provider.adapter;
const client = clientOf(provider);
const created = [200, pages.aigptimage.created] as const;
const waiting = [200, pages.aigptimage.waiting] as const;
const succeeded = [200, pages.aigptimage.succeeded] as const;
const record = (data: object) => response(200, { code: 200, msg: "success", data });

test("the page's own request is sent exactly, with a request id and the key", async () => {
  const seen = answers(server, origin, created, waiting, succeeded);
  const { input } = json(pages.aigptimage.request) as {
    input: { prompt: string; aspect_ratio: string; resolution: string };
  };
  const { prompt, aspect_ratio: aspectRatio, resolution } = input;
  await client.generate({ prompt, aspectRatio, resolution });
  const [create, query, again] = seen;
  expect(create).toMatchObject({ method: "POST", url: `${origin}/api/v1/jobs/createTask` });
  expect(create?.body).toEqual(json(pages.aigptimage.request));
  expect(create?.headers.get("authorization")).toBe("Bearer sk-aigptimage-test");
  expect(create?.headers.get("x-request-id")).toMatch(/\S{16,}/);
  const url = `${origin}/api/v1/jobs/recordInfo?taskId=task_xxxxxxxxxxxxx`;
  expect(query).toMatchObject({ method: "GET", url });
  expect(again).toMatchObject({ method: "GET", url });
});

test("quality and output_format are passed through, whatever word they are", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.generate({ prompt: "x", quality: "xhigh", outputFormat: "avif" });
  expect(seen[0]?.body).toEqual({
    model: "gpt-image-2-text-to-image",
    input: { prompt: "x", quality: "xhigh", output_format: "avif" },
  });
});

test.each(["auto", "1:1", "4:5", "3:4", "2:3", "16:9", "9:16", "21:9", "7:5"])(
  "aspect ratio %s is sent as it is: the page's list is not closed",
  async (aspectRatio) => {
    const seen = answers(server, origin, created, succeeded);
    await client.generate({ prompt: "x", aspectRatio });
    expect(seen[0]?.body).toMatchObject({ input: { aspect_ratio: aspectRatio } });
  },
);

test("a size in pixels becomes the ratio and the resolution that stand for it", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.generate({ prompt: "x", size: "2160x3840" });
  expect(seen[0]?.body).toMatchObject({ input: { aspect_ratio: "9:16", resolution: "4K" } });
});

test("what a relative refuses (4K at 1:1, 2K at auto) is left for the provider to judge", () => {
  expect(client.check({ prompt: "x", aspectRatio: "1:1", resolution: "4K" })).toEqual([]);
  expect(client.check({ prompt: "x", aspectRatio: "auto", resolution: "2K" })).toEqual([]);
});

test("an edit sends its URLs as input_urls to the image-to-image model", async () => {
  const seen = answers(server, origin, created, succeeded);
  const images = ["https://a.test/1.png", "https://a.test/2.webp"];
  await client.edit({ prompt: "snow", images });
  expect(seen[0]?.body).toEqual({
    model: "gpt-image-2-image-to-image",
    input: { prompt: "snow", input_urls: images },
  });
});

test("another model can be asked for by providerOptions", async () => {
  const seen = answers(server, origin, created, succeeded);
  await client.generate({ prompt: "x", providerOptions: { aigptimage: { model: "gpt-image-3" } } });
  expect(seen[0]?.body).toMatchObject({ model: "gpt-image-3" });
});

test("an input by plain http is refused: this provider takes public https URLs alone", () => {
  expect(client.check({ prompt: "x", images: ["http://a.test/1.png"] })).toMatchObject([
    { code: "unsupported", field: "images[0]", taken: "a public https URL" },
  ]);
});

test("the page's success is read: model, URL, and no cost, since none is reported", async () => {
  answers(server, origin, [200, pages.aigptimage.createdReal], succeeded);
  const result = await client.generate({ prompt: "x" });
  expect(result.image.url).toBe(
    "https://cdn.aigptimage.com/generation/image/3ebe82c2-3abc-4015-9608-901baca54948/1.png",
  );
  expect(result.model).toBe("gpt-image-2-text-to-image");
  expect(result.cost).toBeUndefined();
  expect(result.job.reference.tasks[0]?.id).toBe("3ebe82c2-3abc-4015-9608-901baca54948");
  expect(client.estimate({ prompt: "x" })).toBeUndefined();
});

test("resultJson is read as the page's JSON string", () => {
  const data = { state: "success", resultJson: pages.aigptimage.resultJson };
  expect(read("query", record(data))).toMatchObject({
    state: "succeeded",
    outputs: [{ url: "https://your-cdn.example.com/result-1.png" }],
  });
});

test("resultJson is read as the object that relatives send", () => {
  const data = { state: "success", resultJson: json(pages.aigptimage.resultJson) };
  expect(read("query", record(data))).toMatchObject({
    outputs: [{ url: "https://your-cdn.example.com/result-1.png" }],
  });
});

test.each([null, "", "{", "[]", "null", { resultUrls: [] }, { resultUrls: [""] }, 7])(
  "success with resultJson %j has no URL: malformed, and it was charged",
  (resultJson) => {
    expect(read("query", record({ state: "success", resultJson }))).toMatchObject({
      state: "failed",
      kind: "malformed_response",
      charged: "yes",
    });
  },
);

test.each([
  ["waiting", "queued"],
  ["queuing", "queued"],
  ["generating", "running"],
])("state %s is %s", (word, state) => {
  expect(read("query", record({ state: word }))).toMatchObject({ state, word, known: true });
});

test("progress is read as a part of one, from a number or a string", () => {
  expect(read("query", record({ state: "generating", progress: 40 }))).toMatchObject({
    progress: 0.4,
  });
  expect(read("query", record({ state: "generating", progress: "25" }))).toMatchObject({
    progress: 0.25,
  });
});

test.each([null, "", true, "soon", -1, 400, {}])("a progress of %j says nothing", (progress) => {
  const outcome = read("query", record({ state: "generating", progress }));
  expect(outcome).toMatchObject({ state: "running" });
  expect(outcome).toHaveProperty("progress", undefined);
});

test("an unknown state word means still running", () => {
  expect(read("query", record({ state: "polishing" }))).toMatchObject({
    state: "running",
    word: "polishing",
    known: false,
  });
});

test("a failed task has its code and its words, and nobody says who pays", async () => {
  const data = { state: "fail", failCode: "400", failMsg: "Internal error, please try again" };
  answers(server, origin, created, [200, { code: 200, msg: "success", data }]);
  await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({
    code: "generation_failed",
    providerCode: "400",
    charged: "unknown",
    retryable: false,
    message: expect.stringContaining("Internal error, please try again"),
  });
});

test("a refusal by moderation is told by its words", () => {
  const failMsg = "Your prompt may violate OpenAI's content policies.";
  const data = { state: "fail", failCode: "400", failMsg };
  expect(read("query", record(data))).toMatchObject({ kind: "moderation", message: failMsg });
});

test.each([400, 404, 422, 500, 501])("the state decides, whatever code %i says", (code) => {
  const data = { state: "success", resultJson: pages.aigptimage.resultJson };
  expect(read("query", response(200, { code, msg: "?", data }))).toMatchObject({
    state: "succeeded",
  });
  expect(
    read("query", response(200, { code, msg: "?", data: { state: "waiting" } })),
  ).toMatchObject({
    state: "queued",
  });
});

test.each([
  [400, "invalid_request", "no", "never"],
  [401, "authentication", "no", "never"],
  [402, "insufficient_credits", "no", "never"],
  [404, "invalid_request", "no", "never"],
  [409, "rate_limited", "no", "wait"],
  [422, "invalid_request", "no", "never"],
  [429, "rate_limited", "no", "wait"],
  [433, "rate_limited", "no", "never"],
  [455, "provider_unavailable", "no", "never"],
  [500, "submission_unknown", "unknown", "keyed"],
  [501, "submission_unknown", "unknown", "keyed"],
  [505, "provider_unavailable", "no", "never"],
])("body code %i with HTTP 200 is %s, charged %s", (code, kind, charged, resend) => {
  const expected = { state: "refused", kind, charged, resend, message: "why", code: String(code) };
  expect(read("create", response(200, { code, msg: "why" }))).toMatchObject(expected);
  expect(read("create", response(200, { code: String(code), msg: "why" }))).toMatchObject(expected);
  if (code >= 500) return;
  expect(read("create", response(code, { code, msg: "why" }))).toMatchObject(expected);
});

test("a 5xx to a create leaves open whether it was accepted, whatever code its body has", () => {
  for (const status of [500, 502, 503, 504, 505]) {
    for (const code of [409, 429, 500, 503, status]) {
      const outcome = read("create", response(status, { code, msg: "why" }));
      expect(outcome).toMatchObject({ charged: "unknown", code: String(code), message: "why" });
    }
    // Its key would help, though not against an empty account.
    expect(read("create", response(status, { code: 500 }))).toMatchObject({ resend: "keyed" });
    expect(read("create", response(status, { code: 402 }))).toMatchObject({ resend: "never" });
  }
});

test("a 5xx with a taskId and code 200 was accepted all the same", () => {
  const body = { code: 200, msg: "success", data: { taskId: "task-1" } };
  expect(read("create", response(502, body))).toMatchObject({ state: "queued", id: "task-1" });
});

test("a bare 505 that no envelope explains is any gateway's: the charge is unknown", () => {
  expect(read("create", response(505, {}))).toMatchObject({ charged: "unknown", resend: "keyed" });
});

test("retryAfter in the body of a 429 is in seconds, with HTTP 200 too", () => {
  const data = { retryAfter: 7, limit: 1, tier: "free", windowSeconds: 1 };
  for (const status of [200, 429]) {
    for (const phase of ["create", "query"] as const) {
      expect(read(phase, response(status, { code: 429, msg: "slow down", data }))).toMatchObject({
        kind: "rate_limited",
        retryAfterMs: 7_000,
        resend: "wait",
      });
    }
  }
});

test("a header's Retry-After counts where the body names none", () => {
  const slow = response(429, { code: 429, msg: "slow" }, { "retry-after": "3" });
  expect(read("create", slow)).toMatchObject({ retryAfterMs: 3_000 });
});

test("a create refused with 429 waits as long as the body says, and keeps its request id", async () => {
  const clock = jumpingClock();
  const sent: { at: number; id: string | null }[] = [];
  const start = clock.now();
  const replies = [
    { code: 429, msg: "slow", data: { retryAfter: 7 } },
    { code: 409, msg: "one active task", data: { retryAfter: 5 } },
    json(pages.aigptimage.created),
    json(pages.aigptimage.succeeded),
  ];
  const waiter = new ProviderClient(
    {
      provider,
      fetch: async (_url, init) => {
        const id = new Headers(init?.headers).get("x-request-id");
        sent.push({ at: clock.now() - start, id });
        return Response.json(replies[sent.length - 1]);
      },
    },
    clock,
  );
  await waiter.generate({ prompt: "x" });
  expect(sent.slice(0, 3).map(({ at }) => at)).toEqual([0, 7_000, 12_000]);
  expect(new Set(sent.slice(0, 3).map(({ id }) => id)).size).toBe(1);
  expect(sent[0]?.id).toBeTruthy();
});

test("recordInfo is null just after the create: not yet, rather than lost", async () => {
  expect(read("query", response(200, { code: 422, msg: "recordInfo is null" }))).toMatchObject({
    state: "absent",
  });
  expect(read("query", response(422, { code: 422, msg: "recordInfo is null" }))).toMatchObject({
    state: "absent",
  });
  answers(
    server,
    origin,
    created,
    [200, { code: 422, msg: "recordInfo is null" }],
    [404, { code: 404, msg: "not found" }],
    [200, { code: 404, msg: "not found" }],
    succeeded,
  );
  const { image } = await client.generate({ prompt: "x" });
  expect(image.url).toMatch(/1\.png$/);
});

test("a record that is still null after 15 s ends the waiting with the job on the error", async () => {
  const clock = jumpingClock();
  const start = clock.now();
  const patient = new ProviderClient(
    {
      provider,
      fetch: async (_url, init) =>
        init?.method === "POST"
          ? new Response(pages.aigptimage.created)
          : Response.json({ code: 422, msg: "recordInfo is null" }),
    },
    clock,
  );
  const error = await patient.generate({ prompt: "x" }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "generation_failed", charged: "unknown" });
  expect(error).toHaveProperty("job.reference.tasks.0.id", "task_xxxxxxxxxxxxx");
  expect(clock.now() - start).toBeGreaterThanOrEqual(15_000);
  expect(clock.now() - start).toBeLessThan(25_000);
});

test("code 501 to a poll is a generation that failed", () => {
  expect(read("query", response(200, { code: 501, msg: "generation failed" }))).toMatchObject({
    state: "failed",
    kind: "generation_failed",
    charged: "unknown",
  });
});

test("success without a taskId is malformed, and may be sent again under its key", () => {
  expect(read("create", response(200, { code: 200, msg: "success", data: {} }))).toMatchObject({
    kind: "malformed_response",
    charged: "unknown",
    resend: "keyed",
  });
  expect(read("create", response(200, { code: 200, data: { taskId: "" } }))).toMatchObject({
    kind: "malformed_response",
  });
});

test("20,000 characters are counted as people count them: an emoji is one", async () => {
  expect(client.check({ prompt: "a".repeat(20_000) })).toEqual([]);
  expect(client.check({ prompt: "😀".repeat(20_000) })).toEqual([]);
  for (const prompt of ["a".repeat(20_001), "😀".repeat(20_001)]) {
    const [problem] = client.check({ prompt });
    expect(problem).toMatchObject({ field: "prompt", taken: "at most 20,000 characters" });
    expect(problem?.message).not.toContain("aaaa");
    expect(problem?.message).not.toContain("😀");
  }
});

test("a create refused in words of moderation is moderation, and nobody says before or after the work", () => {
  expect(
    read("create", response(400, { code: 400, msg: "May violate content policies" })),
  ).toMatchObject({
    state: "refused",
    kind: "moderation",
    charged: "unknown",
    resend: "never",
  });
});
