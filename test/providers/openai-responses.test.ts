import { expect, test } from "vitest";
import { readResponse } from "../../src/api/read-response";
import { openai, openaiCompatible } from "../../src/index";
import { pictureOf } from "../support/media";
import { answers, clientOf, json, pages, response } from "./fixtures";
import {
  baseURL,
  client,
  origin,
  picture,
  provider,
  read,
  server,
} from "./support/openai-compatible";

test("the page's own response is read: url, b64_json and revised_prompt, and usage of nothing", async () => {
  expect(read("create", response(200, json(pages.openai.succeeded)))).toEqual({
    state: "succeeded",
    // Three dots are no picture.
    outputs: [{ url: "https://...", base64: undefined, revisedPrompt: "..." }],
    usage: {},
    cost: undefined,
    model: undefined,
  });
  answers(server, origin, [200, pages.openai.succeeded]);
  const { image, usage, cost } = await client.generate({ prompt: "x" });
  expect(image).toMatchObject({ url: "https://...", revisedPrompt: "..." });
  expect(usage).toBeUndefined();
  expect(cost).toBeUndefined();
});

test("url alone, b64_json alone and a data URL all give a picture", () => {
  const outputs = (each: object) => read("create", response(200, { data: [each] }));
  expect(outputs({ url: "https://a.test/1.png" })).toMatchObject({
    outputs: [{ url: "https://a.test/1.png" }],
  });
  const base64 = picture.b64_json;
  expect(outputs({ b64_json: base64 })).toMatchObject({ outputs: [{ base64 }] });
  expect(outputs({ url: `data:image/png;base64,${base64}` })).toMatchObject({
    outputs: [{ base64, url: undefined }],
  });
});

test.each([
  [{ success: true, code: "200", message: "ok", data: { data: [picture], usage: {} } }],
  [{ success: true, code: "200", message: "ok", data: { created: 1, data: [picture] } }],
  [{ success: true, code: 200, message: "", data: [picture] }],
])("a wrapped response is unwrapped", (body) => {
  expect(read("create", response(200, body))).toMatchObject({
    state: "succeeded",
    outputs: [{ base64: picture.b64_json }],
  });
});

test.each([{}, "", null, { message: "" }])(
  "an error of %j beside the pictures loses none of them",
  (error) => {
    expect(read("create", response(200, { data: [picture], error }))).toMatchObject({
      state: "succeeded",
      outputs: [{ base64: picture.b64_json }],
    });
  },
);

test("what stands in one field may be what the other is for", () => {
  const outputs = (each: object) => read("create", response(200, { data: [each] }));
  const [base64, url] = [picture.b64_json, "https://a.test/1.png"];
  for (const each of [
    { b64_json: url },
    { b64_json: url, url: "None" },
    { b64_json: "None", url },
    { b64_json: ` ${url}\n` },
  ]) {
    expect(outputs(each)).toMatchObject({ outputs: [{ url, base64: undefined }] });
  }
  for (const each of [
    { url: base64 },
    { b64_json: `data:image/png;base64,${base64}`, url: "null" },
    { b64_json: `\n${base64}\n` },
  ]) {
    expect(outputs(each)).toMatchObject({ outputs: [{ base64, url: undefined }] });
  }
  expect(outputs({ b64_json: "https://b.test/2.png", url })).toMatchObject({ outputs: [{ url }] });
});

test("what is no image is none, whatever field it stands in", () => {
  const words = ["None", "undefined", "null", "N/A", "[object Object]", " ", "<html></html>", "{}"];
  const encoded = ["<html></html>", '{"error":"no"}', "hello world, no picture here"];
  const junk = [
    ...[...words, ...encoded.map((each) => Buffer.from(each).toString("base64"))],
    ...["data:image/png;base64,undefined", "data:text/html;base64,PGh0bWw+", "A".repeat(5_000)],
    ...["The image could not be made: policy/safety.", pictureless(3_000)],
  ];
  for (const each of junk) {
    for (const item of [{ b64_json: each }, { url: each }, { b64_json: each, url: each }]) {
      const outcome = read("create", response(200, { data: [item] }));
      expect([each, outcome]).toMatchObject([
        each,
        { state: "failed", kind: "malformed_response", charged: "yes" },
      ]);
    }
  }
});

/** The base64 of noise. */
function pictureless(byteLength: number): string {
  return pictureOf(byteLength).subarray(16).toString("base64");
}

