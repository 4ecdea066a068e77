import { mkdtemp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  createImageClient,
  type ImageEvent,
  type ImageResult,
  openaiCompatible,
  type PartialImage,
} from "../../src/index";
import type { SandboxFaultKind } from "../../src/testing/sandbox";
import { directory, useDirectory } from "../support/directory";
import { pixel, sendJson, startServer } from "../support/server";
import { failureOf, until } from "../support/stage";
import {
  clientOf,
  partialEvent,
  partialsOf,
  request,
  startStream,
  startStreams,
} from "./support/streams";

useDirectory();

// ---- what goes wrong: purchases are counted on the server's side ----

interface Case {
  readonly fault: SandboxFaultKind;
  readonly error: Record<string, unknown>;
  /** How many partial images had come. */
  readonly shown: number;
  readonly billed: number;
}

const billed = { billed: 1 } as const;
const free = { billed: 0 } as const;
const cases: readonly Case[] = [
  {
    fault: { fault: "stream-broken" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-broken", afterPartials: 2 },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 2, ...billed },
  },
  {
    fault: { fault: "stream-ended" },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-ended", afterPartials: 1 },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 1, ...billed },
  },
  {
    fault: { fault: "no-image" },
    ...{ error: { code: "malformed_response", charged: "unknown" }, shown: 2, ...billed },
  },
  ...(["insufficient_quota", "billing_hard_limit_reached"] as const).map((code) => ({
    fault: { fault: "stream-error", code } as const,
    ...{ error: { code: "insufficient_credits", charged: "no", providerCode: code }, shown: 0 },
    ...free,
  })),
  {
    fault: { fault: "stream-error", code: "insufficient_quota", afterPartials: 1 },
    ...{ error: { code: "insufficient_credits", charged: "unknown" }, shown: 1, ...free },
  },
  {
    fault: { fault: "stream-error", code: "rate_limit_exceeded" },
    ...{ error: { code: "rate_limited", charged: "no", retryable: true }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", code: "rate_limit_exceeded", afterPartials: 1 },
    ...{ error: { code: "rate_limited", charged: "unknown", retryable: false }, shown: 1 },
    ...free,
  },
  {
    fault: { fault: "stream-error" },
    ...{ error: { code: "generation_failed", charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", charged: "no" },
    ...{ error: { charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", afterPartials: 2, charged: "yes", billed: true },
    ...{ error: { code: "generation_failed", charged: "yes" }, shown: 2, ...billed },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked", stage: "input" },
    ...{ error: { code: "moderation", charged: "no", stage: "input" }, shown: 0, ...free },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked", stage: "output", billed: true },
    ...{ error: { code: "moderation", charged: "unknown", stage: "output" }, shown: 0, ...billed },
  },
  {
    fault: { fault: "stream-error", code: "moderation_blocked" },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 0, ...free },
  },
  {
    fault: {
      ...{ fault: "stream-error", code: "moderation_blocked", stage: "input", afterPartials: 1 },
    },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 1, ...free },
  },
  {
    fault: { fault: "moderation" },
    ...{ error: { code: "moderation", charged: "unknown" }, shown: 2, ...free },
  },
  {
    fault: { fault: "moderation", stage: "input" },
    ...{ error: { code: "moderation", charged: "no", status: 400 }, shown: 0, ...free },
  },
  {
    fault: { fault: "failure" },
    ...{ error: { code: "generation_failed", charged: "unknown" }, shown: 2, ...free },
  },
  {
    fault: { fault: "truncated" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 1, ...billed },
  },
  {
    fault: { fault: "refusal", status: 400 },
    ...{ error: { code: "invalid_request", charged: "no" }, shown: 0, ...free },
  },
  {
    fault: { fault: "accepted-but-unavailable" },
    ...{ error: { code: "submission_unknown", charged: "unknown" }, shown: 0, ...billed },
  },
];

test.each(cases.map((each) => [JSON.stringify(each.fault), each] as const))(
  "%s is one create and one error, with the last partial image on it and none saved",
  async (_, { fault, error: expected, shown, billed }) => {
    await using stage = await startStreams();
    const place = await mkdtemp(join(directory, "place-"));
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
    const seen: PartialImage[] = [];
    const error = await failureOf(
      stage.client.generate(request, {
        saveTo: place,
        onEvent: (event) => event.type === "partial" && seen.push(event),
      }),
    );
    expect(error).toMatchObject(expected);
    expect(seen).toHaveLength(shown);
    expect(error.images).toBeUndefined();
    const last = seen.at(-1);
    expect(error.partialImage).toEqual(
      last && { index: last.index, bytes: last.bytes, mediaType: last.mediaType },
    );
    expect(JSON.stringify(error).length).toBeLessThan(2_000);
    expect(await readdir(place)).toEqual([]);
    expect(stage.creates()).toHaveLength(1);
    await until(() => stage.sandbox.jobs.every(({ state }) => /succeeded|failed/.test(state)));
    expect(stage.sandbox.charges).toHaveLength(billed);
    // Whoever asks its job hears the same.
    if (error.job !== undefined) expect(await failureOf(error.job.result())).toBe(error);
  },
);

test("an endpoint that is the caller's own is believed before a partial image, and not after one", async () => {
  for (const [afterPartials, charged] of [
    [0, "no"],
    [1, "unknown"],
  ] as const) {
    await using stage = await startStreams();
    const provider = openaiCompatible({ ...stage.sandbox.openaiCompatible, trustCharged: true });
    const fault = { fault: "stream-error", charged: "no", afterPartials } as const;
    stage.sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
    const error = await failureOf(createImageClient({ provider }).generate(request));
    expect(error.charged).toBe(charged);
    expect(stage.creates()).toHaveLength(1);
  }
});

test("a stream that only sends comments is alive until the time-out, and no longer", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-comments" },
  });
  const startedAt = performance.now();
  const error = await failureOf(stage.client.generate(request, { timeoutMs: 500 }));
  expect(error).toMatchObject({ code: "timeout", charged: "unknown", timeoutMs: 500 });
  expect(performance.now() - startedAt).toBeGreaterThan(450);
  expect(stage.creates()).toHaveLength(1);
});

test("a stream that stops after a partial image has it on the time-out", async () => {
  await using server = await startStream((response) => response.write(partialEvent(pixel, 0)));
  const error = await failureOf(clientOf(server).generate(request, { timeoutMs: 300 }));
  expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
  expect(error.partialImage).toMatchObject({ index: 0, mediaType: "image/png" });
  expect(Buffer.from(error.partialImage?.bytes ?? []).equals(pixel)).toBe(true);
});

test("a server that answers JSON to a stream is read as JSON", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-ignored" },
  });
  const events: ImageEvent[] = [];
  const { image } = await stage.client.generate(request, {
    onEvent: (event) => events.push(event),
  });
  expect((await image.info()).width).toBe(1024);
  expect(partialsOf(events)).toEqual([]);
  expect(stage.creates()).toHaveLength(1);
  await using server = await startServer((_, response) =>
    sendJson(response, { error: { code: "insufficient_quota", message: "no" } }, 429),
  );
  expect(await failureOf(clientOf(server).generate(request))).toMatchObject({ charged: "no" });
});

