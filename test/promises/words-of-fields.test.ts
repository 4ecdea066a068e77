import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import * as z from "zod";
import {
  type CallOptions,
  createImageClient,
  InvalidRequestError,
  openaiCompatible,
  type ProviderSettings,
  UnsupportedError,
} from "../../src/index";
import { expectedBy } from "../../src/parse/expected";
import { callNames, hintFor, providerNames } from "../../src/parse/field-names";
import { nearestTo } from "../../src/parse/nearest";
import { defineOperation, defineProvider } from "../../src/provider";
import { parseCallOptions } from "../../src/request/options";
import { fakeImageClient } from "../../src/testing";
import { onePixelPng, stubbed } from "../providers/fixtures";
import { apiKey, clientOf, errorOf, everyProvider, settled, wrong } from "./word-support";

afterEach(() => vi.unstubAllGlobals());

// ---- sizes ----

test.each([
  "big",
  "1024",
  "1024X1024",
  "1024×1024",
  "1024 x 1024",
  "0x1024",
  "1024x",
  "-1x5",
  "1e3x1",
])("a size of %j is none: invalid everywhere, also under omit", (size) => {
  for (const provider of Object.values(everyProvider)) {
    for (const onUnsupported of ["error", "omit"] as const) {
      const [problem, ...more] = createImageClient({ provider, onUnsupported }).check({
        ...{ prompt: "x", size },
      });
      expect([problem?.code, problem?.field, more]).toEqual(["invalid_request", "size", []]);
    }
  }
});

test("a size that a provider lacks is unsupported there", () => {
  const check = (provider: keyof typeof everyProvider) =>
    createImageClient({ provider: everyProvider[provider] }).check({
      prompt: "x",
      size: "1040x1040",
    });
  for (const name of ["shortapi", "aigptimage", "trinetra"] as const) {
    expect(check(name)).toMatchObject([{ code: "unsupported", field: "size" }]);
  }
  expect(check("openai")).toEqual([]);
  const [problem] = createImageClient({ provider: everyProvider.openai }).check({
    ...{ prompt: "x", size: "1000x1000" },
  });
  expect(problem?.message).toBe(
    "openai: `size` is not supported here: expected WIDTHxHEIGHT such as 1024x1024, 1536x1024 or " +
      'auto (for 1000x1000, both edges must be multiples of 16), got "1000x1000". Nothing was charged.',
  );
});

// ---- providerOptions ----

describe("an entry of providerOptions", () => {
  const request = { prompt: "x", providerOptions: { mine: { anything: 1 } } };

  test("under a name that is nobody's is refused before paying, and left out with a warning under omit", async () => {
    const { client, calls } = clientOf();
    const error = await errorOf(() => client.generate(request));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ field: "providerOptions.mine", charged: "no" });
    expect(error.message).toContain("expected shortapi, aigptimage, trinetra, openai");
    expect(calls).toHaveLength(0);
    const omitting = clientOf({ onUnsupported: "omit" });
    const { warnings } = await omitting.client.generate(request);
    expect(warnings).toEqual([expect.stringContaining("`providerOptions.mine`")]);
    expect(omitting.calls).toHaveLength(1);
  });

  test("under the name of another built-in provider is left alone, whatever it holds", () => {
    const names = ["shortapi", "aigptimage", "trinetra", "openai", "openai-compatible"];
    for (const [name, provider] of Object.entries(everyProvider)) {
      const others = names.filter((each) => each !== name && !/^(openai|compat)/.test(each));
      const providerOptions = Object.fromEntries(others.map((each) => [each, { nonsense: 1 }]));
      delete providerOptions[provider.name];
      expect(createImageClient({ provider }).check({ prompt: "x", providerOptions })).toEqual([]);
    }
  });

  test.each(["openai-compatible", "my-gateway"])(
    "is openaiCompatible's under its own name %s and under openai, and its own goes first",
    async (name) => {
      const provider = openaiCompatible({ baseURL: "https://g.test/v1", apiKey, name });
      const bodyFor = async (providerOptions: object) => {
        const { client, calls } = stubbed(provider, () => Response.json(settled));
        await client.generate({ prompt: "x", providerOptions: wrong(providerOptions) });
        return JSON.parse(String(calls[0]?.init?.body));
      };
      const [one, two] = [{ extraBody: { seed: 1 } }, { extraBody: { seed: 2 } }];
      expect(await bodyFor({ [name]: one })).toMatchObject({ seed: 1 });
      expect(await bodyFor({ openai: two })).toMatchObject({ seed: 2 });
      expect(await bodyFor({ openai: two, [name]: one })).toMatchObject({ seed: 1 });
      expect(await bodyFor({ openai: two, [name]: undefined })).toMatchObject({ seed: 2 });
      const [problem] = createImageClient({ provider }).check({
        ...{ prompt: "x", providerOptions: wrong({ [name]: { extrabody: {} } }) },
      });
      expect(problem?.message).toContain(
        `There is no \`providerOptions.${name}.extrabody\`; did you mean \`extraBody\`?`,
      );
    },
  );

  test("names the field of extraBody that it may not have", () => {
    const providerOptions = { openai: { extraBody: { size: "1024x1024" } } };
    const [problem] = createImageClient({ provider: everyProvider.openai }).check({
      ...{ prompt: "x", providerOptions },
    });
    expect(problem?.message).toContain(
      "`providerOptions.openai.extraBody.size` is invalid: expected a name that is neither",
    );
  });
});

