import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  type Sandbox,
  type SandboxFaultKind,
  type SandboxOptions,
  type SandboxPhase,
  type SandboxProvider,
  startSandbox,
} from "../../src/testing/sandbox";

const jobDurationMs = 30;
let sandbox: Sandbox;

beforeEach(async () => {
  sandbox = await startSandbox({ jobDurationMs, plainImages: true });
});

afterEach(async () => {
  vi.useRealTimers();
  await sandbox.close();
});

/** From here on jobs, links and their like grow older by what `pass` is told, however slow the machine. */
function stopClock(): void {
  vi.useFakeTimers({ toFake: ["Date"] });
}

function pass(durationMs: number): void {
  vi.setSystemTime(Date.now() + durationMs);
}

/** Puts another sandbox in place of the one that every test gets. */
async function restart(options: SandboxOptions): Promise<void> {
  await sandbox.close();
  sandbox = await startSandbox({ jobDurationMs, plainImages: true, ...options });
}

/** What the tests read of the providers' answers. */
interface Answers {
  shortapi: {
    data: { job_id: string; status: number; result: { images: [{ url: string }] } };
  };
  aigptimage: { data: { taskId: string; state: string; resultJson: string } };
  trinetra: { job_id: string; output: { outputs: { url: string }[] }; credits_charged: number };
  openaiCompatible: {
    data: [OpenAIImage, ...OpenAIImage[]];
    usage: { output_tokens: number; input_tokens_details: { image_tokens: number } };
  };
}

interface OpenAIImage {
  b64_json: string;
  url?: string;
}

type JobProvider = Exclude<SandboxProvider, "openaiCompatible">;

async function read<Provider extends SandboxProvider>(
  _provider: Provider,
  response: Response,
): Promise<Answers[Provider]> {
  // The tests read only what the page promises; where it is missing, they fail.
  return (await response.json()) as Answers[Provider];
}

function headersFor(provider: SandboxProvider): Record<string, string> {
  const { apiKey } = sandbox[provider];
  return provider === "trinetra" ? { "x-api-key": apiKey } : { authorization: `Bearer ${apiKey}` };
}

const createPath: Record<SandboxProvider, string> = {
  shortapi: "/api/v1/job/create",
  aigptimage: "/api/v1/jobs/createTask",
  trinetra: "/v1/image/gpt-image-2",
  openaiCompatible: "/images/generations",
};

const pollPath: Record<JobProvider, string> = {
  shortapi: "/api/v1/job/query?id=",
  aigptimage: "/api/v1/jobs/recordInfo?taskId=",
  trinetra: "/v1/jobs/",
};

/** What each page gives as its sample. */
const samples = {
  shortapi: {
    model: "openai/gpt-image-2/text-to-image",
    args: { prompt: "This is a live stream UI mockup" },
    callback_url: "CALLBACK_URL",
  },
  aigptimage: {
    model: "gpt-image-2-text-to-image",
    input: {
      prompt: "A cinematic product photo of a transparent speaker on a reflective black table",
      aspect_ratio: "1:1",
      resolution: "1K",
    },
  },
  trinetra: {
    prompt: "A photoreal close-up of dew on a spider web at sunrise",
    quality: "high",
    n: 1,
  },
  openaiCompatible: {
    model: "gpt-image-2",
    prompt: "A simple red apple on a white table, photorealistic",
    size: "1024x1024",
    n: 1,
  },
} as const;

