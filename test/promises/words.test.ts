import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import * as z from "zod";
import {
  AuthenticationError,
  aigptimage,
  type CallOptions,
  createImageClient,
  GenerationFailedError,
  type ImageClientOptions,
  type ImageError,
  InvalidRequestError,
  MalformedResponseError,
  openai,
  openaiCompatible,
  type ProviderSettings,
  shortapi,
  trinetra,
  UnsupportedError,
} from "../../src/index";
import { expectedBy } from "../../src/parse/expected";
import { callNames, hintFor, providerNames } from "../../src/parse/field-names";
import { nearestTo } from "../../src/parse/nearest";
import { createProvider, defineOperation, defineProvider } from "../../src/provider";
import { parseCallOptions } from "../../src/request/options";
import { fakeImageClient } from "../../src/testing";
import { onePixelPng, stubbed } from "../providers/fixtures";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

const apiKey = "key-0123456789";
const settled = { data: [{ b64_json: onePixelPng.toString("base64") }] };

async function errorOf(work: () => unknown): Promise<ImageError> {
  try {
    await work();
  } catch (error) {
    // The caller names its class.
    return error as ImageError;
  }
  throw new Error("nothing was thrown");
}

/** A client whose endpoint takes everything. */
function clientOf(options: Partial<ImageClientOptions> = {}) {
  return stubbed(openai({ apiKey }), () => Response.json(settled), options);
}

// What JavaScript callers may do.
const wrong = (value: unknown) => value as never;

// ---- ten mistakes of a new user ----

/**
 * Each is made, its message is read, and what the message says is done: then it works. Nothing else that
 * a user would have to know is used.
 */
