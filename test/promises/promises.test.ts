import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { AnyImageError } from "../../src/errors";
import type { SandboxFaultKind, SandboxProvider } from "../../src/testing/sandbox";
import type { ImageEvent, ImageJob, JobReference } from "../../src/types";
import { TestClock } from "../support/clock";
import { deadPort, pixel, sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  providerOf,
  reasonOf,
  startStage,
  systemClock,
  typesOf,
  unkeyed,
  until,
} from "../support/stage";

// The promises of the package: what was charged, what is sent again, what is never lost. What counts
// is what arrived at the server.

// ---- nothing was sent, or the provider itself said no: not charged ----

test.for(allProviders)(
  "a refused connection to %s makes three attempts at most, charges nothing, and is retryable",
  async (name) => {
    const port = await deadPort();
    const events: ImageEvent[] = [];
    const provider = providerOf(name, { baseURL: `http://127.0.0.1:${port}`, apiKey: "a-key" });
    const clock = new TestClock();
    const client = new ProviderClient({ provider, onEvent: (event) => events.push(event) }, clock);
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({
      name: "ProviderUnavailableError",
      charged: "no",
      retryable: true,
    });
    expect(typesOf(events)).toEqual([
      ...["submitting", "retry", "submitting", "retry", "submitting", "failed"],
    ]);
    expect(clock.elapsedMs).toBeLessThan(60_000);
  },
);

test.for(allProviders)("a missing key of %s is an error before anything is sent", async (name) => {
  await using stage = await startStage();
  const access = { ...stage.sandbox[name], apiKey: "" };
  const client = new ProviderClient({ provider: providerOf(name, access) }, stage.clock);
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "AuthenticationError", charged: "no" });
  expect(stage.sandbox.requests).toHaveLength(0);
});

const refusals: readonly (readonly [number, AnyImageError["name"]])[] = [
  [400, "InvalidRequestError"],
  [401, "AuthenticationError"],
  [402, "InsufficientCreditsError"],
  [403, "PermissionDeniedError"],
  [404, "InvalidRequestError"],
  [422, "InvalidRequestError"],
];

test.for(
  allProviders.flatMap((name) => refusals.map(([status, kind]) => ({ name, status, kind }))),
)(
  "a create that $name refuses with $status is sent once, not charged, and a $kind",
  async ({ name, status, kind }) => {
    await using stage = await startStage();
    stage.sandbox.inject({
      ...{ provider: name, phase: "create", fault: "refusal", status, times: Infinity },
      message: "No, thank you.",
    });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ name: kind, charged: "no", status });
    expect(error.message).toContain("No, thank you.");
    expect(error.requestId).toMatch(/^req_/);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

test.for(allProviders)(
  "a 429 of %s without Retry-After is sent again after a wait that grows",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "rate-limited", times: 4 });
    const delays: number[] = [];
    const onEvent = (event: ImageEvent) => {
      if (event.type === "retry" && event.phase === "create") delays.push(event.delayMs);
    };
    await stage.client(name, { onEvent }).generate({ prompt });
    expect(stage.count("create")).toBe(5);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(delays).toHaveLength(4);
    for (const [index, delay] of delays.entries()) {
      expect(delay).toBeGreaterThanOrEqual(750 * 2 ** index);
      expect(delay).toBeLessThanOrEqual(1_000 * 2 ** index);
    }
  },
);

test("a 429 of OpenAI that means an empty account is not sent again", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "refusal", times: Infinity },
    ...{ status: 429, code: "insufficient_quota" },
  });
  const error = await failureOf(stage.client("openaiCompatible").generate({ prompt }));
  await aMoment();
  expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
  expect(stage.count("create")).toBe(1);
});

test("aigptimage's 409 is waited out: sent again until a task is free, and billed once", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({
    ...{ provider: "aigptimage", phase: "create", fault: "refusal", status: 409, times: 3 },
    message: "Active task limit exceeded",
  });
  const { images } = await stage.client("aigptimage").generate({ prompt });
  expect(images).toHaveLength(1);
  expect(stage.count("create")).toBe(4);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test.for(unkeyed)("a 409 of %s is a refusal like others: sent once", async (name) => {
  await using stage = await startStage();
  const fault = { fault: "refusal", status: 409, times: Infinity } as const;
  stage.sandbox.inject({ provider: name, phase: "create", ...fault });
  const error = await failureOf(stage.client(name).generate({ prompt }));
  await aMoment();
  expect(error.charged).toBe("no");
  expect(stage.count("create")).toBe(1);
});

// ---- the answer was lost, or says nothing: the charge is unknown, and only a key sends it again ----

const doubtful: readonly { what: string; fault: SandboxFaultKind }[] = [
  { what: "408", fault: { fault: "refusal", status: 408 } },
  { what: "499", fault: { fault: "refusal", status: 499 } },
  { what: "500 of its own", fault: { fault: "unavailable", status: 500, ownBody: true } },
  { what: "502", fault: { fault: "unavailable", status: 502 } },
  { what: "a gateway's 503 page", fault: { fault: "unavailable", status: 503 } },
  { what: "a 503 page with Retry-After", fault: { fault: "unavailable", retryAfterSeconds: 40 } },
  { what: "a 503 in its own words", fault: { fault: "unavailable", ownBody: true } },
  { what: "423", fault: { fault: "refusal", status: 423 } },
  { what: "424", fault: { fault: "refusal", status: 424 } },
  { what: "425", fault: { fault: "refusal", status: 425 } },
  { what: "504", fault: { fault: "unavailable", status: 504 } },
  { what: "502 after acceptance", fault: { fault: "accepted-but-unavailable" } },
  { what: "503 after acceptance", fault: { fault: "accepted-but-unavailable", status: 503 } },
  { what: "half of its JSON", fault: { fault: "malformed" } },
  { what: "an empty body", fault: { fault: "malformed", body: "" } },
  { what: "JSON that means nothing", fault: { fault: "malformed", body: "[]" } },
  { what: "a body that breaks off", fault: { fault: "truncated" } },
  { what: "301", fault: { fault: "redirect", location: "/elsewhere", status: 301 } },
  { what: "302", fault: { fault: "redirect", location: "/elsewhere", status: 302 } },
  { what: "303", fault: { fault: "redirect", location: "/elsewhere", status: 303 } },
];

test.for(unkeyed.flatMap((name) => doubtful.map((each) => ({ name, ...each }))))(
  "a create that $name answers with $what is sent once, and its charge is unknown",
  async ({ name, fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", ...fault, times: Infinity });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.requests).toHaveLength(1);
    expect(error.charged).toBe("unknown");
    expect(error.retryable).toBe(false);
    expect(["SubmissionUnknownError", "MalformedResponseError"]).toContain(error.name);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  },
);

test.for(doubtful)(
  "a create that aigptimage answers with $what is sent again under the same key, and billed once",
  async ({ fault }) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...fault, times: 2 });
    const { image } = await stage.client("aigptimage").generate({ prompt });
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("create")).toBe(3);
    const keys = stage.requests("create").map((each) => each.headers["x-request-id"]);
    expect(new Set(keys).size).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(stage.sandbox.charges[0]?.idempotencyKey).toBe(keys[0]);
  },
);