// ---- names ----

test.each([
  ["sizes", "size"],
  ["Size", "size"],
  ["aspect_ratio", "aspectRatio"],
  ["aspect-ratio", "aspectRatio"],
  ["qualty", "quality"],
  ["prmopt", "prompt"],
  ["outputCompresion", "outputCompression"],
  ["colour", undefined],
  ["x", undefined],
  ["y".repeat(100_000), undefined],
])("the name nearest to %.40s is %s", (name, nearest) => {
  const names = ["prompt", "n", "size", "aspectRatio", "quality", "outputCompression"];
  expect(nearestTo(name, names)).toBe(nearest);
});

test("an unknown name in a place with others says what there is, and one in nobody's place nothing", () => {
  expect(hintFor("colour", ["url", "secret"], [])).toBe("there are url, secret");
  expect(hintFor("colour", [], [])).toBeUndefined();
  const make = (webhooks: object) =>
    createImageClient({ provider: everyProvider.shortapi, webhooks: wrong(webhooks) });
  expect(() => make({ secret: "x".repeat(16), onSetled: () => {} })).toThrow(
    "There is no `options.webhooks.onSetled`; did you mean `onSettled`? Nothing was charged.",
  );
});

test("a field of the request in the second argument is told where it goes", async () => {
  const error = await errorOf(() =>
    clientOf().client.generate({ prompt: "x" }, wrong({ size: "1024x1024" })),
  );
  expect(error.message).toContain("it goes into the request: `generate({ size })`");
});

test("the names of other places are those of the schemas", () => {
  for (const name of [...callNames.split(","), "colour"]) {
    const work = () => parseCallOptions({ [name]: Symbol("odd") });
    if (name === "colour") expect(work).toThrow(/There is no/);
    else expect(work).not.toThrow(/There is no/);
  }
  // The compiler says which there are.
  const call: Record<keyof CallOptions, true> = {
    ...{ signal: true, timeoutMs: true, saveTo: true, idempotencyKey: true },
    ...{ onSubmitted: true, onEvent: true, metadata: true },
    ...{ tags: true, retryRefused: true, detached: true },
  };
  expect(callNames.split(",").sort()).toEqual(Object.keys(call).sort());
  const provider: Record<keyof ProviderSettings | "prices", true> = {
    ...{ apiKey: true, baseURL: true, headers: true, prices: true },
  };
  expect(providerNames.split(",").sort()).toEqual(Object.keys(provider).sort());
});

test.each([
  [z.string(), 7, "a string"],
  [z.int(), 1.5, "a whole number"],
  [z.boolean(), 1, "true or false"],
  [z.array(z.string()), 7, "a list"],
  [z.enum(["a", "b"]), "c", "a, b"],
  [z.literal(1), 2, "1"],
  [z.number().min(1), 0, "number to be >=1"],
  [z.string().max(3), "abcd", "string to have <=3 characters"],
  [z.string().regex(/^x/), "y", "must match pattern /^x/"],
  [z.string("a name"), 7, "a name"],
  [z.string().refine(() => false), "x", "another value"],
])("what another's schema expected is said without zod's prefix (%#)", (schema, value, words) => {
  const [issue] = z.safeParse(schema as z.ZodType, value).error?.issues ?? [];
  if (issue === undefined) throw new Error("it passed");
  expect(expectedBy(issue)).toBe(words);
});

