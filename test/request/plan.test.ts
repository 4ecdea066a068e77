import { expect, test } from "vitest";
import {
  aigptimage,
  type GenerateRequest,
  type ImageClientOptions,
  type ImageRequest,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "../../src/index";
import { type Adapter, createProvider } from "../../src/provider";
import { planRequest } from "../../src/request/plan";
import { pages, stubbed } from "../providers/fixtures";

const providers = {
  shortapi: shortapi({ apiKey: "k" }),
  aigptimage: aigptimage({ apiKey: "k" }),
  trinetra: trinetra({ apiKey: "k" }),
  openai: openai({ apiKey: "k" }),
  gateway: openaiCompatible({ baseURL: "https://g.test/v1", apiKey: "k" }),
};
type Name = keyof typeof providers;

/** A client that answers every request well, in this process. */
function client(name: Name, options: Partial<ImageClientOptions> = {}) {
  const accepted = {
    shortapi: '{"code":0,"data":{"job_id":"1"}}',
    aigptimage: pages.aigptimage.created,
    trinetra: pages.trinetra.created,
    openai: pages.openai.succeeded,
    gateway: pages.openai.succeeded,
  };
  const done = { ...accepted, ...{ shortapi: pages.shortapi.succeeded } };
  const settled = { aigptimage: pages.aigptimage.succeeded, trinetra: pages.trinetra.succeeded };
  return stubbed(
    providers[name],
    (_url, init) =>
      new Response(init?.method === "POST" ? accepted[name] : { ...done, ...settled }[name]),
    options,
  );
}

function bodyOf(call: { init: RequestInit | undefined } | undefined): Record<string, unknown> {
  return JSON.parse(String(call?.init?.body)) as Record<string, unknown>;
}

/** What becomes of dimensions at each provider: the words that are sent, or the fields refused. */
const dimensions: [Partial<GenerateRequest>, Record<Name, object | string[]>][] = [
  [
    { size: "1024x1024" },
    {
      shortapi: { args: { size: "1024x1024" } },
      aigptimage: { input: { aspect_ratio: "1:1", resolution: "1K" } },
      trinetra: { aspect_ratio: "1:1" },
      openai: { size: "1024x1024" },
      gateway: { size: "1024x1024" },
    },
  ],
  [
    { aspectRatio: "3:2", resolution: "1K" },
    {
      shortapi: { args: { size: "1536x1024" } },
      aigptimage: { input: { aspect_ratio: "3:2", resolution: "1K" } },
      trinetra: ["resolution"],
      openai: { size: "1536x1024" },
      gateway: { size: "1536x1024" },
    },
  ],
  [
    { aspectRatio: "9:16", resolution: "4K" },
    {
      shortapi: ["aspectRatio", "resolution"],
      aigptimage: { input: { aspect_ratio: "9:16", resolution: "4K" } },
      trinetra: ["resolution"],
      openai: { size: "2160x3840" },
      gateway: { size: "2160x3840" },
    },
  ],
  [
    { size: "auto" },
    {
      shortapi: { args: { size: "auto" } },
      aigptimage: { input: { aspect_ratio: "auto" } },
      trinetra: ["size"],
      openai: { size: "auto" },
      gateway: { size: "auto" },
    },
  ],
  [
    { aspectRatio: "auto" },
    {
      shortapi: { args: { size: "auto" } },
      aigptimage: { input: { aspect_ratio: "auto" } },
      trinetra: ["aspectRatio"],
      openai: { size: "auto" },
      gateway: { size: "auto" },
    },
  ],
  [
    { size: "1040x1040" },
    {
      shortapi: ["size"],
      aigptimage: ["size"],
      trinetra: ["size"],
      openai: { size: "1040x1040" },
      gateway: { size: "1040x1040" },
    },
  ],
  [
    { aspectRatio: "wide" },
    {
      shortapi: ["aspectRatio"],
      aigptimage: ["aspectRatio"],
      trinetra: ["aspectRatio"],
      openai: ["aspectRatio"],
      gateway: ["aspectRatio"],
    },
  ],
  [
    { aspectRatio: "1:1", resolution: "8K" },
    {
      shortapi: ["resolution"],
      aigptimage: ["resolution"],
      trinetra: ["resolution"],
      openai: ["resolution"],
      gateway: ["resolution"],
    },
  ],
];
const names = Object.keys(providers) as Name[];

test.each(
  dimensions.flatMap(([fields, becomes]) =>
    names.map((name) => [fields, name, becomes[name]] as const),
  ),
)("%j at %s becomes %j", async (fields, name, expected) => {
  const { client: image, calls } = client(name);
  const request = { prompt: "x", ...fields };
  const error = await image.generate(request).catch((reason: unknown) => reason);
  const problems = image.check(request);
  if (Array.isArray(expected)) {
    expect(problems.map((problem) => Object(problem).field)).toEqual(expected);
    for (const problem of problems) expect(problem).toMatchObject({ code: "unsupported" });
    expect(error).toMatchObject({
      code: "unsupported",
      field: expected[0],
      provider: name === "gateway" ? "openai-compatible" : name,
    });
    expect(calls).toHaveLength(0);
    return;
  }
  expect(problems).toEqual([]);
  expect(bodyOf(calls[0])).toMatchObject(expected);
});

test.each(
  names.flatMap((name) => {
    const takes: Record<Name, string[]> = {
      shortapi: ["webhookUrl"],
      aigptimage: ["quality", "outputFormat"],
      trinetra: ["quality", "background", "outputFormat", "moderation", "user"],
      openai: ["quality", "background", "outputFormat", "moderation", "user"],
      gateway: ["quality", "background", "outputFormat", "moderation", "user"],
    };
    const fields = {
      quality: "low",
      background: "opaque",
      outputFormat: "png",
      moderation: "low",
      user: "u",
      webhookUrl: "https://app.test/h",
    };
    return Object.entries(fields).map(
      ([field, value]) => [name, field, value, takes[name].includes(field)] as const,
    );
  }),
)("%s with %s %j: taken is %s's word for it", (name, field, value, taken) => {
  const problems = client(name).client.check({ prompt: "x", [field]: value });
  expect(problems).toMatchObject(taken ? [] : [{ code: "unsupported", field, charged: "no" }]);
  const { fields } = client(name).client.capabilities.generate;
  expect(fields.includes(field)).toBe(taken);
});

test("under omit a field that is not served is left out, and the result says so", async () => {
  const { client: image, calls } = client("shortapi", { onUnsupported: "omit" });
  const request = {
    prompt: "x",
    quality: "high",
    background: "transparent",
    aspectRatio: "16:9",
    resolution: "4K",
  };
  expect(image.check(request)).toEqual([]);
  const { warnings } = await image.generate(request);
  expect(bodyOf(calls[0])).toEqual({
    model: "openai/gpt-image-2/text-to-image",
    args: { prompt: "x" },
  });
  expect(warnings).toHaveLength(4);
  for (const field of ["quality", "background", "aspectRatio", "resolution"]) {
    expect(warnings).toContainEqual(
      expect.stringMatching(new RegExp(`^\`${field}\` .*shortapi takes`)),
    );
  }
});

test("under omit a word that the provider does not have is left out too", async () => {
  const { client: image, calls } = client("trinetra", { onUnsupported: "omit" });
  const { warnings } = await image.generate({ prompt: "x", quality: "xhigh", moderation: "low" });
  expect(bodyOf(calls[0])).toEqual({ prompt: "x", n: 1, moderation: "low" });
  expect(warnings).toEqual([expect.stringContaining('`quality` "xhigh" was left out')]);
});

test("under omit a size that cannot be sent falls back to what the endpoint needs", async () => {
  const { client: image, calls } = client("gateway", { onUnsupported: "omit" });
  const { warnings } = await image.generate({ prompt: "x", size: "7x7" });
  expect(bodyOf(calls[0])).toMatchObject({ size: "1024x1024" });
  expect(warnings).toEqual([expect.stringContaining('`size` "7x7" was left out')]);
});

test("under omit a mask is left out where there is none, and the images stay", async () => {
  const { client: image, calls } = client("trinetra", { onUnsupported: "omit" });
  const images = ["https://a.test/1.png"];
  const { warnings } = await image.edit({ prompt: "x", images, mask: "https://a.test/m.png" });
  expect(bodyOf(calls[0])).toMatchObject({ image_url: images[0] });
  expect(bodyOf(calls[0])).not.toHaveProperty("mask");
  expect(warnings).toEqual([expect.stringContaining("`mask`")]);
});

test("omit leaves no mistake out: a wrong value and too many images stay errors", () => {
  const { client: image } = client("trinetra", { onUnsupported: "omit" });
  const images = ["https://a.test/1.png", "https://a.test/2.png"];
  expect(image.check({ prompt: "x", images })).toMatchObject([{ field: "images" }]);
  expect(image.check({ prompt: "x", n: 0 })).toMatchObject([{ field: "n" }]);
  const providerOptions = { trinetra: { model: "../x" } };
  expect(image.check({ prompt: "x", quality: "xhigh", providerOptions })).toMatchObject([
    { field: "providerOptions.trinetra.model" },
  ]);
});

test.each([
  ["trinetra", 1, [1]],
  ["trinetra", 4, [4]],
  ["trinetra", 5, [4, 1]],
  ["trinetra", 9, [4, 4, 1]],
  ["shortapi", 3, [1, 1, 1]],
  ["aigptimage", 2, [1, 1]],
  ["openai", 25, [10, 10, 5]],
] as const)("%s splits %i images into tasks of %j", (name, n, split) => {
  const planned = planRequest(
    "generate",
    { prompt: "x", n },
    {
      provider: providers[name],
      onUnsupported: "error",
    },
  );
  expect(planned).toMatchObject({ plan: { split } });
});

test("an image of which nobody could make so many is refused without a crash", () => {
  for (const n of [10_001, 1e9, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    expect(client("shortapi").client.check({ prompt: "x", n })).toMatchObject([{ field: "n" }]);
  }
});

const wrong: ImageRequest[] = [
  { prompt: "" },
  { prompt: "x", n: 0, size: "1024x1024", aspectRatio: "1:1" },
  { prompt: "x", quality: "xhigh", background: "green", size: "7x7" },
  { prompt: "x", images: [] },
  { prompt: "x", images: ["/etc/passwd"], mask: "https://a.test/m.png" },
  { prompt: "x", images: ["https://a.test/1.png", "https://a.test/2.png"], size: "7x7" },
  { prompt: "x".repeat(40_000), moderation: "none" },
  { prompt: "x", providerOptions: { shortapi: { model: 7 } } as never },
];

test.each(names.flatMap((name) => wrong.map((request, index) => [name, index, request] as const)))(
  "at %s check() agrees with generate, edit, submit and estimate about request %i",
  async (name, _index, request) => {
    const { client: image, calls } = client(name);
    const problems = image.check(request);
    if (problems.length === 0) return;
    const thrown = [
      await (request.images === undefined ? image.generate(request) : image.edit(request)).catch(
        (reason: unknown) => reason,
      ),
      await image.submit(request).catch((reason: unknown) => reason),
      await Promise.resolve()
        .then(() => image.estimate(request))
        .catch((reason: unknown) => reason),
    ];
    for (const error of thrown) {
      const { message, failures } = Object(error);
      expect([message, ...failures.map((each: Error) => each.message)]).toEqual(
        problems.map((problem) => problem.message),
      );
    }
    expect(calls).toHaveLength(0);
  },
);

test("a good request passes check and has no problems", () => {
  for (const name of names) expect(client(name).client.check({ prompt: "x" })).toEqual([]);
});

test("several problems of one request are all there, the first with the rest in its failures", async () => {
  const { client: image } = client("trinetra");
  const request = {
    prompt: "x",
    quality: "xhigh",
    background: "green",
    webhookUrl: "https://a.test",
  };
  const fields = image.check(request).map((problem) => Object(problem).field);
  expect(fields.sort()).toEqual(["background", "quality", "webhookUrl"]);
  const error = await image.generate(request).catch((reason: unknown) => reason);
  expect(Object(error).failures).toHaveLength(2);
});

test("an estimate sums its tasks", () => {
  expect(client("trinetra").client.estimate({ prompt: "x", n: 5, quality: "high" })).toEqual({
    amount: 70,
    unit: "credits",
    basis: "list",
  });
  expect(client("shortapi").client.estimate({ prompt: "x", n: 3 })?.amount).toBe(0.18);
  expect(client("aigptimage").client.estimate({ prompt: "x" })).toBeUndefined();
  expect(
    client("shortapi").client.estimate({ prompt: "x", images: ["https://a.test/1.png"] })?.amount,
  ).toBe(0.06);
});

test("a provider that cannot edit says so of images", () => {
  const { generate } = providers.shortapi.adapter.operations;
  const adapter: Adapter = {
    ...providers.shortapi.adapter,
    name: "plain",
    operations: { generate },
  };
  const provider = createProvider(adapter, { baseURL: "https://plain.test", apiKey: "k" });
  const { client: image } = stubbed(provider, () => new Response("{}"));
  expect(image.capabilities.edit).toBeUndefined();
  expect(image.check({ prompt: "x", images: ["https://a.test/1.png"] })).toMatchObject([
    { code: "unsupported", field: "images", provider: "plain" },
  ]);
});

test("an adapter without dimensions refuses them by name", () => {
  const problems = client("shortapi").client.check({
    prompt: "x",
    images: ["https://a.test/1.png"],
    aspectRatio: "1:1",
    resolution: "1K",
  });
  expect(problems).toMatchObject([{ field: "aspectRatio" }, { field: "resolution" }]);
});

test("an idempotency key at a provider that honours none is a warning", async () => {
  const { warnings } = await client("trinetra").client.generate(
    { prompt: "x" },
    { idempotencyKey: "order-7" },
  );
  expect(warnings).toEqual([expect.stringContaining("idempotencyKey was not sent")]);
});