test("aigptimage's create is sent five times at most when every answer is lost", async () => {
  await using stage = await startStage();
  const fault = { fault: "reset-after-acceptance", times: Infinity } as const;
  stage.sandbox.inject({ provider: "aigptimage", phase: "create", ...fault });
  const error = await failureOf(stage.client("aigptimage").generate({ prompt }));
  await aMoment();
  expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
  expect(stage.count("create")).toBe(5);
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(error.job?.reference.tasks[0]?.key).toBe(stage.sandbox.charges[0]?.idempotencyKey);
});

test.for([
  { what: "402", fault: { fault: "refusal", status: 402 } },
  { what: "400", fault: { fault: "refusal", status: 400 } },
  { what: "429", fault: { fault: "rate-limited", retryAfterSeconds: 3_600 } },
] as const)(
  "after a lost create, a refusal of the second attempt with $what cannot say that nothing was charged",
  async ({ fault }) => {
    await using stage = await startStage();
    const target = { provider: "aigptimage", phase: "create" } as const;
    stage.sandbox.inject({ ...target, fault: "reset-after-acceptance" });
    stage.sandbox.inject({ ...target, ...fault });
    const error = await failureOf(stage.client("aigptimage").generate({ prompt }));
    expect(stage.count("create")).toBe(2);
    expect(stage.sandbox.charges).toHaveLength(1);
    expect(error.charged).toBe("unknown");
    expect(error.retryable).toBe(false);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "unknown" }]);
  },
);

test.each(allProviders)(
  "%s: a create whose call ended while it waited for its key is never sent",
  async (name) => {
    await using stage = await startStage();
    const { baseURL, apiKey } = stage.sandbox[name];
    let give: (key: string) => void = () => {};
    let isAsked = false;
    const given = new Promise<string>((resolve) => {
      give = resolve;
    });
    const provider = providerOf(name, {
      baseURL,
      // The types of the sandbox's access know plain keys alone.
      apiKey: (() => {
        isAsked = true;
        return given;
      }) as unknown as string,
    });
    const client = new ProviderClient({ provider }, stage.clock);
    const controller = new AbortController();
    const generating = client.generate({ prompt }, { signal: controller.signal });
    await until(() => isAsked);
    controller.abort(new Error("enough"));
    expect(await reasonOf(generating)).toMatchObject({ message: "enough" });
    give(apiKey);
    await client.close();
    expect(stage.count("create")).toBe(0);
    expect(stage.sandbox.charges).toHaveLength(0);
  },
);

test("after a lost create, an `apiKey` function that throws cannot say that nothing was charged", async () => {
  await using stage = await startStage();
  const target = { provider: "aigptimage", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "reset-after-acceptance" });
  const { baseURL, apiKey } = stage.sandbox.aigptimage;
  let asked = 0;
  const provider = providerOf("aigptimage", {
    baseURL,
    // The types of the sandbox's access know plain keys alone.
    apiKey: (() => {
      asked += 1;
      if (asked > 1) throw new Error("the vault is closed");
      return apiKey;
    }) as unknown as string,
  });
  const error = await failureOf(new ProviderClient({ provider }, stage.clock).generate({ prompt }));
  expect(stage.sandbox.charges).toHaveLength(1);
  expect(error).toMatchObject({ name: "CallbackError", callback: "apiKey", charged: "unknown" });
  expect(error.message).toMatch(/It may have been charged\.$/);
  expect(error.job).toBeDefined();
});

test("after a lost create and a time-out during the wait, the charge is unknown", async () => {
  await using stage = await startStage();
  const target = { provider: "aigptimage", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "reset-after-acceptance", times: Infinity });
  const error = await failureOf(
    stage.client("aigptimage", { timeoutMs: 1_500 }).generate({ prompt }),
  );
  expect(error.charged).toBe("unknown");
  expect(stage.count("create")).toBeLessThanOrEqual(2);
});

test("an idempotencyKey makes the same call again a call that is billed once, also when it is split", async () => {
  await using stage = await startStage();
  const client = stage.client("aigptimage");
  const options = { idempotencyKey: "order 4711 · ünïcode" };
  const first = await client.generate({ prompt, n: 2 }, options);
  const second = await stage.client("aigptimage").generate({ prompt, n: 2 }, options);
  expect(first.images).toHaveLength(2);
  expect(second.images).toHaveLength(2);
  expect(stage.count("create")).toBe(4);
  expect(stage.sandbox.charges).toHaveLength(2);
  const keys = stage.requests("create").map((each) => each.headers["x-request-id"]);
  expect(new Set(keys).size).toBe(2);
});

test.for(unkeyed)(
  "an idempotencyKey that %s does not honour is named in a warning",
  async (name) => {
    await using stage = await startStage();
    const client = stage.client(name);
    const { warnings } = await client.generate({ prompt }, { idempotencyKey: "order-1" });
    expect(warnings.join()).toMatch(/idempotencyKey/);
    expect(JSON.stringify(stage.requests("create"))).not.toContain("order-1");
  },
);

// ---- the job failed ----

const failures: readonly {
  name: SandboxProvider;
  refunded?: boolean;
  charged: string;
  billed: number;
}[] = [
  { name: "shortapi", refunded: true, charged: "no", billed: 0 },
  { name: "shortapi", refunded: false, charged: "unknown", billed: 1 },
  { name: "aigptimage", charged: "unknown", billed: 1 },
  { name: "trinetra", charged: "no", billed: 0 },
];