function post(
  provider: SandboxProvider,
  body: unknown = samples[provider],
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${sandbox[provider].baseURL}${createPath[provider]}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headersFor(provider), ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

function query(provider: JobProvider, jobId: string): Promise<Response> {
  return fetch(`${sandbox[provider].baseURL}${pollPath[provider]}${jobId}`, {
    headers: headersFor(provider),
  });
}

async function create(provider: JobProvider, body?: unknown): Promise<string> {
  const response = await post(provider, body);
  if (provider === "trinetra") return (await read(provider, response)).job_id;
  if (provider === "shortapi") return (await read(provider, response)).data.job_id;
  return (await read(provider, response)).data.taskId;
}

async function poll<Provider extends JobProvider>(
  provider: Provider,
  jobId: string,
): Promise<Answers[Provider]> {
  return read(provider, await query(provider, jobId));
}

/** The response of a job that has had its time. */
async function finished<Provider extends JobProvider>(
  provider: Provider,
  body?: unknown,
): Promise<Answers[Provider]> {
  const jobId = await create(provider, body);
  if (vi.isFakeTimers()) pass(jobDurationMs);
  else await sleep(jobDurationMs + 5);
  return poll(provider, jobId);
}

/** Images from the endpoint that answers at once. */
async function generate(more: object = {}): Promise<Answers["openaiCompatible"]> {
  const body = { ...samples.openaiCompatible, ...more };
  return read("openaiCompatible", await post("openaiCompatible", body));
}

function decode({ b64_json }: OpenAIImage | undefined = { b64_json: "" }): Buffer {
  return Buffer.from(b64_json, "base64");
}

async function imageUrl(): Promise<string> {
  return (await finished("shortapi")).data.result.images[0].url;
}

async function dimensionsOf(source: string | Buffer): Promise<string> {
  const bytes =
    typeof source === "string" ? Buffer.from(await (await fetch(source)).arrayBuffer()) : source;
  const { format, width, height } = await sharp(bytes).metadata();
  return `${format} ${width}x${height}`;
}

async function responseOf(response: Response): Promise<[number, unknown]> {
  return [response.status, await response.json()];
}

function edit(fields: Record<string, string | Blob | Blob[]>): Promise<Response> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields))
    for (const one of [value].flat())
      if (typeof one === "string") form.append(name, one);
      else form.append(name, one, "picture.png");
  return fetch(`${sandbox.openaiCompatible.baseURL}/images/edits`, {
    method: "POST",
    headers: headersFor("openaiCompatible"),
    body: form,
  });
}

async function picture(options: { width?: number; alpha?: boolean; type?: string } = {}) {
  const { width = 64, alpha = false, type = "image/png" } = options;
  const background = alpha ? { r: 9, g: 9, b: 9, alpha: 0.5 } : { r: 9, g: 99, b: 9 };
  const bytes = await sharp({
    create: { width, height: 64, channels: alpha ? 4 : 3, background },
  })
    .png()
    .toBuffer();
  return new Blob([new Uint8Array(bytes)], { type });
}

test("ShortAPI answers its page's sample with a job that queues, runs and succeeds", async () => {
  await restart({ jobDurationMs: 120, queueDurationMs: 60 });
  stopClock();
  const response = await post("shortapi");
  const created = await read("shortapi", response);
  expect(response.status).toBe(200);
  expect(created).toEqual({
    code: 0,
    data: { amount: "0.02", job_id: expect.stringMatching(/.+/) },
  });
  const states = [];
  for (const pauseMs of [0, 60, 60]) {
    pass(pauseMs);
    states.push(await (await query("shortapi", created.data.job_id)).json());
  }
  expect(states).toEqual([
    { code: 0, data: { status: 0 } },
    { code: 0, data: { status: 1 } },
    { code: 0, data: { status: 2, result: { images: [{ url: expect.any(String) }] } } },
  ]);
  expect(sandbox.charges).toEqual([
    { provider: "shortapi", jobId: created.data.job_id, images: 1, amount: 0.06, unit: "USD" },
  ]);
});

test("ShortAPI draws the size asked for", async () => {
  const args = { prompt: "a fox", size: "1536x1024" };
  const reply = await finished("shortapi", { model: samples.shortapi.model, args });
  expect(await dimensionsOf(reply.data.result.images[0].url)).toBe("png 1536x1024");
});

