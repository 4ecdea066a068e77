import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import type { SandboxFaultKind, SandboxPhase, SandboxProvider } from "../../src/testing/sandbox";
import {
  create,
  createPath,
  finished,
  generate,
  headersFor,
  imageUrl,
  jobDurationMs,
  pass,
  poll,
  post,
  query,
  responseOf,
  restart,
  samples,
  sandbox,
  stopClock,
  useSandbox,
} from "./support/requests";

useSandbox();

function inject(
  provider: SandboxProvider,
  phase: SandboxPhase,
  fault: SandboxFaultKind,
  more = {},
) {
  sandbox.inject({ provider, phase, ...fault, ...more });
}

test("a fault hits so many requests, after letting so many through", async () => {
  inject("trinetra", "create", { fault: "unavailable" }, { after: 1, times: 2 });
  const statuses = [];
  for (let count = 0; count < 5; count += 1) statuses.push((await post("trinetra")).status);
  expect(statuses).toEqual([202, 503, 503, 202, 202]);
});

test("a fault that makes no sense is an error", () => {
  const wrong = (provider: SandboxProvider, phase: SandboxPhase, fault: SandboxFaultKind) => () =>
    inject(provider, phase, fault);
  expect(wrong("shortapi", "create", { fault: "not-an-image" })).toThrow("is for download");
  expect(wrong("openaiCompatible", "poll", { fault: "hang" })).toThrow("nothing to poll");
  expect(wrong("openaiCompatible", "create", { fault: "empty-id" })).toThrow("needs a provider");
  // @ts-expect-error a fault that is not one
  expect(wrong("shortapi", "create", { fault: "flood" })).toThrow('no fault "flood"');
});

test("a reset before acceptance costs nothing, one after it is billed", async () => {
  inject("shortapi", "create", { fault: "reset-before-acceptance" });
  await expect(post("shortapi")).rejects.toThrow("fetch failed");
  expect(sandbox.charges).toEqual([]);
  inject("shortapi", "create", { fault: "reset-after-acceptance" });
  await expect(post("shortapi")).rejects.toMatchObject({ cause: { code: "ECONNRESET" } });
  expect(sandbox.charges).toHaveLength(1);
});