test.for(failures)(
  "a job that failed at $name (refunded: $refunded) has the charge $charged",
  async ({ name, refunded, charged, billed }) => {
    await using stage = await startStage();
    stage.sandbox.inject({
      ...{ provider: name, phase: "poll", fault: "failure", message: "The GPU caught fire." },
      ...(refunded !== undefined && { refunded }),
    });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ name: "GenerationFailedError", charged });
    expect(error.message).toContain("The GPU caught fire.");
    expect(error.retryable).toBe(charged === "no");
    expect(stage.sandbox.charges).toHaveLength(billed);
    expect(stage.count("create")).toBe(1);
    expect(stage.count("poll")).toBe(1);
    expect(await error.job?.status()).toMatchObject({ state: "failed", settled: true });
    expect(stage.count("poll")).toBe(1);
  },
);

test.for(jobProviders)(
  "fewer images of %s than were asked for come with a warning, where a job can bring several",
  async (name) => {
    if (name !== "trinetra") return;
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "fewer-images", images: 2 });
    const { images, warnings } = await stage.client(name).generate({ prompt, n: 4 });
    expect(images).toHaveLength(2);
    expect(warnings.join()).toMatch(/4 images.*2/);
  },
);

// ---- polls ----

const passing: readonly { what: string; fault: SandboxFaultKind }[] = [
  { what: "a reset", fault: { fault: "reset-after-acceptance" } },
  { what: "408", fault: { fault: "refusal", status: 408 } },
  { what: "425", fault: { fault: "refusal", status: 425 } },
  { what: "429", fault: { fault: "rate-limited" } },
  { what: "500", fault: { fault: "unavailable", status: 500, ownBody: true } },
  { what: "502", fault: { fault: "unavailable", status: 502 } },
  { what: "504", fault: { fault: "unavailable", status: 504 } },
  { what: "half of its JSON", fault: { fault: "malformed" } },
  { what: "a body that breaks off", fault: { fault: "truncated" } },
  { what: "404 just after the create", fault: { fault: "missing" } },
];

test.for(jobProviders.flatMap((name) => passing.map((each) => ({ name, ...each }))))(
  "a poll that $name answers twice with $what is repeated, and the image comes",
  async ({ name, fault }) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: name, phase: "poll", ...fault, times: 2 });
    const events: ImageEvent[] = [];
    const { image } = await stage
      .client(name, { onEvent: (event) => events.push(event) })
      .generate({ prompt });
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("poll")).toBe(3);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
    const retries = events.filter((event) => event.type === "retry");
    expect(retries).toHaveLength(2);
    expect(retries.every((event) => event.phase === "poll")).toBe(true);
  },
);

test.for(
  jobProviders.flatMap((name) => ([401, 402, 403] as const).map((status) => ({ name, status }))),
)(
  "a poll of $name that is refused with $status ends at once, and the job is resumed later",
  async ({ name, status }) => {
    await using stage = await startStage();
    const fault = { fault: "refusal", status, times: Infinity } as const;
    stage.sandbox.inject({ provider: name, phase: "poll", ...fault, times: 1 });
    const client = stage.client(name);
    const error = await failureOf(client.generate({ prompt }));
    const names = { 401: "AuthenticationError", 403: "PermissionDeniedError" };
    expect(error.name).toBe(status === 402 ? "InsufficientCreditsError" : names[status]);
    expect(error.charged).toBe("unknown");
    await aMoment();
    expect(stage.count("poll")).toBe(1);
    const reference = JSON.parse(JSON.stringify(error.job));
    const later = await error.job?.result();
    expect(later?.images).toHaveLength(1);
    const resumed = await stage.client(name).resume(reference).result();
    expect(resumed.images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
    expect(stage.sandbox.charges).toHaveLength(1);
  },
);

test.for(jobProviders)("Retry-After of a poll of %s is obeyed", async (name) => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const fault = { fault: "rate-limited", retryAfterSeconds: 60 } as const;
  stage.sandbox.inject({ provider: name, phase: "poll", ...fault });
  const { timing } = await stage.client(name, { poll: 1_000 }).generate({ prompt });
  expect(stage.count("poll")).toBe(2);
  expect(timing.durationMs).toBe(61_000);
});

test.for(jobProviders)(
  "Retry-After of a poll of %s that reaches past the time-out is an error at once, with the job",
  async (name) => {
    await using stage = await startStage();
    const fault = { fault: "rate-limited", retryAfterSeconds: 60 } as const;
    stage.sandbox.inject({ provider: name, phase: "poll", ...fault });
    const client = stage.client(name, { poll: 1_000, timeoutMs: 30_000 });
    const error = await failureOf(client.generate({ prompt }));
    expect(error).toMatchObject({
      name: "RateLimitError",
      charged: "unknown",
      retryAfterMs: 60_000,
    });
    expect(stage.clock.elapsedMs).toBe(1_000);
    expect(stage.count("poll")).toBe(1);
    expect((await error.job?.result())?.images).toHaveLength(1);
  },
);

test.for(jobProviders)(
  "a job that %s does not know for 15 s after the create is an error then, with the job",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "poll", fault: "missing", times: Infinity });
    const error = await failureOf(stage.client(name, { poll: 1_000 }).generate({ prompt }));
    expect(error).toMatchObject({ name: "GenerationFailedError", charged: "unknown" });
    expect(error.job).toBeDefined();
    expect(stage.clock.elapsedMs).toBe(15_000);
    expect(stage.count("poll")).toBe(15);
    expect(stage.count("create")).toBe(1);
  },
);

test('aigptimage\'s 422 "recordInfo is null" just after the create is waited out', async () => {
  await using stage = await startStage({ missingAfterCreateMs: 200 });
  const client = stage.client("aigptimage", { poll: 20 }, systemClock);
  const { images } = await client.generate({ prompt });
  expect(images).toHaveLength(1);
  expect(stage.count("poll")).toBeGreaterThan(1);
  expect(stage.count("create")).toBe(1);
});

test("a poll that is redirected is not followed", async () => {
  await using stage = await startStage();
  await using elsewhere = await startServer((_, response) => sendJson(response, {}));
  stage.sandbox.inject({
    ...{ provider: "trinetra", phase: "poll", fault: "redirect" },
    location: `${elsewhere.url}/stolen`,
  });
  const error = await failureOf(stage.client("trinetra").generate({ prompt }));
  expect(error.charged).toBe("unknown");
  expect(elsewhere.requests).toHaveLength(0);
  expect((await error.job?.result())?.images).toHaveLength(1);
});