test("ShortAPI edits up to sixteen URLs and takes no size with them", async () => {
  const body = (images: unknown, more = {}) => ({
    model: "openai/gpt-image-2/edit",
    args: { prompt: "make it snow", images, ...more },
  });
  const image = "https://file.shortapi.ai/assets/examples/openai/gpt-image-2/edit-images-1.png";
  expect((await finished("shortapi", body([image]))).data.status).toBe(2);
  for (const wrong of [
    body([]),
    body(Array(17).fill(image)),
    body(["data:image/png;base64,AAAA"]),
    body([image], { size: "auto" }),
  ])
    expect(await responseOf(await post("shortapi", wrong))).toEqual([
      200,
      { code: 400, data: null, info: expect.stringMatching(/images|size/) },
    ]);
});

test("ShortAPI says in an envelope that it knows no such job", async () => {
  expect(await responseOf(await query("shortapi", "nothing"))).toEqual([
    200,
    { code: 404, data: null, info: 'Job "nothing" was not found.' },
  ]);
});

test("aigptimage answers its page's sample with a task that succeeds", async () => {
  await restart({ jobDurationMs: 120, queueDurationMs: 60 });
  stopClock();
  const taskId = await create("aigptimage");
  const waiting = await (await query("aigptimage", taskId)).json();
  expect(waiting).toEqual({
    code: 200,
    msg: "success",
    data: {
      taskId,
      model: "gpt-image-2-text-to-image",
      state: "waiting",
      param: JSON.stringify(samples.aigptimage),
      resultJson: null,
      failCode: null,
      failMsg: null,
      costTime: null,
      completeTime: null,
      createTime: expect.any(Number),
    },
  });
  pass(120);
  const { data } = await poll("aigptimage", taskId);
  expect(data).toMatchObject({ state: "success", costTime: 120 });
  const { resultUrls } = JSON.parse(data.resultJson);
  expect(await dimensionsOf(resultUrls[0])).toBe("png 1024x1024");
  expect(sandbox.charges).toMatchObject([{ jobId: taskId, amount: 4, unit: "credits" }]);
});

test.each([
  ["3:2", "1K", "1536x1024", 4],
  ["2:3", "2K", "1360x2048", 8],
  ["9:16", "4K", "2160x3840", 16],
  ["auto", "1K", "1024x1024", 4],
  ["7:3", "1K", "1792x768", 4],
])("aigptimage draws %s at %s as %s for %d credits", async (ratio, resolution, size, credits) => {
  const input = { prompt: "a fox", aspect_ratio: ratio, resolution, output_format: "jpg" };
  const { data } = await finished("aigptimage", { model: samples.aigptimage.model, input });
  expect(await dimensionsOf(JSON.parse(data.resultJson).resultUrls[0])).toBe(`jpeg ${size}`);
  expect(sandbox.charges).toMatchObject([{ amount: credits }]);
});

test("aigptimage charges one request id once", async () => {
  const send = async (id: string) => {
    const response = await post("aigptimage", undefined, { "X-Request-ID": id });
    return (await read("aigptimage", response)).data.taskId;
  };
  const first = await send("one");
  expect(await send("one")).toBe(first);
  expect(await send("two")).not.toBe(first);
  expect(sandbox.charges.map(({ idempotencyKey }) => idempotencyKey)).toEqual(["one", "two"]);
});

test("aigptimage knows no such task", async () => {
  expect(await responseOf(await query("aigptimage", "nothing"))).toEqual([
    404,
    { code: 404, data: null, msg: 'Task "nothing" was not found' },
  ]);
});

test("aigptimage edits https URLs, and http ones of this machine", async () => {
  const body = (url: string) => ({
    model: "gpt-image-2-image-to-image",
    input: { prompt: "make it snow", input_urls: [url] },
  });
  expect((await post("aigptimage", body("https://example.com/a.png"))).status).toBe(200);
  expect((await post("aigptimage", body(`${sandbox.cdnUrl}/a.png`))).status).toBe(200);
  expect(await responseOf(await post("aigptimage", body("http://example.com/a.png")))).toEqual([
    422,
    { code: 422, data: null, msg: "'input.input_urls.0': must be a public https URL" },
  ]);
});