test("OpenAI bills what it generated even when the response is lost", async () => {
  // Long enough to be seen under way, and given up, on a slow machine.
  await restart({ jobDurationMs: 500 });
  inject("openaiCompatible", "create", { fault: "reset-after-acceptance" });
  await expect(post("openaiCompatible")).rejects.toThrow("fetch failed");
  expect(sandbox.charges).toHaveLength(1);
  const impatience = new AbortController();
  const answering = fetch(`${sandbox.openaiCompatible.baseURL}/images/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headersFor("openaiCompatible") },
    body: JSON.stringify(samples.openaiCompatible),
    signal: impatience.signal,
  });
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(2), 20_000);
  impatience.abort(new Error("no patience"));
  await expect(answering).rejects.toThrow("no patience");
  await vi.waitFor(() => expect(sandbox.charges).toHaveLength(2), 20_000);
});

test("a slow response is accepted at once", async () => {
  inject("trinetra", "create", { fault: "slow", delayMs: 80 });
  const startedAt = Date.now();
  const answering = post("trinetra");
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(1), 20_000);
  expect((await answering).status).toBe(202);
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(79);
});

test("a hanging response is accepted, and ends when the sandbox closes", async () => {
  inject("aigptimage", "create", { fault: "hang" });
  const answering = expect(post("aigptimage")).rejects.toThrow("fetch failed");
  await vi.waitFor(() => expect(sandbox.charges).toHaveLength(1), 20_000);
  await sandbox.close();
  await answering;
});

test("closing ends answers that are still under way", async () => {
  await restart({ jobDurationMs: 60_000 });
  const answering = expect(post("openaiCompatible")).rejects.toThrow("fetch failed");
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(1), 20_000);
  await sandbox.close();
  await answering;
});

test("a download can hang in the middle of the image", async () => {
  const url = await imageUrl();
  inject("shortapi", "download", { fault: "hang", afterBytes: 100 });
  const response = await fetch(url);
  const reader = response.body?.getReader();
  expect((await reader?.read())?.value?.byteLength).toBe(100);
  const next = reader?.read().catch(() => "ended");
  expect(await Promise.race([next, sleep(30, "silent")])).toBe("silent");
  await sandbox.close();
  expect(await next).toBe("ended");
});

test("a rate limit says in the header, as a date or in the body when to come again", async () => {
  const limited = async (provider: SandboxProvider, as?: "header" | "date" | "body") => {
    inject(provider, "create", { fault: "rate-limited", retryAfterSeconds: 7, ...(as && { as }) });
    const response = await post(provider);
    return {
      status: response.status,
      after: response.headers.get("retry-after"),
      body: await response.text(),
    };
  };
  expect(await limited("shortapi")).toMatchObject({ status: 429, after: "7" });
  const { after } = await limited("trinetra", "date");
  expect(Date.parse(after ?? "") - Date.now()).toBeGreaterThan(4_000);
  const inBody = await limited("aigptimage", "body");
  expect([inBody.after, JSON.parse(inBody.body).data.retryAfter]).toEqual([null, 7]);
  expect((await limited("openaiCompatible", "body")).body).toContain("try again in 7s");
  inject("shortapi", "create", { fault: "rate-limited" });
  expect((await post("shortapi")).headers.get("retry-after")).toBeNull();
  expect(sandbox.jobs).toEqual([]);
});

test("an outage comes as a proxy's page or in the provider's own form", async () => {
  inject("aigptimage", "create", { fault: "unavailable", status: 502 });
  const page = await post("aigptimage");
  expect([page.status, page.headers.get("content-type")]).toEqual([502, "text/html"]);
  inject("aigptimage", "create", {
    fault: "unavailable",
    status: 503,
    ownBody: true,
    retryAfterSeconds: 3,
  });
  const own = await post("aigptimage");
  expect(own.headers.get("retry-after")).toBe("3");
  expect(await responseOf(own)).toMatchObject([503, { code: 503 }]);
  expect(sandbox.jobs).toEqual([]);
});

test("every fault of a poll leaves the job as it is", async () => {
  const jobId = await create("trinetra");
  for (const fault of [
    { fault: "rate-limited" },
    { fault: "unavailable", status: 504 },
    { fault: "refusal", status: 403, code: "forbidden" },
    { fault: "malformed", body: "<html>", contentType: "text/html" },
  ] as const) {
    inject("trinetra", "poll", fault);
    const response = await query("trinetra", jobId);
    expect(response.status).toBe(
      { "rate-limited": 429, unavailable: 504, refusal: 403, malformed: 200 }[fault.fault],
    );
  }
  for (const fault of ["reset-before-acceptance", "reset-after-acceptance"] as const) {
    inject("trinetra", "poll", { fault });
    await expect(query("trinetra", jobId)).rejects.toThrow("fetch failed");
  }
  inject("trinetra", "poll", { fault: "fewer-images", images: 1 });
  expect(await poll("trinetra", jobId)).toMatchObject({ status: "succeeded" });
});

test("a refusal's own code is told", async () => {
  for (const provider of ["shortapi", "aigptimage"] as const) {
    inject(provider, "create", { fault: "refusal", status: 500, code: 3000, envelope: true });
    expect(await responseOf(await post(provider))).toMatchObject([200, { code: 3000 }]);
  }
});

test("a create may be accepted behind a 502", async () => {
  inject("shortapi", "create", { fault: "accepted-but-unavailable" });
  expect((await post("shortapi")).status).toBe(502);
  expect(sandbox.charges).toHaveLength(1);
});

test("a malformed response is half of the true one, or what was asked for", async () => {
  inject("shortapi", "create", { fault: "malformed" });
  await expect((await post("shortapi")).json()).rejects.toThrow("JSON");
  expect(sandbox.charges).toHaveLength(1);
  inject("shortapi", "create", { fault: "malformed", body: "[]", status: 201 });
  expect(await responseOf(await post("shortapi"))).toEqual([201, []]);
});

test("a refused create is not touched by a fault of acceptance", async () => {
  inject("trinetra", "create", { fault: "reset-after-acceptance" });
  expect((await post("trinetra", {})).status).toBe(400);
});

test("a success may come without an image, and is billed", async () => {
  for (const provider of ["shortapi", "aigptimage", "trinetra", "openaiCompatible"] as const)
    inject(provider, "create", { fault: "no-image" });
  expect((await finished("shortapi")).data).toEqual({ status: 2, result: { images: [] } });
  expect((await finished("aigptimage")).data.resultJson).toBe('{"resultUrls":[]}');
  expect((await finished("trinetra")).output).toEqual({ outputs: [] });
  expect((await generate()).data).toEqual([]);
  expect(sandbox.charges).toHaveLength(4);
});

test("fewer images than asked for are billed as so many", async () => {
  inject("trinetra", "create", { fault: "fewer-images", images: 2 });
  const reply = await finished("trinetra", { prompt: "a fox", n: 4 });
  expect([reply.output.outputs.length, reply.credits_charged]).toEqual([2, 14]);
  expect(sandbox.charges).toMatchObject([{ images: 2, amount: 14 }]);
});

test("a poll may find a success without an image", async () => {
  const jobId = await create("shortapi");
  inject("shortapi", "poll", { fault: "no-image" });
  expect(await (await query("shortapi", jobId)).json()).toMatchObject({
    data: { status: 2, result: { images: [] } },
  });
});

test("a create may name an empty job", async () => {
  inject("shortapi", "create", { fault: "empty-id" });
  expect(await create("shortapi")).toBe("");
  expect(sandbox.charges).toHaveLength(1);
});

test("a refusal comes in the provider's own form", async () => {
  const refused = async (provider: SandboxProvider, more: object = {}) => {
    inject(provider, "create", { fault: "refusal", status: 402, message: "broke", ...more });
    return responseOf(await post(provider));
  };
  expect(await refused("shortapi", { envelope: true })).toEqual([
    200,
    { code: 402, info: "broke", data: null },
  ]);
  expect(await refused("aigptimage")).toEqual([402, { code: 402, msg: "broke", data: null }]);
  expect(await refused("trinetra")).toEqual([402, { error: { code: 402, message: "broke" } }]);
  expect(await refused("openaiCompatible", { status: 429, code: "insufficient_quota" })).toEqual([
    429,
    {
      error: {
        message: "broke",
        type: "invalid_request_error",
        param: null,
        code: "insufficient_quota",
      },
    },
  ]);
  expect(sandbox.charges).toEqual([]);
});

test("moderation says no in each provider's own way", async () => {
  for (const provider of ["shortapi", "aigptimage", "trinetra"] as const)
    inject(provider, "create", { fault: "moderation" });
  expect((await finished("shortapi")).data).toEqual({
    status: 3,
    error: expect.stringContaining("safety system"),
    refunded: true,
  });
  expect((await finished("aigptimage")).data).toMatchObject({
    state: "fail",
    failCode: "400",
    failMsg: expect.stringContaining("may violate OpenAI's content policies."),
  });
  expect(await finished("trinetra")).toMatchObject({
    status: "failed",
    error: { message: expect.stringContaining("moderation") },
    credits_charged: 0,
  });
  inject("openaiCompatible", "create", {
    fault: "moderation",
    stage: "input",
    categories: ["self-harm"],
  });
  expect(await responseOf(await post("openaiCompatible"))).toMatchObject([
    400,
    {
      error: {
        code: "moderation_blocked",
        type: "image_generation_user_error",
        moderation_details: { moderation_stage: "input", categories: ["self-harm"] },
      },
    },
  ]);
  expect(sandbox.charges.map(({ provider }) => provider)).toEqual(["aigptimage"]);
});

test("a failed job is refunded or not, as asked", async () => {
  inject("shortapi", "create", { fault: "failure", message: "out of paint" });
  expect((await finished("shortapi")).data).toEqual({
    status: 3,
    error: "out of paint",
    refunded: true,
  });
  expect(sandbox.charges).toEqual([]);
  inject("shortapi", "create", { fault: "failure", refunded: false });
  expect((await finished("shortapi")).data).not.toHaveProperty("refunded");
  expect(sandbox.charges).toHaveLength(1);
  inject("openaiCompatible", "create", { fault: "failure" });
  expect((await post("openaiCompatible")).status).toBe(500);
  expect(sandbox.charges).toHaveLength(1);
});

test("a job may fail at a poll, even after it had succeeded", async () => {
  stopClock();
  const jobId = await create("trinetra");
  pass(jobDurationMs);
  expect(sandbox.charges).toHaveLength(1);
  inject("trinetra", "poll", { fault: "failure" });
  for (let count = 0; count < 2; count += 1)
    expect(await (await query("trinetra", jobId)).json()).toMatchObject({ status: "failed" });
  expect(sandbox.charges).toEqual([]);
  expect(sandbox.jobs).toEqual([{ provider: "trinetra", jobId, state: "failed" }]);
});

test("a poll may say a word that nobody knows, once or while the job runs", async () => {
  stopClock();
  const jobId = await create("aigptimage");
  inject("aigptimage", "poll", { fault: "unknown-state", word: "dreaming" });
  const state = async (id: string) => (await poll("aigptimage", id)).data.state;
  expect([await state(jobId), await state(jobId)]).toEqual(["dreaming", "waiting"]);
  inject("aigptimage", "create", { fault: "unknown-state", word: "musing" });
  const other = await create("aigptimage");
  expect([await state(other), await state(other)]).toEqual(["musing", "musing"]);
  pass(jobDurationMs);
  expect(await state(other)).toBe("success");
});

test("a poll may miss a job that exists", async () => {
  const jobId = await create("trinetra");
  inject("trinetra", "poll", { fault: "missing" });
  expect((await query("trinetra", jobId)).status).toBe(404);
  expect((await query("trinetra", jobId)).status).toBe(200);
});

test("a URL may be expired for good, while a fresh one works", async () => {
  const url = await imageUrl();
  inject("shortapi", "download", { fault: "expired", status: 410 });
  expect([(await fetch(url)).status, (await fetch(url)).status]).toEqual([410, 410]);
  inject("shortapi", "create", { fault: "expired" });
  expect((await fetch(await imageUrl())).status).toBe(403);
  const again = await poll("shortapi", sandbox.jobs[1]?.jobId ?? "");
  expect((await fetch(again.data.result.images[0].url)).status).toBe(200);
});

test("a truncated download ends before the length it promised", async () => {
  const url = await imageUrl();
  inject("shortapi", "download", { fault: "truncated" });
  await expect((await fetch(url)).arrayBuffer()).rejects.toThrow("terminated");
  expect((await (await fetch(url)).arrayBuffer()).byteLength).toBeGreaterThan(0);
});

test("a huge response comes without a length", async () => {
  const url = await imageUrl();
  inject("shortapi", "download", { fault: "huge", bytes: 3_000_000 });
  const response = await fetch(url);
  expect(response.headers.get("content-length")).toBeNull();
  expect((await response.arrayBuffer()).byteLength).toBe(3_000_000);
  inject("shortapi", "download", { fault: "huge", bytes: 300_000_000 });
  await (await fetch(url)).body?.cancel();
});

test("a download may turn out to be a page, lead elsewhere or fail", async () => {
  const url = await imageUrl();
  inject("shortapi", "download", { fault: "not-an-image" });
  const page = await fetch(url);
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html"]);
  inject("shortapi", "download", { fault: "redirect", location: "http://169.254.169.254/" });
  const elsewhere = await fetch(url, { redirect: "manual" });
  expect([elsewhere.status, elsewhere.headers.get("location")]).toEqual([
    302,
    "http://169.254.169.254/",
  ]);
  inject("shortapi", "download", { fault: "reset-before-acceptance" });
  await expect(fetch(url)).rejects.toThrow("fetch failed");
  inject("shortapi", "download", { fault: "unavailable", ownBody: true });
  expect((await fetch(url)).headers.get("content-type")).toBe("application/xml");
});

test("a create that is sent elsewhere is not accepted", async () => {
  inject("trinetra", "create", { fault: "redirect", location: sandbox.cdnUrl });
  const response = await fetch(`${sandbox.trinetra.baseURL}${createPath.trinetra}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headersFor("trinetra") },
    body: JSON.stringify(samples.trinetra),
    redirect: "manual",
  });
  expect(response.status).toBe(307);
  expect(sandbox.jobs).toEqual([]);
});