test.for(allProviders)(
  "a create of %s that is redirected does not carry the key away",
  async (name) => {
    await using stage = await startStage();
    await using elsewhere = await startServer((_, response) => sendJson(response, {}));
    stage.sandbox.inject({
      ...{ provider: name, phase: "create", fault: "redirect", times: Infinity },
      location: `${elsewhere.url}/stolen`,
    });
    const error = await failureOf(stage.client(name).generate({ prompt }));
    await aMoment();
    expect(error).toMatchObject({ charged: "no", field: "baseURL", status: 307 });
    expect(error.message).toContain(`${elsewhere.url}/stolen`);
    expect(stage.count("create")).toBe(1);
    expect(elsewhere.requests).toHaveLength(0);
  },
);

// ---- aborts ----

test.for(allProviders)("a call to %s that is aborted beforehand sends nothing", async (name) => {
  await using stage = await startStage();
  const reason = { mine: true };
  const options = { signal: AbortSignal.abort(reason) };
  expect(await reasonOf(stage.client(name).generate({ prompt }, options))).toBe(reason);
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(0);
});

test.for(allProviders)(
  "a call to %s that is aborted while it queues for a slot sends nothing",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "hang" });
    const clock = new TestClock({ auto: false });
    const client = stage.client(name, { concurrency: 1 }, clock);
    const stopFirst = new AbortController();
    const first = reasonOf(client.generate({ prompt }, { signal: stopFirst.signal }));
    await until(() => stage.count("create") === 1);
    const controller = new AbortController();
    const reason = new Error("not any more");
    const events: ImageEvent[] = [];
    const second = reasonOf(
      client.generate(
        { prompt },
        { signal: controller.signal, onEvent: (each) => events.push(each) },
      ),
    );
    await aMoment();
    controller.abort(reason);
    expect(await second).toBe(reason);
    await aMoment();
    expect(stage.count("create")).toBe(1);
    expect(events.map((event) => event.type)).not.toContain("submitting");
    stopFirst.abort();
    await first;
  },
);

test("a call that is aborted during `upload` sends nothing", async () => {
  await using stage = await startStage();
  const controller = new AbortController();
  let finish: (url: string) => void = () => {};
  let asked = false;
  const client = stage.client("trinetra", {
    upload: () => {
      asked = true;
      return new Promise((resolve) => {
        finish = resolve;
      });
    },
  });
  const reason = { mine: true };
  const call = reasonOf(client.edit({ prompt, images: [pixel] }, { signal: controller.signal }));
  await until(() => asked);
  controller.abort(reason);
  expect(await call).toBe(reason);
  finish("https://example.com/late.png");
  await aMoment();
  expect(stage.sandbox.requests).toHaveLength(0);
});

test.for(jobProviders)(
  "an abort during %s's create releases the caller at once, and the job is still learnt",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "slow", delayMs: 250 });
    const controller = new AbortController();
    const reason = { mine: true };
    const learnt: JobReference[] = [];
    const events: ImageEvent[] = [];
    const client = stage.client(name, { concurrency: 1, poll: 10 }, systemClock);
    const call = reasonOf(
      client.generate(
        { prompt },
        {
          signal: controller.signal,
          onSubmitted: (job) => learnt.push(job.reference),
          onEvent: (event) => events.push(event),
        },
      ),
    );
    await until(() => stage.sandbox.jobs.length === 1);
    controller.abort(reason);
    expect(await call).toBe(reason);
    // Released before the answer: how soon is measured with the anchors.
    expect(learnt).toHaveLength(0);
    // The slot is held until the create has been answered: a second call waits for it.
    const second = client.generate({ prompt });
    await aMoment();
    expect(stage.count("create")).toBe(1);
    await until(() => learnt.length === 1);
    expect(learnt[0]?.tasks).toMatchObject([{ id: stage.sandbox.jobs[0]?.jobId }]);
    expect(typesOf(events)).toEqual(["submitting", "submitted"]);
    expect((await second).images).toHaveLength(1);
    // Of the aborted call nothing but its create was ever sent.
    const [first] = stage.sandbox.jobs;
    const polls = stage.requests("poll").filter((each) => each.jobId === first?.jobId);
    expect(polls).toHaveLength(0);
    const resumed = await stage.client(name, { poll: 10 }, systemClock).resume(learnt[0]).result();
    expect(resumed.images).toHaveLength(1);
  },
);

test("an abort during a create that is being repeated stops the repetition", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "shortapi", phase: "create", fault: "rate-limited" });
  const clock = new TestClock({ auto: false });
  const controller = new AbortController();
  const events: ImageEvent[] = [];
  const call = reasonOf(
    stage
      .client("shortapi", {}, clock)
      .generate({ prompt }, { signal: controller.signal, onEvent: (event) => events.push(event) }),
  );
  await until(() => events.some((event) => event.type === "retry"));
  controller.abort("enough");
  expect(await call).toBe("enough");
  await clock.advance(3_600_000);
  await aMoment();
  expect(stage.count("create")).toBe(1);
});

test("an abort during a create that answers with the images tears it, and it is not sent again", async () => {
  let torn = false;
  await using server = await startServer((_, response) => {
    response.on("close", () => {
      torn = true;
    });
  });
  const provider = providerOf("openaiCompatible", { baseURL: server.url, apiKey: "a-key" });
  const controller = new AbortController();
  const reason = { mine: true };
  const events: ImageEvent[] = [];
  const call = reasonOf(
    new ProviderClient({ provider }, systemClock).generate(
      { prompt },
      { signal: controller.signal, onEvent: (event) => events.push(event) },
    ),
  );
  await until(() => server.requests.length === 1);
  controller.abort(reason);
  expect(await call).toBe(reason);
  await until(() => torn);
  await aMoment();
  expect(server.requests).toHaveLength(1);
  await until(() => events.some((event) => event.type === "failed"));
  const failed = events.find((event) => event.type === "failed");
  expect(failed).toMatchObject({ error: { name: "SubmissionUnknownError", charged: "unknown" } });
});

// ---- onSubmitted ----

test.for(jobProviders)(
  "onSubmitted of %s is awaited once it has accepted, before the first poll",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    let polledBefore = -1;
    const references: JobReference[] = [];
    await stage.client(name).generate(
      { prompt },
      {
        async onSubmitted(job) {
          references.push(JSON.parse(JSON.stringify(job)));
          await aMoment();
          polledBefore = stage.count("poll");
        },
      },
    );
    expect(polledBefore).toBe(0);
    expect(references).toMatchObject([
      {
        v: 1,
        operation: "generate",
        tasks: [{ id: stage.sandbox.jobs[0]?.jobId, state: "queued" }],
      },
    ]);
    expect(JSON.stringify(references)).not.toContain(stage.sandbox[name].apiKey);
    expect(JSON.stringify(references)).not.toContain(prompt);
  },
);