test("aigptimage takes at most 20,000 characters", async () => {
  const body = (prompt: string) => ({ model: samples.aigptimage.model, input: { prompt } });
  expect((await post("aigptimage", body("x".repeat(20_000)))).status).toBe(200);
  expect((await post("aigptimage", body("x".repeat(20_001)))).status).toBe(422);
});

test("a job cannot be found right after its create, where that is asked for", async () => {
  await restart({ missingAfterCreateMs: 60 });
  stopClock();
  const taskId = await create("aigptimage");
  const jobId = await create("trinetra");
  expect(await responseOf(await query("aigptimage", taskId))).toEqual([
    422,
    { code: 422, msg: "recordInfo is null", data: null },
  ]);
  expect((await query("trinetra", jobId)).status).toBe(404);
  pass(60);
  expect((await query("aigptimage", taskId)).status).toBe(200);
  expect((await query("trinetra", jobId)).status).toBe(200);
});

test("Trinetra answers its page's sample and bills on success alone", async () => {
  stopClock();
  const response = await post("trinetra");
  const created = await read("trinetra", response);
  expect(response.status).toBe(202);
  expect(created).toEqual({ job_id: expect.any(String), status: "queued" });
  expect(sandbox.charges).toEqual([]);
  pass(jobDurationMs);
  expect(await (await query("trinetra", created.job_id)).json()).toEqual({
    id: created.job_id,
    model: "gpt-image-2",
    status: "succeeded",
    output: { outputs: [{ url: expect.any(String), type: "image" }] },
    credits_charged: 14,
  });
  expect(sandbox.charges).toMatchObject([{ amount: 14, unit: "credits", images: 1 }]);
});

test("Trinetra draws several images in the ratio and format asked for", async () => {
  const reply = await finished("trinetra", {
    prompt: "a fox",
    n: 3,
    aspect_ratio: "16:9",
    output_format: "webp",
    output_compression: 60,
  });
  const urls = reply.output.outputs.map(({ url }) => url);
  expect(new Set(urls).size).toBe(3);
  expect(await dimensionsOf(urls[2] ?? "")).toBe("webp 1536x864");
  expect(reply.credits_charged).toBe(21);
});

test("Trinetra edits one URL and compresses no PNG", async () => {
  const body = { prompt: "make it snow", image_url: "https://example.com/a.png" };
  expect((await post("trinetra", body)).status).toBe(202);
  expect(await responseOf(await post("trinetra", { ...body, output_compression: 50 }))).toEqual([
    400,
    { error: { code: 400, message: "'output_compression': only for jpeg and webp." } },
  ]);
});

test("the OpenAI-compatible endpoint answers its page's sample with the image", async () => {
  const startedAt = Date.now();
  const reply = await generate();
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(jobDurationMs);
  expect(reply).toEqual({
    created: expect.any(Number),
    data: [{ b64_json: expect.any(String) }],
    usage: {
      input_tokens: 13,
      input_tokens_details: { text_tokens: 13, image_tokens: 0 },
      output_tokens: 1756,
      total_tokens: 1769,
    },
  });
  expect(await dimensionsOf(decode(reply.data[0]))).toBe("png 1024x1024");
  expect(sandbox.charges).toMatchObject([{ amount: 0.052745, unit: "USD", images: 1 }]);
});

