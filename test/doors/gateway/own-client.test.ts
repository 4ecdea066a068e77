import { createServer } from "node:http";
import {
  AuthenticationError,
  createImageClient,
  DownloadError,
  GenerationFailedError,
  type ImageError,
  InsufficientCreditsError,
  InvalidRequestError,
  isImageError,
  JournalError,
  MalformedResponseError,
  ModerationError,
  openaiCompatible,
  PermissionDeniedError,
  ProviderUnavailableError,
  RateLimitError,
  SubmissionUnknownError,
  TimeoutError,
  trinetra,
  UnsupportedError,
} from "gpt-image-client";
import { createImageGateway } from "gpt-image-client/gateway";
import { fakeImageClient } from "gpt-image-client/testing";
import { expect, test } from "vitest";
import { authorize, GatewayStage, listen } from "./stage";

const cost = { amount: 0.06, unit: "USD", basis: "reported" } as const;

const errors: readonly (readonly [ImageError, string])[] = [
  [
    new InvalidRequestError({ charged: "no", field: "prompt", given: "-", taken: "+" }),
    "invalid_request",
  ],
  [
    new UnsupportedError({ charged: "no", field: "size", given: "-", taken: "+" }),
    "invalid_request",
  ],
  [new AuthenticationError({ charged: "no" }), "permission_denied"],
  [new PermissionDeniedError({ charged: "no" }), "permission_denied"],
  [new InsufficientCreditsError({ charged: "no" }), "insufficient_credits"],
  [new RateLimitError({ charged: "no", retryAfterMs: 90_000 }), "rate_limited"],
  [new ModerationError({ charged: "no", stage: "input" }), "moderation"],
  [new ModerationError({ charged: "unknown", stage: "output" }), "moderation"],
  [new GenerationFailedError({ charged: "no", transient: true }), "provider_unavailable"],
  [new GenerationFailedError({ charged: "no" }), "provider_unavailable"],
  [new GenerationFailedError({ charged: "yes", cost }), "generation_failed"],
  [new GenerationFailedError({ charged: "unknown" }), "submission_unknown"],
  [new TimeoutError({ charged: "unknown", timeoutMs: 1 }), "submission_unknown"],
  [new SubmissionUnknownError({ charged: "unknown" }), "submission_unknown"],
  [new MalformedResponseError({ charged: "yes" }), "generation_failed"],
  [new MalformedResponseError({ charged: "unknown" }), "submission_unknown"],
  [new ProviderUnavailableError({ charged: "no" }), "provider_unavailable"],
  [new DownloadError({ charged: "yes", cost }), "generation_failed"],
  [new JournalError({ charged: "no" }), "provider_unavailable"],
  [new JournalError({ charged: "yes" }), "generation_failed"],
];

test.each(errors.map(([error, code]) => [error.code, error.charged, code, error] as const))(
  "%s, charged %s, is read as %s by our own client, with its charge, and is not bought again",
  async (_, charged, code, error) => {
    const model = fakeImageClient({ error });
    const gateway = createImageGateway({ models: { "gpt-image-2": model }, authorize });
    const server = createServer(gateway.listener);
    const baseURL = `${await listen(server)}/v1`;
    const client = createImageClient({
      provider: openaiCompatible({ baseURL, apiKey: "key-of-anna", trustCharged: true }),
      timeoutMs: 900,
    });
    const found = await client.generate({ prompt: "A web" }).catch((each: unknown) => each);
    await client.close();
    server.closeAllConnections();
    server.close();
    if (!isImageError(found)) throw found;
    expect(found.cost).toEqual(error.cost);
    expect({ code: found.code, charged: found.charged }).toEqual({ code, charged });
    expect(found.requestId).toMatch(/^[\da-f]{32}$/);
    expect(found.message).toContain(error.message.split(".")[0]);
    // What cost nothing may be asked for again.
    if (charged !== "no") expect(model.calls).toHaveLength(1);
  },
);

test("our own client has the pictures, what was used and the model through a gateway", async () => {
  await using stage = await GatewayStage.open();
  const client = createImageClient({
    provider: openaiCompatible({
      ...{ baseURL: stage.baseURL, apiKey: "key-of-anna", trustCharged: true },
    }),
  });
  const result = await client.generate({ prompt: "A web", n: 2 });
  expect(result.images).toHaveLength(2);
  expect(await result.image.info()).toMatchObject({ mediaType: "image/png", width: 1024 });
  expect(result.usage?.outputTokens).toBeGreaterThan(0);
  await client.close();
});

/** Through a gateway whose provider reports what it costs, and is told to leave out what it cannot do. */
async function throughGateway(settings: { trustCharged?: boolean }, stream: boolean) {
  await using stage = await GatewayStage.open();
  const jobs = createImageClient({
    ...{ provider: trinetra(stage.sandbox.trinetra), poll: 5, onUnsupported: "omit" },
  });
  await using front = await GatewayStage.open({ gateway: { models: { "gpt-image-2": jobs } } });
  const client = createImageClient({
    provider: openaiCompatible({ baseURL: front.baseURL, apiKey: "key-of-anna", ...settings }),
  });
  const request = { prompt: "A web", n: 2, quality: "low", safetyIdentifier: "a" } as const;
  const result = await client.generate(stream ? { ...request, stream } : request);
  await client.close();
  return { result, billed: stage.sandbox.charges.reduce((sum, { amount }) => sum + amount, 0) };
}

test.each([false, true])(
  "our own client is told what it cost and what was left out: streaming %s",
  async (stream) => {
    const { result, billed } = await throughGateway({ trustCharged: true }, stream);
    expect(billed).toBeGreaterThan(0);
    expect(result.cost).toEqual({ amount: billed, unit: "credits", basis: "reported" });
    expect(result.warnings).toContainEqual(expect.stringContaining("safetyIdentifier"));
    expect(new Set(result.warnings).size).toBe(result.warnings.length);
    expect(result.images).toHaveLength(2);
  },
);

test("who does not trust its endpoint believes neither its costs nor its warnings", async () => {
  const { result } = await throughGateway({}, false);
  expect(result.cost).toBeUndefined();
  expect(result.warnings).toEqual([]);
});

test("of a cost that cannot be one, and warnings that are none, nothing is believed", async () => {
  const png = await (await fakeImageClient().generate({ prompt: "A" })).image.base64();
  const server = createServer((_, response) => {
    const cost = { amount: -1, unit: "USD", basis: "reported" };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ data: [{ b64_json: png }], cost, warnings: [7, { a: 1 }] }));
  });
  const baseURL = await listen(server);
  const provider = openaiCompatible({ baseURL, apiKey: "key-of-anna", trustCharged: true });
  const result = await createImageClient({ provider }).generate({ prompt: "A web" });
  expect([result.cost, result.warnings]).toEqual([undefined, []]);
  server.closeAllConnections();
  server.close();
});

test("a provider's key never reaches a caller, nor a caller's the provider", async () => {
  await using stage = await GatewayStage.open();
  stage.sandbox.inject({
    ...{ provider: "openaiCompatible", phase: "create", fault: "refusal", status: 401 },
    message: `Incorrect key: ${stage.sandbox.openaiCompatible.apiKey}`,
  });
  const response = await stage.post("/images/generations", { prompt: "A web" });
  const text = JSON.stringify([[...response.headers], await response.text()]);
  expect(response.status).toBe(403);
  expect(text).not.toContain(stage.sandbox.openaiCompatible.apiKey);
  expect(text).toContain("about the gateway's own key");
  expect(JSON.stringify(stage.sandbox.requests)).not.toContain("key-of-anna");
});