test.for(jobProviders)(
  "an onSubmitted that throws is a CallbackError with the job of %s, which still gives the image",
  async (name) => {
    await using stage = await startStage();
    const cause = new Error("the database is down");
    const onSubmitted = () => Promise.reject(cause);
    const error = await failureOf(stage.client(name).generate({ prompt }, { onSubmitted }));
    expect(error).toMatchObject({
      ...{ name: "CallbackError", callback: "onSubmitted", charged: "unknown", cause },
    });
    await aMoment();
    expect(stage.count("poll")).toBe(0);
    expect((await error.job?.result())?.images).toHaveLength(1);
    expect(stage.count("create")).toBe(1);
  },
);

test("an onSubmitted that throws after images were made says that they were charged, and has them", async () => {
  await using stage = await startStage();
  const onSubmitted = () => {
    throw new Error("no");
  };
  const client = stage.client("openaiCompatible");
  const error = await failureOf(client.generate({ prompt }, { onSubmitted }));
  expect(error).toMatchObject({ name: "CallbackError", charged: "yes" });
  expect((await error.job?.result())?.images).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
});

test("an onSubmitted of a split request is told of each task, and knows more each time", async () => {
  await using stage = await startStage();
  const known: number[] = [];
  const ids = new Set<string>();
  await stage.client("shortapi", { concurrency: 1 }).generate(
    { prompt, n: 3 },
    {
      onSubmitted(job) {
        ids.add(job.id);
        known.push(job.reference.tasks.filter((task) => task.id !== undefined).length);
      },
    },
  );
  expect(known).toEqual([1, 2, 3]);
  expect(ids.size).toBe(1);
});

// ---- close ----

test.for(jobProviders)("close ends the waits for %s, and each error has its job", async (name) => {
  await using stage = await startStage();
  const clock = new TestClock({ auto: false });
  const client = stage.client(name, {}, clock);
  let accepted = 0;
  const onSubmitted = () => {
    accepted += 1;
  };
  const calls = [1, 2].map(() => failureOf(client.generate({ prompt }, { onSubmitted })));
  await until(() => accepted === 2);
  await client.close();
  for (const error of await Promise.all(calls)) {
    expect(error).toMatchObject({ name: "ClientClosedError", charged: "unknown" });
    const reference = JSON.parse(JSON.stringify(error.job));
    const resumed = await stage.client(name).resume(reference).result();
    expect(resumed.images).toHaveLength(1);
  }
  expect(clock.pending).toBe(0);
  expect(stage.count("create")).toBe(2);
  const late = await failureOf(client.generate({ prompt }));
  expect(late).toMatchObject({ name: "ClientClosedError", charged: "no" });
  expect(stage.count("create")).toBe(2);
});

test.for(jobProviders)(
  "close reads the create that is on its way to %s before it resolves",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "slow", delayMs: 250 });
    const client = stage.client(name, {}, systemClock);
    const learnt: JobReference[] = [];
    const call = failureOf(
      client.generate({ prompt }, { onSubmitted: (job) => learnt.push(job.reference) }),
    );
    await until(() => stage.sandbox.jobs.length === 1);
    const closing = client.close();
    expect(await call).toMatchObject({ name: "ClientClosedError", charged: "unknown" });
    expect(learnt).toHaveLength(0);
    await closing;
    expect(learnt).toMatchObject([{ tasks: [{ id: stage.sandbox.jobs[0]?.jobId }] }]);
  },
);

test("close ends what queues for a slot without sending it, and says that it was not charged", async () => {
  await using stage = await startStage();
  stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", fault: "hang" });
  const client = stage.client("openaiCompatible", { concurrency: 1 }, systemClock);
  const first = failureOf(client.generate({ prompt }));
  await until(() => stage.count("create") === 1);
  const second = failureOf(client.generate({ prompt }));
  await aMoment();
  await client.close({ timeoutMs: 20 });
  expect((await first).charged).toBe("unknown");
  expect((await second).charged).toBe("no");
  expect(stage.count("create")).toBe(1);
});

// ---- splits and slots ----

test.for([
  ["shortapi", 3, [1, 1, 1]],
  ["aigptimage", 3, [1, 1, 1]],
  ["trinetra", 9, [4, 4, 1]],
  ["openaiCompatible", 12, [10, 2]],
] as const)("%s: %i images are split into native requests", async ([name, n, split]) => {
  await using stage = await startStage();
  const { images, job } = await stage.client(name, { concurrency: 1 }).generate({ prompt, n });
  expect(images).toHaveLength(n);
  expect(job.reference.tasks.map((task) => task.n)).toEqual(split);
  expect(stage.count("create")).toBe(split.length);
  expect(stage.sandbox.charges.map((charge) => charge.images)).toEqual(split);
});

test.for(allProviders)(
  "when all tasks of a split request to %s are refused, the first error has the others",
  async (name) => {
    await using stage = await startStage();
    const n = { shortapi: 3, aigptimage: 3, trinetra: 9, openaiCompatible: 21 }[name];
    const fault = { fault: "refusal", status: 400, times: Infinity } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const error = await failureOf(stage.client(name).generate({ prompt, n }));
    expect(error.charged).toBe("no");
    expect(error.failures).toHaveLength(2);
    expect(stage.count("create")).toBe(3);
  },
);

test.for(jobProviders)(
  "a job of %s of which one task was lost is resumed with what it has",
  async (name) => {
    await using stage = await startStage();
    const n = name === "trinetra" ? 9 : 3;
    const fault = { fault: "refusal", status: 400 } as const;
    stage.sandbox.inject({ provider: name, phase: "create", ...fault });
    const job = await stage.client(name).submit({ prompt, n });
    const reference = JSON.parse(JSON.stringify(job));
    const { images, failures } = await stage.client(name).resume(reference).result();
    expect(failures).toHaveLength(1);
    expect(failures[0]?.charged).toBe("no");
    expect([n - 1, n - 4]).toContain(images.length);
    expect(stage.count("create")).toBe(3);
  },
);

