import sharp from "sharp";
import { expect, test } from "vitest";
import {
  create,
  decode,
  dimensionsOf,
  edit,
  finished,
  generate,
  headersFor,
  jobDurationMs,
  pass,
  picture,
  poll,
  post,
  query,
  read,
  responseOf,
  restart,
  samples,
  sandbox,
  stopClock,
  useSandbox,
} from "./support/requests";

useSandbox();

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
