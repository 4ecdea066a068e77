import { expect, test } from "vitest";
import { openai, openaiCompatible } from "../../src/index";
import { answers, clientOf, jpegHead, json, onePixelPng, pages } from "./fixtures";
import { baseURL, client, good, origin, server } from "./support/openai-compatible";

test("the page's own request is sent exactly, below the base URL", async () => {
  const seen = answers(server, origin, good);
  const { prompt } = json(pages.openai.request) as { prompt: string };
  await client.generate({ prompt });
  expect(seen).toHaveLength(1);
  expect(seen[0]).toMatchObject({ method: "POST", url: `${baseURL}/images/generations` });
  expect(seen[0]?.body).toEqual(json(pages.openai.request));
  expect(seen[0]?.headers.get("authorization")).toBe("Bearer sk-gateway-test");
});

test("every portable parameter lands in the body, and never response_format", async () => {
  const seen = answers(server, origin, good);
  await client.generate({
    prompt: "x",
    n: 3,
    size: "1536x1024",
    quality: "xhigh",
    background: "transparent",
    outputFormat: "webp",
    outputCompression: 70,
    moderation: "low",
    user: "user-7",
    providerOptions: { openai: { extraBody: { seed: 7, safety: { level: 2 } } } },
  });
  expect(seen[0]?.body).toEqual({
    model: "gpt-image-2",
    prompt: "x",
    n: 3,
    size: "1536x1024",
    quality: "xhigh",
    background: "transparent",
    output_format: "webp",
    output_compression: 70,
    moderation: "low",
    user: "user-7",
    seed: 7,
    safety: { level: 2 },
  });
});

test.each([
  "model",
  "prompt",
  "n",
  "size",
  "response_format",
  "style",
  "input_fidelity",
  "stream",
  "image",
  "mask",
])("extraBody cannot carry %s", (key) => {
  const providerOptions = { openai: { extraBody: { [key]: "x" } } };
  const [problem] = client.check({ prompt: "x", providerOptions });
  expect(problem).toMatchObject({ code: "invalid_request", charged: "no" });
  expect(problem).toHaveProperty("field", expect.stringContaining("providerOptions.openai"));
});

test("extraBody that no JSON can hold is named before anything is sent", async () => {
  const seen = answers(server, origin, good);
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  for (const value of [1n, circular, () => 1]) {
    const providerOptions = { openai: { extraBody: { value } } };
    await expect(client.generate({ prompt: "x", providerOptions })).rejects.toMatchObject({
      code: "invalid_request",
      field: "providerOptions.openai.extraBody.value",
    });
    await expect(
      client.edit({ prompt: "x", images: [onePixelPng], providerOptions }),
    ).rejects.toMatchObject({ code: "invalid_request" });
  }
  expect(seen).toHaveLength(0);
});

test("size is always sent: 1024x1024 at a gateway, auto at OpenAI", async () => {
  const seen = answers(server, origin, good);
  await client.generate({ prompt: "x" });
  expect(seen[0]?.body).toMatchObject({ size: "1024x1024" });
  const atOpenai = answers(server, "https://api.openai.com", good);
  await clientOf(openai({ apiKey: "sk-openai-test" })).generate({ prompt: "x" });
  expect(atOpenai[0]?.url).toBe("https://api.openai.com/v1/images/generations");
  expect(atOpenai[0]?.body).toEqual({ model: "gpt-image-2", prompt: "x", size: "auto", n: 1 });
});

test.each([
  ["3:2", "1K", "1536x1024"],
  ["16:9", "4K", "3840x2160"],
  ["9:16", "2K", "1152x2048"],
])("aspectRatio %s at %s becomes size %s", async (aspectRatio, resolution, size) => {
  const seen = answers(server, origin, good);
  await client.generate({ prompt: "x", aspectRatio, resolution });
  expect(seen[0]?.body).toMatchObject({ size });
});

test.each([
  ["1000x1000", "multiples of 16"],
  ["4096x2048", "3840"],
  ["3072x768", "1:3 and 3:1"],
  ["512x512", "655,360"],
  ["3840x3840", "8,294,400"],
  ["99999999999999999x16", "WIDTHxHEIGHT"],
])("size %s breaks OpenAI's rules, and the message says which", (size, rule) => {
  const [problem] = client.check({ prompt: "x", size });
  expect(problem).toMatchObject({ code: "unsupported", field: "size" });
  expect(problem?.message).toContain(rule);
});

