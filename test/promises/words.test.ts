import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import {
  AuthenticationError,
  createImageClient,
  GenerationFailedError,
  type ImageError,
  InvalidRequestError,
  MalformedResponseError,
  openai,
  openaiCompatible,
  trinetra,
} from "../../src/index";
import { callNames } from "../../src/parse/field-names";
import { createProvider } from "../../src/provider";
import { parseCallOptions } from "../../src/request/options";
import { onePixelPng, stubbed } from "../providers/fixtures";
import { apiKey, clientOf, errorOf, everyProvider, settled, wrong } from "./word-support";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

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
    "The response cannot be used. There is no image in it. Nothing was charged.",
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