test.each([
  [[{ task_id: "t-1" }]],
  [[{ id: "img_1", status: "processing" }]],
  [[{ url: null, b64_json: null, taskId: 17 }]],
  [["t-1"]],
])("a list that names work in place of pictures, %j, does not say that it was charged", (data) => {
  expect(read("create", response(200, { data }))).toMatchObject({
    state: "refused",
    kind: "malformed_response",
    charged: "unknown",
  });
});

test("success without an image was charged", () => {
  for (const data of [[], [{}], [{ url: "" }], [null], [{ revised_prompt: "x", index: 0 }]]) {
    expect(read("create", response(200, { data }))).toMatchObject({
      state: "failed",
      kind: "malformed_response",
      charged: "yes",
    });
  }
});

test("the page's own error is read: message, code and status", async () => {
  const seen = answers(server, origin, [400, pages.openai.error, { "x-request-id": "req-9" }]);
  await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({
    code: "invalid_request",
    charged: "no",
    status: 400,
    providerCode: "error_code",
    requestId: "req-9",
    message: expect.stringContaining("error message"),
  });
  expect(seen).toHaveLength(1);
});

test.each([
  [{ error: { message: "words", param: "size" } }, undefined],
  [{ error: { message: "words", type: "some_type", code: null } }, "some_type"],
  [{ error: "words" }, undefined],
  [{ message: "words" }, undefined],
  [{ detail: "words" }, undefined],
  [{ success: false, code: "400", message: "words", data: null }, "400"],
])("an error in the form %j is read", (body, code) => {
  expect(read("create", response(400, body))).toMatchObject({
    kind: "invalid_request",
    charged: "no",
    message: "words",
    code,
  });
});

test.each([
  ["401", "authentication"],
  ["402", "insufficient_credits"],
  ["403", "permission_denied"],
  ["429", "rate_limited"],
  ["500", "submission_unknown"],
])(
  "a wrapped refusal with code %s and HTTP 200 is %s, and no word about the money",
  (code, kind) => {
    const body = { success: false, code, message: "words", data: null };
    expect(read("create", response(200, body))).toMatchObject({
      kind,
      charged: "unknown",
      resend: "never",
      message: "words",
      code,
    });
  },
);

test.each(["moderation_blocked", "content_policy_violation"])("code %s is moderation", (code) => {
  const error = { message: "no", type: "image_generation_user_error", code };
  expect(read("create", response(400, { error }))).toMatchObject({ kind: "moderation", code });
});

test("moderation_details name the stage and the categories", async () => {
  const error = {
    message: "Rejected by the safety system",
    type: "image_generation_user_error",
    code: "moderation_blocked",
    moderation_details: { moderation_stage: "output", categories: ["violence", "self-harm"] },
  };
  answers(server, origin, [400, { error }]);
  await expect(client.generate({ prompt: "x" })).rejects.toMatchObject({
    name: "ModerationError",
    code: "moderation",
    stage: "output",
    categories: ["violence", "self-harm"],
    // The picture was made, and withheld.
    charged: "unknown",
    retryable: false,
  });
});

test.each([
  "insufficient_quota",
  "billing_hard_limit_reached",
  "billing_not_active",
  "project_spend_limit_exceeded",
  "organization_spend_limit_exceeded",
])("a 429 with %s is about money and does not pass", async (code) => {
  for (const error of [
    { message: "no", code },
    { message: "no", type: code, code: null },
    { message: "no", type: code, code: "429" },
  ]) {
    const outcome = readResponse(provider.adapter, "create", response(429, { error }), baseURL);
    expect(outcome).toMatchObject({
      kind: "insufficient_credits",
      charged: "no",
      resend: "never",
    });
  }
});

test("a 429 with rate_limit_exceeded passes, after as long as Retry-After says", () => {
  const error = { message: "slow down", code: "rate_limit_exceeded" };
  expect(read("create", response(429, { error }, { "retry-after": "20" }))).toMatchObject({
    kind: "rate_limited",
    charged: "no",
    resend: "wait",
    retryAfterMs: 20_000,
  });
});

test("a code that is the name of a method of every object means nothing", () => {
  for (const code of ["constructor", "toString", "__proto__"]) {
    expect(read("create", response(400, { error: { message: "no", code } }))).toMatchObject({
      kind: "invalid_request",
    });
  }
});

