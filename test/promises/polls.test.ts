import { expect, test } from "vitest";
import type { SandboxFaultKind } from "../../src/testing/sandbox";
import type { ImageEvent } from "../../src/types";
import { sendJson, startServer } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  jobProviders,
  prompt,
  startStage,
  systemClock,
} from "../support/stage";
import { failures } from "./promise-support";

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
