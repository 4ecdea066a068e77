import { expect, test } from "vitest";
import { ProviderClient } from "../../src/client";
import type { AnyImageError } from "../../src/errors";
import type { ImageEvent } from "../../src/types";
import { TestClock } from "../support/clock";
import { deadPort } from "../support/server";
import {
  allProviders,
  aMoment,
  failureOf,
  prompt,
  providerOf,
  startStage,
  typesOf,
  unkeyed,
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