test("a custom adapter's schema is put into the same words", async () => {
  const provide = defineProvider("https://p.test", {
    ...everyProvider.shortapi.adapter,
    name: "mine",
    operations: {
      generate: defineOperation({
        parameters: z.strictObject({ prompt: z.string().max(3), quality: z.string().optional() }),
        options: z.strictObject({ steps: z.number().optional() }),
        maxImagesPerTask: 1,
        create: () => ({ method: "POST", path: "/" }),
      }),
    },
  });
  const client = createImageClient({ provider: provide({ apiKey }) });
  expect(client.check({ prompt: "a heron" }).map(({ message }) => message)).toEqual([
    "`prompt` is invalid: expected string to have <=3 characters, got 7 characters. Nothing was charged.",
  ]);
  const check = (mine: object) => client.check({ prompt: "x", providerOptions: { mine } });
  expect(check({ step: 1 })[0]?.message).toContain("did you mean `steps`?");
  expect(check({ steps: "1" })[0]?.message).toContain('expected a number, got "1"');
});

// ---- OpenAI's words of today ----

test.each([
  [{ quality: "xhigh" }, { quality: "xhigh" }],
  [{ quality: "max" }, { quality: "max" }],
  [{ outputFormat: "gif" }, { output_format: "gif" }],
  [{ outputFormat: "svg" }, { output_format: "svg" }],
  [{ safetyIdentifier: "u-7" }, { safety_identifier: "u-7" }],
  [{ user: "u-7" }, { user: "u-7" }],
] as const)("%j is sent to OpenAI as %j", async (fields, body) => {
  const { client, calls } = clientOf();
  await client.generate({ prompt: "x", ...fields });
  expect(JSON.parse(String(calls[0]?.init?.body))).toMatchObject(body);
  const edit = clientOf();
  await edit.client.edit({ prompt: "x", images: [onePixelPng], ...fields });
  expect(edit.calls).toHaveLength(1);
});

test("a safety identifier is refused where there is no word for it", () => {
  for (const name of ["shortapi", "aigptimage", "trinetra"] as const) {
    const client = createImageClient({ provider: everyProvider[name] });
    expect(client.check({ prompt: "x", safetyIdentifier: "u-7" })).toMatchObject([
      { code: "unsupported", field: "safetyIdentifier" },
    ]);
  }
});

// ---- inputs that cannot be read, and a place without Response ----

test("a Blob whose file has changed is an input that cannot be read, and nothing was charged", async () => {
  const directory = await mkdtemp(join(tmpdir(), "words-"));
  try {
    const path = join(directory, "a.png");
    await writeFile(path, onePixelPng);
    const blob = await openAsBlob(path);
    await writeFile(path, Buffer.concat([onePixelPng, Buffer.alloc(5_000)]));
    const { memoryJournal } = await import("../../src/index");
    for (const journal of [undefined, memoryJournal()]) {
      const { client, calls } = clientOf(journal && { journal });
      const error = await errorOf(() => client.edit({ prompt: "x", images: [onePixelPng, blob] }));
      expect(error).toBeInstanceOf(InvalidRequestError);
      expect(error).toMatchObject({ field: "images[1]", charged: "no" });
      expect(error.message).toContain("expected an image that can be read, got a Blob. ");
      expect(calls).toHaveLength(0);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("an image of somebody's own class that gives no bytes is an input that cannot be read", async () => {
  const image = { bytes: async () => wrong("iVBORw0KGgo=") };
  const error = await errorOf(() => clientOf().client.edit({ prompt: "x", images: [image] }));
  expect(error).toMatchObject({ code: "invalid_request", field: "images[0]", charged: "no" });
});

test("where there is no Response the fake client says at once what it needs", async () => {
  vi.stubGlobal("Response", undefined);
  for (const work of ["generate", "submit"] as const) {
    const fake = fakeImageClient();
    const startedAt = performance.now();
    const error = await errorOf(() => fake[work]({ prompt: "x" }));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(error).toMatchObject({ charged: "no", retryable: false, code: "provider_unavailable" });
    expect(error.message).toContain("`Response`");
    expect(error.message).toContain("jsdom");
  }
});