/** A provider like trinetra that counts the jobs it has at once; each takes `polls` polls. */
async function startCounting(polls: number) {
  let open = 0;
  const asked = new Map<string, number>();
  const counted = { most: 0, prompts: [] as string[], creates: 0, polls: 0 };
  const server = await startServer((request, response) => {
    if (request.method === "POST") {
      open += 1;
      counted.creates += 1;
      counted.most = Math.max(counted.most, open);
      counted.prompts.push(JSON.parse(request.body).prompt);
      const id = `job-${counted.creates}`;
      asked.set(id, 0);
      return sendJson(response, { job_id: id, status: "queued" }, 202);
    }
    const id = request.path.split("/").pop() ?? "";
    const times = (asked.get(id) ?? 0) + 1;
    asked.set(id, times);
    counted.polls += 1;
    if (times < polls) return sendJson(response, { id, status: "processing" });
    open -= 1;
    const outputs = [{ url: `${server.url}/picture.png` }];
    return sendJson(response, { id, status: "succeeded", output: { outputs } });
  });
  const provider = providerOf("trinetra", { baseURL: server.url, apiKey: "a-key" });
  return { server, provider, counted };
}

test.for([1, 2] as const)(
  "with concurrency %i no more tasks than that are at the provider at once, in order",
  async (concurrency) => {
    const { server, provider, counted } = await startCounting(3);
    await using _ = server;
    const client = new ProviderClient({ provider, concurrency }, new TestClock());
    const prompts = ["a", "b", "c", "d", "e", "f"];
    await Promise.all(prompts.map((each) => client.generate({ prompt: each })));
    expect(counted.most).toBe(concurrency);
    expect(counted.creates).toBe(6);
    expect(counted.prompts).toEqual(prompts);
  },
);

test("without concurrency all tasks are at the provider at once", async () => {
  const { server, provider, counted } = await startCounting(3);
  await using _ = server;
  const client = new ProviderClient({ provider }, new TestClock());
  await Promise.all(["a", "b", "c", "d"].map((each) => client.generate({ prompt: each })));
  expect(counted.most).toBe(4);
});

test("a slot is given back after a refusal, a failure and a time-out", async () => {
  await using stage = await startStage();
  const client = stage.client("trinetra", { concurrency: 1, timeoutMs: 20_000 });
  const target = { provider: "trinetra", phase: "create" } as const;
  stage.sandbox.inject({ ...target, fault: "refusal", status: 400 });
  expect((await failureOf(client.generate({ prompt }))).name).toBe("InvalidRequestError");
  stage.sandbox.inject({ ...target, fault: "failure" });
  expect((await failureOf(client.generate({ prompt }))).name).toBe("GenerationFailedError");
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "missing", times: 99 });
  const impatient = failureOf(client.generate({ prompt }, { timeoutMs: 5_000 }));
  expect((await impatient).name).toBe("TimeoutError");
  await using fresh = await startStage();
  expect((await fresh.client("trinetra").generate({ prompt })).images).toHaveLength(1);
  expect(stage.count("create")).toBe(3);
});

test("the time-out of a task does not count the time that it queues for a slot", async () => {
  // Six polls a second apart: 6 s a job, and 18 s for the last of three.
  const { server, provider, counted } = await startCounting(6);
  await using _ = server;
  const clock = new TestClock();
  const options = { provider, concurrency: 1, poll: 1_000, timeoutMs: 7_000 };
  const client = new ProviderClient(options, clock);
  const calls = ["a", "b", "c"].map((each) => client.generate({ prompt: each }));
  const results = await Promise.all(calls);
  expect(results.map(({ images }) => images.length)).toEqual([1, 1, 1]);
  expect(clock.elapsedMs).toBe(18_000);
  expect(counted.most).toBe(1);
});

// ---- submit, status, resume, events ----

test.for(jobProviders)(
  "submit to %s resolves once it is accepted, without a poll",
  async (name) => {
    await using stage = await startStage();
    const job = await stage.client(name).submit({ prompt });
    await aMoment();
    expect(stage.sandbox.requests.map(({ phase }) => phase)).toEqual(["create"]);
    expect(job.reference.tasks).toMatchObject([{ state: "queued" }]);
  },
);

test.for(allProviders)("submit to %s rejects if no task was accepted", async (name) => {
  await using stage = await startStage();
  const fault = { fault: "refusal", status: 402, times: Infinity } as const;
  stage.sandbox.inject({ provider: name, phase: "create", ...fault });
  const error = await failureOf(stage.client(name).submit({ prompt }));
  expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
  expect(stage.count("create")).toBe(1);
});

test("submit to a provider that answers with the images settles the job, and its images are in it", async () => {
  await using stage = await startStage();
  const client = stage.client("openaiCompatible");
  const job = await client.submit({ prompt });
  expect(await job.status()).toMatchObject({ state: "succeeded", settled: true });
  expect((await job.result()).images).toHaveLength(1);
  expect(stage.count("create")).toBe(1);
  expect(() => client.resume(job.reference)).toThrow(/resume|references/);
});

test.for(jobProviders)("status of a job of %s is one poll", async (name) => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const word = { shortapi: 0, aigptimage: "waiting", trinetra: "queued" }[name];
  stage.sandbox.inject({ provider: name, phase: "poll", fault: "unknown-state", word });
  const job = await stage.client(name).submit({ prompt });
  expect(await job.status()).toMatchObject({ state: "queued", settled: false });
  expect(stage.count("poll")).toBe(1);
  const resumed = stage.client(name).resume(JSON.stringify(job));
  await aMoment();
  expect(stage.count("poll")).toBe(1);
  expect(await resumed.status()).toMatchObject({ state: "succeeded", settled: true });
  expect(stage.count("poll")).toBe(2);
  expect((await resumed.result()).images).toHaveLength(1);
  expect(stage.count("poll")).toBe(2);
});

test("status that cannot be had rejects with the failure and the job", async () => {
  await using stage = await startStage();
  const job = await stage.client("trinetra").submit({ prompt });
  const target = { provider: "trinetra", phase: "poll" } as const;
  stage.sandbox.inject({ ...target, fault: "unavailable" });
  const failed = await failureOf(job.status());
  expect(failed).toMatchObject({ name: "ProviderUnavailableError", charged: "unknown" });
  expect(failed.job?.id).toBe(job.id);
  stage.sandbox.inject({ ...target, fault: "refusal", status: 401 });
  expect(await failureOf(job.status())).toMatchObject({ name: "AuthenticationError" });
  expect(stage.count("poll")).toBe(2);
  expect((await job.result()).images).toHaveLength(1);
});