test.each(["auto", "1024x1024", "3840x2160", "2160x3840", "1280x1024"])(
  "size %s is within OpenAI's rules",
  (size) => {
    expect(client.check({ prompt: "x", size })).toEqual([]);
  },
);

test("another model's sizes are its own affair", () => {
  const other = clientOf(openaiCompatible({ baseURL, apiKey: "k", model: "flux-3" }));
  expect(other.check({ prompt: "x", size: "1000x1000" })).toEqual([]);
  for (const model of ["gpt-image-2-2026-04-21", "openai/gpt-image-2"]) {
    const same = clientOf(openaiCompatible({ baseURL, apiKey: "k", model }));
    expect(same.check({ prompt: "x", size: "1000x1000" })).toHaveLength(1);
  }
});

test("ten images are one request and eleven are two", async () => {
  const seen = answers(server, origin, good);
  await client.generate({ prompt: "x", n: 11 });
  expect(seen.map(({ body }) => (body as { n: number }).n).sort()).toEqual([1, 10]);
});

test("fewer images than were paid for is a warning", async () => {
  answers(server, origin, good);
  const { images, warnings } = await client.generate({ prompt: "x", n: 3 });
  expect(images).toHaveLength(1);
  expect(warnings).toEqual([expect.stringContaining("3 images were asked for")]);
});

test("one input image is sent as a part with its true type and a name", async () => {
  const seen = answers(server, origin, good);
  await client.edit({ prompt: "snow", images: [onePixelPng], quality: "low" });
  expect(seen[0]?.url).toBe(`${baseURL}/images/edits`);
  expect(seen[0]?.headers.get("content-type")).toMatch(/^multipart\/form-data; ?boundary=/);
  const form = seen[0]?.body as FormData;
  expect([...form.keys()].sort()).toEqual(["image", "model", "n", "prompt", "quality", "size"]);
  expect(form.get("prompt")).toBe("snow");
  expect(form.get("n")).toBe("1");
  const part = form.get("image") as File;
  expect(part).toMatchObject({ type: "image/png", name: "images-0.png" });
  expect(Buffer.from(await part.arrayBuffer()).equals(onePixelPng)).toBe(true);
});

test("several inputs are sent as image[], each with the type that its bytes have", async () => {
  const seen = answers(server, origin, good);
  await client.edit({
    prompt: "x",
    // The blob's own type is wrong, and the bytes know better.
    images: [onePixelPng, new Blob([jpegHead], { type: "application/octet-stream" })],
    mask: new File([onePixelPng], "mein mask.png"),
    providerOptions: { openai: { extraBody: { seed: 7, nested: { a: 1 } } } },
  });
  const form = seen[0]?.body as FormData;
  expect(form.getAll("image[]")).toMatchObject([
    { type: "image/png", name: "images-0.png" },
    { type: "image/jpeg", name: "images-1.jpg" },
  ]);
  expect(form.get("image")).toBeNull();
  expect(form.get("mask")).toMatchObject({ type: "image/png", name: "mein mask.png" });
  expect(form.get("seed")).toBe("7");
  expect(form.get("nested")).toBe('{"a":1}');
});

test("a mask that is no PNG is refused before anything is sent", async () => {
  const seen = answers(server, origin, good);
  const edit = client.edit({ prompt: "x", images: [onePixelPng], mask: jpegHead });
  await expect(edit).rejects.toMatchObject({ code: "invalid_request", field: "mask" });
  expect(seen).toHaveLength(0);
});

test("17 input images are too many", () => {
  const images = Array.from({ length: 17 }, () => onePixelPng);
  expect(client.check({ prompt: "x", images })).toMatchObject([{ field: "images" }]);
});

test("a gateway's model and name are the caller's", async () => {
  const seen = answers(server, origin, good);
  const named = clientOf(openaiCompatible({ baseURL, apiKey: "k", model: "m", name: "acme" }));
  const { provider: name } = await named.generate({ prompt: "x" });
  expect(name).toBe("acme");
  expect(seen[0]?.body).toMatchObject({ model: "m" });
});
