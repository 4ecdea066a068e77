import { expect, test } from "vitest";
import * as providers from "../../src/providers/index";
import { contractSuite, type Subject, withoutSubject } from "../contract";
import { pixel } from "../support/server";

// The fixtures are the samples of the providers' own pages, with other URLs in them.

const shortapi: Subject = {
  provider: (baseURL) => providers.shortapi({ baseURL, apiKey: "a-key-of-shortapi" }),
  key: { header: "authorization", value: "Bearer a-key-of-shortapi" },
  createPath: "/api/v1/job/create",
  optionsName: "shortapi",
  maxImagesPerTask: 1,
  accepted: () => ({ body: { code: 0, data: { amount: "0.02", job_id: "job/1" } } }),
  job: {
    id: "job/1",
    queryPath: "/api/v1/job/query?id=job%2F1",
    running: { body: { code: 0, data: { status: 1 } } },
    succeeded: (urls) => ({
      body: { code: 0, data: { status: 2, result: { images: urls.map((url) => ({ url })) } } },
    }),
    failed: { body: { code: 0, data: { status: 3, error: "It failed", refunded: true } } },
  },
  refused: { body: { code: 400, info: "size is wrong" }, words: "size is wrong" },
  unauthorized: { status: 401, body: { code: 401, info: "Invalid API key." } },
  empty: { body: { code: 0, data: { status: 2, result: { images: [] } } } },
  cost: { amount: 0.02, unit: "USD", basis: "reported" },
  estimate: { amount: 0.06, unit: "USD", basis: "list" },
  edit: {
    images: ["https://file.shortapi.ai/assets/edit-images-1.png"],
    sent: '"images":["https://file.shortapi.ai/assets/edit-images-1.png"]',
  },
};

const taskId = "3ebe82c2-3abc-4015-9608-901baca54948";
const record = (more: object) => ({
  body: {
    ...{ code: 200, msg: "success" },
    data: {
      ...{ taskId, model: "gpt-image-2-text-to-image", param: "{}", createTime: 1757584164490 },
      ...{ resultJson: null, failCode: null, failMsg: null, costTime: null, completeTime: null },
      ...more,
    },
  },
});

const aigptimage: Subject = {
  provider: (baseURL) => providers.aigptimage({ baseURL, apiKey: "a-key-of-aigptimage" }),
  key: { header: "authorization", value: "Bearer a-key-of-aigptimage" },
  createPath: "/api/v1/jobs/createTask",
  optionsName: "aigptimage",
  maxImagesPerTask: 1,
  accepted: () => ({ body: { code: 200, msg: "success", data: { taskId } } }),
  job: {
    id: taskId,
    queryPath: `/api/v1/jobs/recordInfo?taskId=${taskId}`,
    running: record({ state: "waiting" }),
    succeeded: (urls) =>
      record({ state: "success", resultJson: JSON.stringify({ resultUrls: urls }) }),
    failed: record({ state: "fail", failCode: "500", failMsg: "Internal error" }),
  },
  refused: { body: { code: 422, msg: "aspect_ratio is wrong" }, words: "aspect_ratio is wrong" },
  unauthorized: { status: 401, body: { code: 401, msg: "Authentication failed" } },
  empty: record({ state: "success", resultJson: null }),
  edit: {
    images: ["https://example.com/a.png", "https://example.com/b.png"],
    sent: '"input_urls":["https://example.com/a.png","https://example.com/b.png"]',
  },
};

const trinetra: Subject = {
  provider: (baseURL) => providers.trinetra({ baseURL, apiKey: "a-key-of-trinetra" }),
  key: { header: "x-api-key", value: "a-key-of-trinetra" },
  createPath: "/v1/image/gpt-image-2",
  optionsName: "trinetra",
  maxImagesPerTask: 4,
  accepted: () => ({ status: 202, body: { job_id: "job_gptimage2_a1b2c3", status: "queued" } }),
  job: {
    id: "job_gptimage2_a1b2c3",
    queryPath: "/v1/jobs/job_gptimage2_a1b2c3",
    running: { body: { id: "job_gptimage2_a1b2c3", model: "gpt-image-2", status: "queued" } },
    succeeded: (urls) => ({
      body: {
        ...{ id: "job_gptimage2_a1b2c3", model: "gpt-image-2", status: "succeeded" },
        output: { outputs: urls.map((url) => ({ url, type: "image" })) },
        credits_charged: 10,
      },
    }),
    failed: { body: { id: "job_gptimage2_a1b2c3", status: "failed", error: "It failed" } },
  },
  refused: {
    status: 400,
    body: { error: { message: "quality is wrong" } },
    words: "quality is wrong",
  },
  unauthorized: { status: 401, body: { message: "Invalid API key." } },
  empty: { body: { id: "job_gptimage2_a1b2c3", status: "succeeded", output: { outputs: [] } } },
  cost: { amount: 10, unit: "credits", basis: "reported" },
  estimate: { amount: 7, unit: "credits", basis: "list" },
  edit: {
    images: ["https://example.com/a.png"],
    sent: '"image_url":"https://example.com/a.png"',
  },
};

const images = (data: object[]) => ({ body: { created: 1780000000, data, usage: {} } });

const openaiCompatible: Subject = {
  provider: (baseURL) => providers.openaiCompatible({ baseURL, apiKey: "a-key-of-openai" }),
  key: { header: "authorization", value: "Bearer a-key-of-openai" },
  createPath: "/images/generations",
  editPath: "/images/edits",
  optionsName: "openai",
  maxImagesPerTask: 10,
  accepted: (urls) => images(urls.map((url) => ({ url, revised_prompt: "..." }))),
  refused: {
    status: 400,
    body: { error: { message: "size is wrong", type: "invalid_request_error", code: null } },
    words: "size is wrong",
  },
  unauthorized: {
    status: 401,
    body: { error: { message: "Incorrect API key", type: "x", code: "invalid_api_key" } },
  },
  empty: images([]),
  edit: {
    images: [pixel],
    sent: /name="image"; filename="[^"]+\.png"\r\nContent-Type: image\/png/,
  },
};

const openai: Subject = {
  ...openaiCompatible,
  provider: (baseURL) => providers.openai({ baseURL, apiKey: "a-key-of-openai" }),
  accepted: (urls) => images(urls.map(() => ({ b64_json: pixel.toString("base64") }))),
};

const subjects: Readonly<Record<string, Subject>> = {
  ...{ shortapi, aigptimage, trinetra, openai, openaiCompatible },
};

for (const [name, subject] of Object.entries(subjects)) contractSuite(name, () => subject);

test("every provider that is exported runs the contract suite", () => {
  expect(withoutSubject(providers, subjects)).toEqual([]);
});

test("a provider without fixtures would be named, so that the suite cannot be forgotten", () => {
  const fifth = { ...providers, kie: () => {} };
  expect(withoutSubject(fifth, subjects)).toEqual(["kie"]);
  const { trinetra: _, ...fewer } = subjects;
  expect(withoutSubject(providers, fewer)).toEqual(["trinetra"]);
});

test("the fixtures of two subjects are told apart: each adapter refuses the other's answers", () => {
  const { adapter } = trinetra.provider("https://provider.example");
  const body = shortapi.job?.succeeded(["https://example.com/a.png"]).body;
  const outcome = adapter.read("query", { status: 200, headers: {}, body, receivedAt: 0 });
  expect(outcome.state).not.toBe("succeeded");
});