test("several listeners and waiters of a job share one polling loop", async () => {
  const { server, provider, counted } = await startCounting(5);
  await using _ = server;
  const client = new ProviderClient({ provider, poll: 1_000 }, new TestClock());
  const job = await client.submit({ prompt });
  const listen = async () => {
    const events: ImageEvent[] = [];
    for await (const event of job.events()) events.push(event);
    return events;
  };
  const [one, two, first, second] = await Promise.all([
    listen(),
    listen(),
    job.result(),
    job.result(),
  ]);
  expect(counted.polls).toBe(5);
  expect(one).toEqual(two);
  expect(typesOf(one)).toEqual(["submitted", "status", "succeeded"]);
  expect(first.images[0]).toBe(second.images[0]);
});

test("a listener that leaves early stops the loop that it alone kept going", async () => {
  const { server, provider, counted } = await startCounting(99);
  await using _ = server;
  const clock = new TestClock();
  const job = await new ProviderClient({ provider, poll: 1_000 }, clock).submit({ prompt });
  for await (const event of job.events()) if (event.type === "status") break;
  const polls = counted.polls;
  expect(polls).toBe(1);
  await until(() => clock.pending === 0);
  await clock.advance(60_000);
  await aMoment();
  expect(counted.polls).toBe(polls);
});

test.for(jobProviders)(
  "events of a failed job of %s end without throwing, and the last one says why",
  async (name) => {
    await using stage = await startStage();
    stage.sandbox.inject({ provider: name, phase: "create", fault: "failure" });
    const job = await stage.client(name).submit({ prompt });
    const events: ImageEvent[] = [];
    for await (const event of job.events()) events.push(event);
    expect(events.at(-1)).toMatchObject({
      ...{ type: "failed", error: { name: "GenerationFailedError" } },
      ...{ jobId: job.id, task: 0, provider: name },
    });
  },
);

test("events end when their signal aborts, without throwing", async () => {
  const { server, provider } = await startCounting(99);
  await using _ = server;
  const client = new ProviderClient({ provider, poll: 1_000 }, new TestClock());
  const job = await client.submit({ prompt });
  const controller = new AbortController();
  let seen = 0;
  for await (const _event of job.events({ signal: controller.signal })) {
    seen += 1;
    if (seen === 3) controller.abort();
  }
  expect(seen).toBeGreaterThanOrEqual(3);
});

test("metadata comes back in every event, and what onEvent throws touches nothing", async () => {
  await using stage = await startStage();
  const events: ImageEvent[] = [];
  const metadata = { order: 7 };
  const { images } = await stage
    .client("shortapi", {
      onEvent: () => Promise.reject(new Error("rejected")),
    })
    .generate(
      { prompt },
      {
        metadata,
        onEvent(event) {
          events.push(event);
          throw new Error("thrown");
        },
      },
    );
  expect(images).toHaveLength(1);
  expect(events.length).toBeGreaterThan(2);
  expect(events.every((event) => event.metadata === metadata)).toBe(true);
});

// ---- downloads ----

async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "gpt-image-client-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test.for(allProviders)(
  "saveTo writes whole files of %s as they arrive, and leaves nothing else",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    await withDirectory(async (directory) => {
      const events: ImageEvent[] = [];
      const { images } = await stage
        .client(name, { poll: 10 }, systemClock)
        .generate(
          { prompt, n: 2 },
          { saveTo: join(directory, "deep", "er"), onEvent: (event) => events.push(event) },
        );
      const saved = await readdir(join(directory, "deep", "er"));
      expect(saved).toHaveLength(2);
      expect(saved.every((file) => file.endsWith(".png"))).toBe(true);
      for (const image of images) {
        expect(image.file).toContain(join(directory, "deep", "er"));
        const bytes = await readFile(image.file ?? "");
        expect(bytes.subarray(1, 4).toString()).toBe("PNG");
        expect(bytes.equals(await image.bytes())).toBe(true);
      }
      const files = events.flatMap((event) => (event.type === "saved" ? [event.file] : []));
      expect(files.sort()).toEqual(images.map((image) => image.file).sort());
      // What is on the disk is read from there.
      expect(stage.count("download")).toBe(name === "openaiCompatible" ? 0 : 2);
    });
  },
);

test.for(["truncated", "reset-after-acceptance", "not-an-image"] as const)(
  "a download that ends as %s is repeated alone, and no part of it is left",
  async (fault) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: "trinetra", phase: "download", fault, times: 2 });
    await withDirectory(async (directory) => {
      const { image } = await stage.client("trinetra").generate({ prompt }, { saveTo: directory });
      expect(await readdir(directory)).toHaveLength(1);
      expect(await image.info()).toMatchObject({ mediaType: "image/png" });
      expect(stage.count("download")).toBe(3);
      expect(stage.count("create")).toBe(1);
      expect(stage.count("poll")).toBe(1);
    });
  },
);

test.for(allProviders)(
  "a directory that is gone when the image comes is a DownloadError, charged, and the job of %s still gives the image",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    await withDirectory(async (directory) => {
      const saveTo = join(directory, "pictures");
      const onEvent = ({ type }: ImageEvent) => {
        if (type !== "submitting") return;
        rmSync(saveTo, { recursive: true });
        writeFileSync(saveTo, "in the way");
      };
      const client = stage.client(name, { poll: 10 }, systemClock);
      const error = await failureOf(client.generate({ prompt }, { saveTo, onEvent }));
      expect(error).toMatchObject({ name: "DownloadError", charged: "yes", retryable: false });
      const later = await error.job?.result({ saveTo: directory });
      expect(later?.images).toHaveLength(1);
      expect((await later?.image.bytes())?.byteLength).toBeGreaterThan(0);
      expect(await readdir(directory)).toHaveLength(2);
      expect(stage.count("create")).toBe(1);
    });
  },
);

test.for(allProviders)(
  "a download of %s that never works is a DownloadError, charged, with the URL and the job",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    const fault = { fault: "unavailable", status: 500, times: 5 } as const;
    stage.sandbox.inject({ provider: name, phase: "download", ...fault });
    const { image } = await stage.client(name).generate({ prompt });
    const error = await failureOf(image.bytes());
    expect(error).toMatchObject({ name: "DownloadError", charged: "yes", status: 500 });
    expect(error.name === "DownloadError" && error.url).toBe(image.url);
    expect(error.job?.reference.tasks).toMatchObject([{ state: "succeeded" }]);
    expect(stage.count("download")).toBe(5);
    // Asked again it tries again.
    expect((await image.bytes()).byteLength).toBeGreaterThan(0);
    expect(stage.count("create")).toBe(1);
  },
);