test("the OpenAI-compatible page's own path works too", async () => {
  const response = await fetch(`${sandbox.url}/openai/api/v1/images/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headersFor("openaiCompatible") },
    body: JSON.stringify(samples.openaiCompatible),
  });
  expect(response.status).toBe(200);
});

test.each([
  ["low", "1024x1024", 196],
  ["medium", "1024x1024", 1756],
  ["high", "1024x1024", 7024],
  ["high", "1536x1024", 5488],
])("an OpenAI image of %s quality at %s is %d tokens", async (quality, size, tokens) => {
  const reply = await generate({ quality, size, n: 2 });
  expect(reply.usage.output_tokens).toBe(2 * tokens);
  expect(reply.data).toHaveLength(2);
});

test.each([
  ["url", ["revised_prompt", "url"]],
  ["both", ["b64_json", "revised_prompt", "url"]],
] as const)("the OpenAI-compatible endpoint can answer with %s", async (openaiAnswers, members) => {
  await restart({ openaiAnswers });
  const [image] = (await generate()).data;
  expect(Object.keys(image).sort()).toEqual(members);
  expect(await dimensionsOf(image.url ?? "")).toBe("png 1024x1024");
});

test("the OpenAI-compatible endpoint can wrap its response", async () => {
  await restart({ openaiAnswers: "wrapped" });
  expect(await responseOf(await post("openaiCompatible"))).toEqual([
    200,
    {
      success: true,
      code: "200",
      message: "success",
      data: {
        created: expect.any(Number),
        data: [{ b64_json: expect.any(String), revised_prompt: samples.openaiCompatible.prompt }],
        usage: expect.any(Object),
      },
    },
  ]);
});

test("an OpenAI edit takes a form with images and a mask", async () => {
  const response = await edit({
    model: "gpt-image-2",
    prompt: "make it snow",
    size: "1536x1024",
    n: "2",
    output_format: "jpeg",
    output_compression: "70",
    "image[]": [await picture(), await picture()],
    mask: await picture({ alpha: true }),
  });
  const reply = await read("openaiCompatible", response);
  expect(await dimensionsOf(decode(reply.data[1]))).toBe("jpeg 1536x1024");
  expect(reply.usage.input_tokens_details.image_tokens).toBeGreaterThan(0);
  expect(sandbox.requests[0]?.body).toContainEqual({
    name: "mask",
    filename: "picture.png",
    mediaType: "image/png",
    byteLength: expect.any(Number),
  });
  expect(sandbox.requests[0]?.body).toContainEqual({ name: "n", byteLength: 1, value: "2" });
});

test("an OpenAI edit refuses what it cannot use", async () => {
  const fields = { model: "gpt-image-2", prompt: "make it snow" };
  const image = await picture();
  const text = new Blob(["no picture"], { type: "image/png" });
  const refusals: [Record<string, string | Blob | Blob[]>, string][] = [
    [fields, "image"],
    [{ ...fields, image: await picture({ type: "application/octet-stream" }) }, "image"],
    [{ ...fields, image: await picture({ type: "image/jpeg" }) }, "image"],
    [{ ...fields, image: text }, "image"],
    [{ ...fields, image: "a.png" }, "image"],
    [{ ...fields, image: [image, image] }, "image"],
    [{ ...fields, "image[]": Array(17).fill(image) }, "image"],
    [{ ...fields, image, mask: image }, "mask"],
    [{ ...fields, image, mask: await picture({ alpha: true, width: 32 }) }, "mask"],
    [{ ...fields, image, mask: [await picture({ alpha: true }), image] }, "mask"],
    [{ ...fields, image, n: "two" }, "n"],
    [{ ...fields, image, input_fidelity: "high" }, "input_fidelity"],
  ];
  for (const [form, param] of refusals)
    expect(await responseOf(await edit(form))).toMatchObject([400, { error: { param } }]);
});

test("an OpenAI edit takes each field once, and nothing but a form", async () => {
  const form = new FormData();
  for (const n of ["1", "2"]) form.append("n", n);
  form.append("image", await picture(), "a.png");
  const send = async (body: FormData | string, headers: Record<string, string> = {}) =>
    responseOf(
      await fetch(`${sandbox.openaiCompatible.baseURL}/images/edits`, {
        method: "POST",
        headers: { ...headersFor("openaiCompatible"), ...headers },
        body,
      }),
    );
  expect(await send(form)).toMatchObject([400, { error: { param: "n" } }]);
  expect(await send("{}", { "content-type": "application/json" })).toMatchObject([415, {}]);
  expect(await send("")).toMatchObject([400, { error: { message: "The request body is empty." } }]);
});

test("a mask is measured against a JPEG or WebP too", async () => {
  const mask = await picture({ alpha: true });
  for (const type of ["jpeg", "webp"] as const) {
    const bytes = await sharp(Buffer.from(await (await picture()).arrayBuffer()))
      .toFormat(type)
      .toBuffer();
    const image = new Blob([new Uint8Array(bytes)], { type: `image/${type}` });
    const response = await edit({ model: "gpt-image-2", prompt: "make it snow", image, mask });
    expect(response.status).toBe(200);
  }
});

test.each([
  ["response_format", "b64_json"],
  ["style", "vivid"],
  ["input_fidelity", "high"],
  ["n", 11],
  ["n", "1"],
  ["size", "1000x1000"],
  ["size", "3856x2160"],
  ["size", "512x512"],
  ["size", "3840x1024"],
  ["size", "3840x3840"],
  ["size", "big"],
  ["size", undefined],
  ["model", "gpt-image-9"],
  ["quality", "best"],
  ["output_compression", 101],
])("the OpenAI-compatible endpoint refuses %s: %j", async (field, value) => {
  const body = { ...samples.openaiCompatible, [field]: value };
  expect(await responseOf(await post("openaiCompatible", body))).toMatchObject([
    400,
    { error: { type: "invalid_request_error", param: field } },
  ]);
  expect(sandbox.charges).toEqual([]);
});

const forms: [SandboxProvider, number, (code: unknown) => object][] = [
  ["shortapi", 401, (code) => ({ code, info: expect.any(String) })],
  ["aigptimage", 401, (code) => ({ code, msg: expect.any(String) })],
  ["trinetra", 401, () => ({ error: { message: expect.any(String) } })],
  ["openaiCompatible", 401, () => ({ error: { message: expect.any(String) } })],
];

test.each(forms)("%s refuses a wrong key in its own form", async (provider, status, form) => {
  const wrong = { authorization: "Bearer wrong", "x-api-key": "wrong" };
  expect(await responseOf(await post(provider, undefined, wrong))).toMatchObject([
    status,
    form(status),
  ]);
  expect(sandbox.jobs).toEqual([]);
});

test.each(forms)("%s refuses bad JSON, no body and another type", async (provider, _, form) => {
  for (const [body, headers, status] of [
    ["{", {}, 400],
    ["", {}, 400],
    ["prompt=x", { "content-type": "text/plain" }, 415],
  ] as const)
    expect(await responseOf(await post(provider, body, headers))).toMatchObject([
      status,
      form(status),
    ]);
});

test.each(forms)("%s refuses a field that its page does not list", async (provider, _, form) => {
  const response = await post(provider, { ...samples[provider], seed: 7 });
  expect(response.status).toBe({ shortapi: 200, aigptimage: 422 }[provider as string] ?? 400);
  const body = await response.json();
  expect(body).toMatchObject(form(expect.any(Number)));
  expect(JSON.stringify(body)).toContain("seed");
});

test.each(forms)("%s knows no other paths", async (provider, _, form) => {
  const response = await fetch(`${sandbox[provider].baseURL}/v9/nothing`);
  expect(await responseOf(response)).toMatchObject([404, form(404)]);
  expect(sandbox.requests).toMatchObject([{ provider, phase: "unknown" }]);
});

test("a path of no provider is answered with 404", async () => {
  expect((await fetch(`${sandbox.url}/nothing`)).status).toBe(404);
  expect((await fetch(`${sandbox.url}/pictures/nothing`)).status).toBe(404);
  expect(sandbox.requests).toMatchObject([
    { provider: "unknown", phase: "unknown" },
    { provider: "cdn", phase: "download", path: "/pictures/nothing" },
  ]);
});

test("images lie on the providers' own origin, or on one of their own where that is asked for", async () => {
  expect(sandbox.cdnUrl).toBe(sandbox.url);
  expect(new URL(await imageUrl()).origin).toBe(sandbox.url);
  await restart({ separateCdn: true });
  expect(sandbox.cdnUrl).not.toBe(sandbox.url);
  const url = await imageUrl();
  expect(new URL(url).origin).toBe(sandbox.cdnUrl);
  expect((await fetch(url)).headers.get("content-type")).toBe("image/png");
  expect((await fetch(url.replace(sandbox.cdnUrl, sandbox.url))).status).toBe(404);
  expect((await fetch(`${sandbox.cdnUrl}/nothing`)).status).toBe(404);
});

test("the log shows what arrived, and whether it carried a key", async () => {
  const url = await imageUrl();
  await fetch(url);
  await fetch(url, { headers: { authorization: "Bearer oops" } });
  const { jobId } = sandbox.jobs[0] ?? {};
  expect(sandbox.requests).toMatchObject([
    {
      provider: "shortapi",
      phase: "create",
      method: "POST",
      body: samples.shortapi,
      jobId,
      carriedKey: true,
    },
    { provider: "shortapi", phase: "poll", path: `/shortapi/api/v1/job/query?id=${jobId}`, jobId },
    { provider: "cdn", phase: "download", jobId, carriedKey: false },
    {
      provider: "cdn",
      phase: "download",
      headers: { authorization: "Bearer oops" },
      carriedKey: true,
    },
  ]);
});

test("an image is served with its type and length, to GET and HEAD alone", async () => {
  const url = await imageUrl();
  const response = await fetch(url);
  const bytes = await response.arrayBuffer();
  expect(response.headers.get("content-type")).toBe("image/png");
  expect(response.headers.get("content-length")).toBe(String(bytes.byteLength));
  expect((await fetch(url, { method: "HEAD" })).headers.get("content-length")).toBe(
    String(bytes.byteLength),
  );
  expect((await fetch(url, { method: "POST" })).status).toBe(405);
});

test("an image expires, and a fresh query hands out a fresh URL", async () => {
  await restart({ imageTtlMs: 40 });
  stopClock();
  const url = await imageUrl();
  expect((await fetch(url)).status).toBe(200);
  pass(41);
  expect((await fetch(url)).status).toBe(403);
  const again = await poll("shortapi", sandbox.jobs[0]?.jobId ?? "");
  expect((await fetch(again.data.result.images[0].url)).status).toBe(200);
});

test("reset forgets everything that happened", async () => {
  const url = await imageUrl();
  sandbox.inject({ provider: "shortapi", phase: "create", fault: "hang" });
  sandbox.reset();
  expect([sandbox.requests, sandbox.charges, sandbox.jobs]).toEqual([[], [], []]);
  expect((await fetch(url)).status).toBe(404);
  expect((await post("shortapi")).status).toBe(200);
});

test("a body of more than 64 MiB is refused", async () => {
  expect((await post("trinetra", "x".repeat(64 * 1024 * 1024 + 1))).status).toBe(413);
});

test("nonsense on the wire does not bring the sandbox down", async () => {
  const port = Number(new URL(sandbox.url).port);
  for (const bytes of ["\0\0nonsense\r\n\r\n", "GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n"]) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(bytes);
    await new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
    socket.destroy();
  }
  const torn = connect(port, "127.0.0.1");
  torn.write(
    "POST /trinetra/v1/image/gpt-image-2 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
  );
  await sleep(10);
  torn.destroy();
  const form = await fetch(`${sandbox.openaiCompatible.baseURL}/images/edits`, {
    method: "POST",
    headers: {
      ...headersFor("openaiCompatible"),
      "content-type": "multipart/form-data; boundary=x",
    },
    body: "--x\r\nnonsense",
  });
  expect(form.status).toBe(400);
  expect((await post("trinetra")).status).toBe(202);
});

test("a port that is taken is an error", async () => {
  await expect(startSandbox({ port: Number(new URL(sandbox.url).port) })).rejects.toThrow(
    "EADDRINUSE",
  );
});

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
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(2));
  impatience.abort(new Error("no patience"));
  await expect(answering).rejects.toThrow("no patience");
  await vi.waitFor(() => expect(sandbox.charges).toHaveLength(2));
});

test("a slow response is accepted at once", async () => {
  inject("trinetra", "create", { fault: "slow", delayMs: 80 });
  const startedAt = Date.now();
  const answering = post("trinetra");
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(1));
  expect((await answering).status).toBe(202);
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(79);
});

test("a hanging response is accepted, and ends when the sandbox closes", async () => {
  inject("aigptimage", "create", { fault: "hang" });
  const answering = expect(post("aigptimage")).rejects.toThrow("fetch failed");
  await vi.waitFor(() => expect(sandbox.charges).toHaveLength(1));
  await sandbox.close();
  await answering;
});

test("closing ends answers that are still under way", async () => {
  await restart({ jobDurationMs: 60_000 });
  const answering = expect(post("openaiCompatible")).rejects.toThrow("fetch failed");
  await vi.waitFor(() => expect(sandbox.jobs).toHaveLength(1));
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

test("words are drawn, the same for the same prompt, however hostile the prompt", async () => {
  await restart({ plainImages: false });
  const draw = async (prompt: string, more = {}) =>
    decode((await generate({ prompt, ...more })).data[0]);
  const first = await draw('A <b>fox</b> & "friends"');
  expect(await draw('A <b>fox</b> & "friends"')).toEqual(first);
  expect(await draw("A wolf")).not.toEqual(first);
  const hostile = `\0\ud800]]></text>${"森".repeat(2_000)} ${"word ".repeat(5_000)}`;
  expect(await dimensionsOf(await draw(hostile))).toBe("png 1024x1024");
  const clear = await draw("A wolf", { background: "transparent", output_format: "webp" });
  expect((await sharp(clear).stats()).isOpaque).toBe(false);
  expect(await dimensionsOf(clear)).toBe("webp 1024x1024");
});

test("an edit shows the picture that was edited", async () => {
  await restart({ plainImages: false });
  const draw = async (image: string) => {
    const reply = await finished("shortapi", {
      model: "openai/gpt-image-2/edit",
      args: { prompt: "make it snow", images: [image] },
    });
    return Buffer.from(await (await fetch(reply.data.result.images[0].url)).arrayBuffer());
  };
  const server = createServer((_, response) => response.end("<p>no picture</p>"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // An IP server that listens has an address with a port.
  const page = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const own = await imageUrl();
  const withPicture = await draw(own);
  const withoutPicture = await draw(`${sandbox.cdnUrl}/missing.png`);
  expect(await dimensionsOf(withPicture)).toBe("png 1024x1024");
  expect(withPicture).not.toEqual(withoutPicture);
  // An address where nobody listens, and one that serves no picture, only leave the frame out.
  expect(await draw("http://127.0.0.1:9/a.png")).toEqual(withoutPicture);
  expect(await draw(page)).toEqual(withoutPicture);
  expect(sandbox.requests.filter(({ path }) => own.endsWith(path))).toEqual([]);
  server.close();
});

test("a prompt that starts with test is drawn plain at once", async () => {
  await restart({ plainImages: false });
  const reply = await finished("shortapi", {
    model: samples.shortapi.model,
    args: { prompt: "test of a fox" },
  });
  const bytes = await (await fetch(reply.data.result.images[0].url)).arrayBuffer();
  expect(bytes.byteLength).toBeLessThan(20_000);
});

test("without sharp there is PNG, and a clear sentence for the rest", async () => {
  await sandbox.close();
  vi.resetModules();
  vi.doMock("sharp", () => {
    throw new Error("Cannot find package 'sharp'");
  });
  const fresh = await import("../../src/testing/sandbox");
  sandbox = await fresh.startSandbox({ jobDurationMs });
  const reply = await finished("shortapi");
  expect(await dimensionsOf(reply.data.result.images[0].url)).toBe("png 1024x1024");
  expect(
    await responseOf(await post("trinetra", { prompt: "a fox", output_format: "webp" })),
  ).toEqual([
    400,
    {
      error: { code: 400, message: expect.stringContaining('needs the optional package "sharp"') },
    },
  ]);
  expect(sandbox.jobs).toHaveLength(1);
  vi.doUnmock("sharp");
});

test("a sandbox ends by itself at the end of its block", async () => {
  let url = "";
  {
    await using short = await startSandbox();
    url = short.url;
    expect((await fetch(url)).status).toBe(404);
  }
  await expect(fetch(url)).rejects.toThrow("fetch failed");
});