test("a 5xx may have been paid, whatever its code says", () => {
  const error = { message: "no", code: "insufficient_quota" };
  expect(read("create", response(500, { error }))).toMatchObject({ charged: "unknown" });
});

test.each([
  ["low", "1024x1024", 196],
  ["medium", "1024x1024", 1756],
  ["high", "1024x1024", 7024],
  ["high", "1536x1024", 5488],
  ["high", "1024x1536", 5488],
])("quality %s at %s is %i output tokens", (quality, size, tokens) => {
  const prices = { textInput: 0, imageInput: 0, imageOutput: 1_000_000 };
  const priced = clientOf(openaiCompatible({ baseURL, apiKey: "k", prices }));
  expect(priced.estimate({ prompt: "x", quality, size })).toEqual({
    amount: tokens,
    unit: "USD",
    basis: "list",
  });
  expect(priced.estimate({ prompt: "x", quality, size, n: 12 })?.amount).toBe(tokens * 12);
});

test("what the model chooses itself has no price", () => {
  const atOpenai = clientOf(openai({ apiKey: "k" }));
  expect(atOpenai.estimate({ prompt: "x", size: "1024x1024" })).toBeUndefined();
  expect(atOpenai.estimate({ prompt: "x", quality: "auto", size: "1024x1024" })).toBeUndefined();
  expect(atOpenai.estimate({ prompt: "x", quality: "low" })).toBeUndefined();
  expect(atOpenai.estimate({ prompt: "x", quality: "high", size: "1024x1024" })?.amount).toBe(
    0.21072,
  );
});

const counted = {
  data: [picture],
  usage: {
    input_tokens: 1_050,
    output_tokens: 7_024,
    total_tokens: 8_074,
    input_tokens_details: { text_tokens: 50, image_tokens: 1_000 },
  },
};

test("usage is read with the split of the tokens that go in", async () => {
  answers(server, origin, [200, counted]);
  const { usage, cost } = await client.generate({ prompt: "x" });
  expect(usage).toEqual({
    inputTokens: 1_050,
    outputTokens: 7_024,
    totalTokens: 8_074,
    inputTextTokens: 50,
    inputImageTokens: 1_000,
  });
  expect(cost).toBeUndefined();
});

test("a cost is computed from usage at OpenAI's origin, and elsewhere only with prices", () => {
  const cost = { amount: 0.21897, unit: "USD", basis: "usage" };
  const costOf = (each: { adapter: typeof provider.adapter }) =>
    Object(each.adapter.read("create", response(200, counted))).cost;
  expect(costOf(openai({ apiKey: "k" }))).toEqual(cost);
  expect(costOf(openai({ apiKey: "k", baseURL: "https://api.openai.com/v1/" }))).toEqual(cost);
  const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };
  expect(costOf(openaiCompatible({ baseURL, apiKey: "k", prices }))).toEqual(cost);
  expect(costOf(provider)).toBeUndefined();
  expect(
    costOf(openai({ apiKey: "k", baseURL: "https://api.openai.com.evil.test/v1" })),
  ).toBeUndefined();
  expect(costOf(openai({ apiKey: "k", baseURL: "http://api.openai.com/v1" }))).toBeUndefined();
  expect(costOf(openai({ apiKey: "k", model: "gpt-image-2.5" }))).toBeUndefined();
});

test("without the split of text and images there is no honest cost", () => {
  const usage = { input_tokens: 50, output_tokens: 100 };
  const outcome = openai({ apiKey: "k" }).adapter.read(
    "create",
    response(200, { ...counted, usage }),
  );
  expect(outcome).toMatchObject({ usage: { inputTokens: 50, outputTokens: 100 } });
  expect(outcome).toHaveProperty("cost", undefined);
});

test("usage with odd values spoils nothing", () => {
  for (const usage of [null, [], "x", { input_tokens: "many", output_tokens: -1 }]) {
    expect(read("create", response(200, { data: [picture], usage }))).toMatchObject({
      state: "succeeded",
    });
  }
});

test("the response's model is read where it says one", () => {
  expect(read("create", response(200, { data: [picture], model: "gpt-image-2-x" }))).toMatchObject({
    model: "gpt-image-2-x",
  });
});

test("jobs cannot be resumed: the response is the image", () => {
  expect(client.capabilities.resumable).toBe(false);
  expect(provider.adapter.query).toBeUndefined();
});