test.for(
  jobProviders.flatMap((name) => ([403, 404, 410] as const).map((status) => ({ name, status }))),
)(
  "a URL of $name that has expired ($status) makes one fresh query of the job",
  async ({ name, status }) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    stage.sandbox.inject({ provider: name, phase: "create", fault: "expired", status });
    const { image } = await stage.client(name).generate({ prompt });
    const stale = image.url;
    const polls = stage.count("poll");
    expect(await image.info()).toMatchObject({ mediaType: "image/png" });
    expect(stage.count("poll")).toBe(polls + 1);
    expect(stage.count("download")).toBe(2);
    expect(image.url).not.toBe(stale);
    expect(stage.count("create")).toBe(1);
  },
);

test("a fresh query that fails leaves a DownloadError that says it was charged", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: "trinetra", phase: "create", fault: "expired" });
  const { image } = await stage.client("trinetra").generate({ prompt });
  stage.sandbox.inject({ provider: "trinetra", phase: "poll", fault: "reset-after-acceptance" });
  const error = await failureOf(image.bytes());
  expect(error).toMatchObject({ name: "DownloadError", charged: "yes" });
  expect(error.job).toBeDefined();
  expect((await image.bytes()).byteLength).toBeGreaterThan(0);
});

test("Retry-After of a download is obeyed, as seconds and as a date", async () => {
  for (const as of ["header", "date"] as const) {
    await using stage = await startStage({ jobDurationMs: 0 });
    const fault = { fault: "rate-limited", retryAfterSeconds: 60, as } as const;
    stage.sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
    const { image } = await stage.client("trinetra").generate({ prompt });
    const before = stage.clock.elapsedMs;
    await image.bytes();
    expect(stage.count("download")).toBe(2);
    expect(stage.clock.elapsedMs - before).toBeGreaterThanOrEqual(55_000);
    expect(stage.clock.elapsedMs - before).toBeLessThanOrEqual(62_000);
  }
});

test("Retry-After of a download that reaches past the time-out is an error at once", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const fault = { fault: "rate-limited", retryAfterSeconds: 3_600 } as const;
  stage.sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
  const { image } = await stage.client("trinetra").generate({ prompt });
  const before = stage.clock.elapsedMs;
  const error = await failureOf(image.bytes());
  expect(error).toMatchObject({ name: "DownloadError", status: 429, retryAfterMs: 3_600_000 });
  expect(stage.clock.elapsedMs).toBe(before);
  expect(stage.count("download")).toBe(1);
});

test("close during the saving of what was paid for says that it was charged", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  stage.sandbox.inject({ provider: "trinetra", phase: "download", fault: "hang", afterBytes: 100 });
  await withDirectory(async (directory) => {
    const client = stage.client("trinetra", { poll: 10 }, systemClock);
    const call = failureOf(client.generate({ prompt }, { saveTo: directory }));
    await until(() => stage.count("download") === 1);
    await client.close();
    expect(await call).toMatchObject({ name: "ClientClosedError", charged: "yes" });
    await aMoment();
    expect(await readdir(directory)).toEqual([]);
  });
});

// ---- the key ----

test.for(allProviders)(
  "the key of %s goes to its own origin and nowhere else, not even along a redirect",
  async (name) => {
    await using stage = await startStage({ jobDurationMs: 0, openaiAnswers: "url" });
    await using elsewhere = await startServer((_, response) => {
      response.writeHead(200, { "content-type": "image/png" });
      response.end(pixel);
    });
    const location = `${elsewhere.url}/moved.png`;
    stage.sandbox.inject({ provider: name, phase: "download", fault: "redirect", location });
    const { baseURL, apiKey } = stage.sandbox[name];
    const provider = providerOf(name, { baseURL, apiKey });
    const client = new ProviderClient({ provider, allowPrivateNetwork: true }, stage.clock);
    const { image, raw } = await client.generate({ prompt });
    expect(pixel.equals(await image.bytes())).toBe(true);
    const api = stage.sandbox.requests.filter((each) => each.provider !== "cdn");
    const cdn = stage.sandbox.requests.filter((each) => each.provider === "cdn");
    expect(api.length).toBeGreaterThan(0);
    expect(api.every((each) => each.carriedKey)).toBe(true);
    expect(cdn).toHaveLength(1);
    expect(cdn.some((each) => each.carriedKey)).toBe(false);
    expect(elsewhere.requests).toHaveLength(1);
    expect(JSON.stringify(elsewhere.requests)).not.toContain(apiKey);
    expect(JSON.stringify(raw)).not.toContain(apiKey);
  },
);

test("headers of the caller's own go to the provider's origin alone", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const provider = providerOf("trinetra", {
    ...stage.sandbox.trinetra,
    ...{ headers: { "x-gateway-token": "gateway-secret" } },
  });
  const { image } = await new ProviderClient({ provider }, stage.clock).generate({ prompt });
  await image.bytes();
  const carried = stage.sandbox.requests.map(
    (each) => each.headers["x-gateway-token"] === "gateway-secret",
  );
  expect(carried).toEqual([true, true, false]);
});

test("a key that the provider repeats in its refusal is not in the error", async () => {
  await using stage = await startStage();
  const { apiKey } = stage.sandbox.shortapi;
  const fault = {
    fault: "refusal",
    status: 403,
    message: `The key ${apiKey} is blocked.`,
  } as const;
  stage.sandbox.inject({ provider: "shortapi", phase: "create", ...fault });
  const error = await failureOf(stage.client("shortapi").generate({ prompt }));
  expect(error.message).toContain("<key>");
  const shown = `${error.message} ${JSON.stringify(error)} ${JSON.stringify(error.raw)}`;
  expect(shown).not.toContain(apiKey);
  expect(shown).not.toContain(prompt);
});

test("a job of the caller's that is closed over by nobody keeps no timer", async () => {
  await using stage = await startStage();
  let job: ImageJob | undefined;
  const onSubmitted = (submitted: ImageJob) => {
    job = submitted;
  };
  await stage.client("trinetra").generate({ prompt }, { onSubmitted });
  expect(job).toBeDefined();
  await aMoment();
  expect(stage.clock.pending).toBe(0);
});
