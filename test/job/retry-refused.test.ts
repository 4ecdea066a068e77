import { afterEach, beforeEach, expect, test } from "vitest";
import { allProviders, failureOf, prompt, type Stage, startStage } from "../support/stage";

let stage: Stage;
beforeEach(async () => {
  stage = await startStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const now = { retryRefused: false } as const;
const rateLimited = { phase: "create", fault: "rate-limited", retryAfterSeconds: 30 } as const;
const lost = { phase: "create", fault: "reset-after-acceptance", times: 1 } as const;

test.each(allProviders)("%s: a 429 is told at once, with how long to wait", async (provider) => {
  stage.sandbox.inject({ provider, ...rateLimited, times: 1 });
  const error = await failureOf(stage.client(provider).generate({ prompt }, now));
  expect(error).toMatchObject({ code: "rate_limited", charged: "no", retryable: true });
  expect(error.retryAfterMs).toBe(30_000);
  expect(stage.count("create")).toBe(1);
  expect(stage.clock.elapsedMs).toBe(0);
});

test("a key that is honoured is still sent again after a lost response: that cannot pay twice", async () => {
  stage.sandbox.inject({ provider: "aigptimage", ...lost });
  await stage.client("aigptimage").generate({ prompt }, now);
  expect(stage.count("create")).toBe(2);
  expect(stage.sandbox.charges).toHaveLength(1);
});

test("a refusal after an attempt of unknown fate is told as unknown", async () => {
  stage.sandbox.inject({ provider: "aigptimage", ...lost });
  stage.sandbox.inject({ provider: "aigptimage", ...rateLimited, times: 1 });
  const error = await failureOf(stage.client("aigptimage").generate({ prompt }, now));
  expect(error).toMatchObject({ charged: "unknown", retryable: false });
  expect(stage.sandbox.charges).toHaveLength(1);
});