test("one of several streams that breaks costs the others nothing", async () => {
  await using stage = await startStreams();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "stream-broken" },
    ...{ afterPartials: 1, after: 1 },
  });
  const result: ImageResult = await stage.client.generate({ ...request, n: 3 });
  expect(result.images).toHaveLength(2);
  expect(result.failures).toMatchObject([
    { code: "submission_unknown", charged: "unknown", partialImage: { index: 0 } },
  ]);
  expect(stage.creates()).toHaveLength(3);
  expect(stage.sandbox.charges).toHaveLength(3);
});

test("an abort in the middle of a stream throws the caller's reason, and nothing is sent again", async () => {
  // It stays open after its first partial image: what has come to its end is paid for, and kept.
  await using server = await startStream((response) => response.write(partialEvent(pixel, 0)));
  const controller = new AbortController();
  const reason = new Error("enough");
  const types: string[] = [];
  const running = clientOf(server).generate(request, {
    signal: controller.signal,
    onEvent: ({ type }) => {
      types.push(type);
      if (type === "partial") controller.abort(reason);
    },
  });
  await expect(running).rejects.toBe(reason);
  await until(() => types.includes("failed"));
  expect(types).toEqual(["submitting", "partial", "failed"]);
  expect(server.requests).toHaveLength(1);
});