const mistakes: readonly {
  readonly name: string;
  make(): unknown;
  /** The words of the message that tell what to do. */
  readonly says: RegExp;
  mend(): unknown;
}[] = [
  {
    name: "the provider is not called",
    make: () => createImageClient({ provider: wrong(trinetra) }),
    says: /`options\.provider` is invalid: expected a provider such as trinetra\(\), got a function/,
    mend: () => createImageClient({ provider: trinetra() }),
  },
  {
    name: "the key goes to the client",
    make: () => createImageClient(wrong({ provider: openai(), apiKey })),
    says: /There is no `options\.apiKey`; it goes into the provider: `trinetra\(\{ apiKey \}\)`/,
    mend: () => createImageClient({ provider: openai({ apiKey }) }),
  },
  {
    name: "there is no key",
    make: () => {
      vi.stubEnv("OPENAI_API_KEY", undefined);
      return stubbed(openai(), () => Response.json(settled)).client.generate({ prompt: "x" });
    },
    says: /There is no API key: give the provider an `apiKey`, or set .* OPENAI_API_KEY\. Nothing was/,
    mend: () => {
      vi.stubEnv("OPENAI_API_KEY", apiKey);
      return stubbed(openai(), () => Response.json(settled)).client.generate({ prompt: "x" });
    },
  },
  {
    name: "a field is misspelt",
    make: () => clientOf().client.generate(wrong({ prompt: "x", sizes: "1024x1024" })),
    says: /There is no `sizes`; did you mean `size`\?/,
    mend: () => clientOf().client.generate({ prompt: "x", size: "1024x1024" }),
  },
  {
    name: "the time-out stands in the request",
    make: () => clientOf().client.generate(wrong({ prompt: "x", timeoutMs: 5_000 })),
    says: /There is no `timeoutMs`; it goes into the second argument: `generate\(request, \{ timeoutMs \}\)`/,
    mend: () => clientOf().client.generate({ prompt: "x" }, { timeoutMs: 5_000 }),
  },
  {
    name: "the model stands in the request",
    make: () => clientOf().client.generate(wrong({ prompt: "x", model: "gpt-image-2" })),
    says: /There is no `model`; it goes into `openai\(\{ model \}\)` or `providerOptions\./,
    mend: () =>
      stubbed(openai({ apiKey, model: "gpt-image-2" }), () =>
        Response.json(settled),
      ).client.generate({ prompt: "x" }),
  },
  {
    name: "a size is a single number",
    make: () => clientOf().client.generate({ prompt: "x", size: "1024" }),
    says: /`size` is invalid: expected "auto" or a size in pixels such as "1536x1024", got "1024"/,
    mend: () => clientOf().client.generate({ prompt: "x", size: "1536x1024" }),
  },
  {
    name: "images go to generate",
    make: () => clientOf().client.generate(wrong({ prompt: "x", image: onePixelPng })),
    says: /There is no `image`; `client\.edit` takes images and a mask/,
    mend: () => clientOf().client.edit({ prompt: "x", images: [onePixelPng] }),
  },
  {
    name: "a path is given for an image",
    make: () => clientOf().client.edit({ prompt: "x", images: ["./street.png"] }),
    says: /`images\[0\]` is invalid: .*a path on this machine goes through localFile\), got "\.\/street\.png"/,
    mend: async () => {
      const { localFile } = await import("../../src/index");
      const directory = await mkdtemp(join(tmpdir(), "words-"));
      try {
        await writeFile(join(directory, "street.png"), onePixelPng);
        const images = [localFile(join(directory, "street.png"))];
        return await clientOf().client.edit({ prompt: "x", images });
      } finally {
        await rm(directory, { recursive: true });
      }
    },
  },
  {
    name: "the provider's name in providerOptions is misspelt",
    make: () =>
      clientOf().client.generate({ prompt: "x", providerOptions: { opnai: { extraBody: {} } } }),
    says: /`providerOptions\.opnai` is not supported here: expected `openai`, if that was meant/,
    mend: () =>
      clientOf().client.generate({ prompt: "x", providerOptions: { openai: { extraBody: {} } } }),
  },
  {
    name: "the base URL has no scheme",
    make: () => openaiCompatible({ baseURL: "gateway.test/v1", apiKey }),
    says: /`baseURL` is invalid: expected an http\(s\) URL such as "https:\/\/api\.example\.com\/v1", got "gateway/,
    mend: () => openaiCompatible({ baseURL: "https://gateway.test/v1", apiKey }),
  },
];

test.each(mistakes)("a new user's mistake is mended from its message: $name", async (mistake) => {
  const error = await errorOf(mistake.make);
  expect(error).toMatchObject({ charged: "no" });
  expect(error.message).toMatch(mistake.says);
  await expect(Promise.resolve(mistake.mend())).resolves.toBeDefined();
});

test("there are ten of them at least", () => {
  expect(mistakes.length).toBeGreaterThanOrEqual(10);
});

// ---- no message is silly ----

const everyProvider = {
  shortapi: shortapi({ apiKey }),
  aigptimage: aigptimage({ apiKey }),
  trinetra: trinetra({ apiKey }),
  openai: openai({ apiKey }),
  compatible: openaiCompatible({ baseURL: "https://g.test/v1", apiKey }),
};

const odd = [
  ...[null, 0, -1, 1.5, Number.NaN, "", " ", "x", "big", [], {}, () => 1, true, Symbol("s"), 7n],
  ...[new Date(0), new ArrayBuffer(3), new Map(), "../x.png", "1000x1000", "1:0"],
];

/** Everything that is said of a field with an odd value, and of a request and options that are odd. */
function messages(): string[] {
  const said: string[] = [];
  const hear = (work: () => unknown) => {
    try {
      const problems = work();
      if (Array.isArray(problems)) said.push(...problems.map((each) => each.message));
    } catch (error) {
      for (const each of [error, ...Object(error).failures]) said.push(Object(each).message);
    }
  };
  const request = ["prompt", "n", "size", "aspectRatio", "resolution", "quality", "background"];
  request.push("outputFormat", "outputCompression", "moderation", "user", "safetyIdentifier");
  request.push("webhookUrl", "providerOptions", "images", "mask", "colour");
  const client = [
    "provider",
    "fetch",
    "dispatcher",
    "timeoutMs",
    "attemptTimeoutMs",
    "concurrency",
  ];
  client.push(
    "poll",
    "onUnsupported",
    "upload",
    "onEvent",
    "journal",
    "webhooks",
    "maxAnswerBytes",
  );
  client.push("maxDownloadBytes", "allowPrivateNetwork", "colour");
  const reference = ["v", "id", "provider", "baseURL", "operation", "submittedAt", "tasks"];
  for (const value of odd) {
    for (const provider of Object.values(everyProvider)) {
      const image = createImageClient({ provider });
      for (const field of request) {
        hear(() => image.check(wrong({ prompt: "x", [field]: value })));
        hear(() => image.check(wrong({ prompt: "x", images: [value], [field]: value })));
      }
      for (const name of ["shortapi", "aigptimage", "trinetra", "openai", "openai-compatible"]) {
        hear(() => image.check(wrong({ prompt: "x", providerOptions: { [name]: value } })));
        for (const key of ["model", "extraBody", "colour"]) {
          const providerOptions = { [name]: { [key]: value } };
          hear(() => image.check(wrong({ prompt: "x", providerOptions })));
        }
      }
      hear(() => image.check(wrong(value)));
      hear(() => image.resume(value));
      for (const field of reference) hear(() => image.resume({ v: 1, [field]: value }));
    }
    for (const option of client) {
      hear(() => createImageClient(wrong({ provider: everyProvider.openai, [option]: value })));
    }
    for (const key of ["url", "secret", "onSettled", "backstopMs", "colour"]) {
      const webhooks = { secret: "x".repeat(16), [key]: value };
      hear(() => createImageClient(wrong({ provider: everyProvider.shortapi, webhooks })));
    }
    for (const option of [...callNames.split(","), "colour"]) {
      hear(() => parseCallOptions({ [option]: value }));
    }
    hear(() => createImageClient(wrong(value)));
    hear(() => parseCallOptions(value));
    for (const key of ["baseURL", "headers"]) {
      hear(() => createProvider(everyProvider.openai.adapter, wrong({ [key]: value })));
    }
  }
  return [...new Set(said)];
}

test("no message says Invalid input, ends in two stops, or has undefined, an empty place or a wrong article in it", () => {
  const said = messages();
  expect(said.length).toBeGreaterThan(500);
  const silly = said.filter(
    (message) =>
      /Invalid input|\.\.(?!\/)|undefined|expected ?,|got ?[,.]|: ?\.| {2}|\ba A|given|taken/.test(
        message,
      ) || !/ Nothing was charged\.$/.test(message),
  );
  expect(silly).toEqual([]);
});

test.each([
  ["busy", "busy."],
  ["busy.", "busy."],
  ["busy. ", "busy."],
  ["busy..", "busy…"],
  ["busy...", "busy…"],
  ["busy…", "busy…"],
  ["busy?", "busy?"],
  [" busy!\n", "busy!"],
])("the provider's own %j becomes %j in a message", (detail, words) => {
  const { message } = new GenerationFailedError({ charged: "no", detail });
  expect(message).toBe(`The generation failed. ${words} Nothing was charged.`);
});

test("a field that only the provider judged is named, and nothing is made up beside it", () => {
  const facts = { charged: "no", field: "baseURL", detail: "HTTP 308" } as const;
  expect(new InvalidRequestError(facts).message).toBe(
    "`baseURL` is invalid. HTTP 308. Nothing was charged.",
  );
});

test("a message blames what is at fault", () => {
  const facts = { charged: "no" } as const;
  expect(new AuthenticationError({ ...facts, problem: "There is no API key" }).message).toBe(
    "There is no API key. Nothing was charged.",
  );
  expect(new GenerationFailedError({ ...facts, what: "unsent" }).message).toBe(
    "Nothing was sent. Nothing was charged.",
  );
  expect(new MalformedResponseError({ ...facts, detail: "There is no image in it" }).message).toBe(
    "The answer cannot be used. There is no image in it. Nothing was charged.",
  );
});

test("a create that its caller ended before it left failed by that, and not by the generation", async () => {
  const { client } = clientOf({ concurrency: 1, fetch: () => new Promise(() => {}) });
  void client.generate({ prompt: "x" }).catch(() => {});
  const heard: ImageError[] = [];
  const controller = new AbortController();
  const waiting = client.generate(
    { prompt: "x" },
    {
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type === "failed") heard.push(event.error);
      },
    },
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  expect(heard[0]?.message).toBe(
    "openai: Nothing was sent. The call ended before. Nothing was charged.",
  );
});

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
