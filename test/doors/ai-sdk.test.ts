import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  aigptimage,
  createImageClient,
  type ImageClient,
  isImageError,
  localFile,
  ModerationError,
  memoryJournal,
  openai,
  shortapi,
  trinetra,
} from "gpt-image-client";
import {
  createImageProvider,
  imageMetadata,
  imageModel,
  imageOptions,
} from "gpt-image-client/ai-sdk";
import { fakeImageClient, type Sandbox, startSandbox } from "gpt-image-client/testing";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { majors } from "./ai-sdk/majors";

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

const prompt = "A dew-covered web at sunrise";
const poll = 20;
/** Those of the sandbox, which a stranger's endpoint is not taken to have by itself. */
const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };
const openaiAt = ({ openaiCompatible }: Sandbox) =>
  createImageClient({ provider: openai({ ...openaiCompatible, prices }) });

const clients: Readonly<Record<string, () => ImageClient>> = {
  openai: () => openaiAt(sandbox),
  shortapi: () => createImageClient({ provider: shortapi(sandbox.shortapi), poll }),
  aigptimage: () => createImageClient({ provider: aigptimage(sandbox.aigptimage), poll }),
  trinetra: () => createImageClient({ provider: trinetra(sandbox.trinetra), poll }),
};

const openaiClient = () => openaiAt(sandbox);
const trinetraClient = () => createImageClient({ provider: trinetra(sandbox.trinetra), poll });

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  const none = Symbol("it resolved");
  const reason = await promise.then(
    () => none,
    (error: unknown) => error,
  );
  expect(reason).not.toBe(none);
  return reason;
}

describe.each(majors)("through generateImage of $name", ({ sdk }) => {
  const { generateImage } = sdk;

  test.each(Object.keys(clients))("%s gives a picture, its job and what it cost", async (name) => {
    const client = clients[name]?.() ?? fakeImageClient();
    const result = await generateImage({ model: imageModel(client), prompt, size: "1024x1024" });

    expect(result.image.mediaType).toBe("image/png");
    expect(result.image.uint8Array.byteLength).toBeGreaterThan(100);
    expect(result.warnings.filter(({ type }) => type === "other")).toEqual([]);
    const [entry] = imageMetadata(result);
    expect(entry).toMatchObject({
      provider: client.name,
      job: { v: 1, provider: client.name, operation: "generate" },
      mediaType: "image/png",
      width: 1024,
      height: 1024,
    });
    // `ai` 7 also gives each image its own.
    const own = Reflect.get(result.image, "providerMetadata");
    if (own !== undefined) expect(own).toEqual({ "gpt-image-client": entry });
    // No page of aigptimage's says what a job costs, and no response of it.
    expect(entry?.cost !== undefined).toBe(name !== "aigptimage");
    expect(result.responses[0]?.timestamp).toBeInstanceOf(Date);
    expect(result.responses[0]?.modelId).toEqual(expect.any(String));
    expect(sandbox.charges).toHaveLength(1);
  });

  test("the job of an image can be resumed by a later process, from JSON", async () => {
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt });
    const { job } = JSON.parse(JSON.stringify(imageMetadata(result)[0]));

    const late = await trinetraClient().resume(job).result();

    expect(Buffer.from(await late.image.bytes())).toEqual(Buffer.from(result.image.uint8Array));
    expect(sandbox.charges).toHaveLength(1);
  });

  test("tokens are the SDK's usage, and the revised prompt stands by its image", async () => {
    await using wrapped = await startSandbox({ openaiAnswers: "both", plainImages: true });
    const client = openaiAt(wrapped);
    const result = await generateImage({ model: imageModel(client), prompt, n: 2 });

    expect(result.usage.inputTokens).toBeGreaterThan(0);
    expect(result.usage.totalTokens).toBe(
      (result.usage.inputTokens ?? 0) + (result.usage.outputTokens ?? 0),
    );
    const entries = imageMetadata(result);
    expect(entries.map(({ revisedPrompt }) => revisedPrompt)).toEqual([prompt, prompt]);
    expect(entries.map(({ cost }) => cost !== undefined)).toEqual([true, false]);
    expect(entries[0]?.cost?.amount).toBeCloseTo(wrapped.charges[0]?.amount ?? Number.NaN, 10);
  });

  test("many images are one call, split as the provider needs it", async () => {
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt, n: 6 });

    expect(result.images).toHaveLength(6);
    expect(result.responses).toHaveLength(1);
    // Four at most are a native request.
    expect(sandbox.charges.map(({ images }) => images)).toEqual([4, 2]);
    expect(imageMetadata(result).filter(({ cost }) => cost !== undefined)).toHaveLength(1);
  });

  test("of a split call what succeeded is kept, and what did not is told", async () => {
    sandbox.inject({
      provider: "shortapi",
      phase: "create",
      fault: "refusal",
      status: 400,
      after: 1,
    });
    const client = createImageClient({
      provider: shortapi(sandbox.shortapi),
      poll,
      concurrency: 1,
    });
    const result = await generateImage({ model: imageModel(client), prompt, n: 3 });

    expect(result.images).toHaveLength(2);
    expect(sandbox.charges).toHaveLength(2);
    const [first, second] = imageMetadata(result);
    expect(first?.failures).toMatchObject([{ code: "invalid_request", charged: "no" }]);
    expect(second).not.toHaveProperty("failures");
    const [failure] = first?.failures ?? [];
    expect(result.warnings).toContainEqual({ type: "other", message: failure?.message });
  });

  test("of several images the one that cannot be fetched takes no other with it", async () => {
    sandbox.inject({
      ...{
        provider: "trinetra",
        phase: "download",
        fault: "rate-limited",
        retryAfterSeconds: 9_999,
      },
    });
    const result = await generateImage({ model: imageModel(trinetraClient()), prompt, n: 3 });

    expect(result.images).toHaveLength(2);
    const [first] = imageMetadata(result);
    expect(first?.failures).toMatchObject([
      { code: "download_failed", charged: "yes", url: expect.stringMatching(/^http/) },
    ]);
    expect(first?.cost).toBeDefined();
    expect(sandbox.charges).toHaveLength(1);
  });

  test("images that can none of them be fetched are an error with the job, never an empty list", async () => {
    const fault = { fault: "rate-limited", retryAfterSeconds: 9_999, times: Infinity } as const;
    sandbox.inject({ provider: "trinetra", phase: "download", ...fault });
    const error = await reasonOf(
      generateImage({ model: imageModel(trinetraClient()), prompt, n: 2 }),
    );

    if (!isImageError(error)) throw error;
    expect(error).toMatchObject({ code: "download_failed", charged: "yes" });
    expect(error.job?.reference).toMatchObject({ provider: "trinetra" });
    expect(error.failures).toHaveLength(1);
    expect(sandbox.charges).toHaveLength(1);
  });

  test("our error comes through as it is, after one call", async () => {
    const refusal = new ModerationError({ charged: "no", categories: ["violence"] });
    const client = fakeImageClient({ error: refusal });

    expect(await reasonOf(generateImage({ model: imageModel(client), prompt }))).toBe(refusal);
    expect(client.calls).toHaveLength(1);
  });

  test("an abort rejects with the caller's reason, while the job runs and while the image comes", async () => {
    for (const phase of ["poll", "download"] as const) {
      sandbox.inject({ provider: "trinetra", phase, fault: "hang" });
      const controller = new AbortController();
      const reason = new Error("the user closed the tab");
      const generating = generateImage({
        ...{ model: imageModel(trinetraClient()), prompt, abortSignal: controller.signal },
      });
      const rejecting = reasonOf(generating);
      await expect.poll(() => sandbox.requests.some((each) => each.phase === phase)).toBe(true);
      controller.abort(reason);
      expect(await rejecting).toBe(reason);
      expect(sandbox.charges).toHaveLength(1);
      sandbox.reset();
    }
  });

  test("a signal that has aborted sends nothing", async () => {
    const reason = new Error("too late");
    const abortSignal = AbortSignal.abort(reason);
    const model = imageModel(trinetraClient());

    expect(await reasonOf(generateImage({ model, prompt, abortSignal }))).toBe(reason);
    expect(sandbox.requests).toEqual([]);
  });

  describe("inputs", () => {
    const picture = async () => {
      const { image } = await trinetraClient().generate({ prompt, background: "opaque" });
      return { bytes: await image.bytes(), url: image.url ?? "" };
    };

    test("bytes, base64, a data URL under a wrong label and a mask go to a provider that takes bytes", async () => {
      const { bytes } = await picture();
      const base64 = Buffer.from(bytes).toString("base64");
      const images = [bytes, base64, `data:image/webp;base64,${base64}`];
      const result = await generateImage({
        model: imageModel(openaiClient()),
        prompt: { text: "Make it snow", images },
      });

      expect(result.images).toHaveLength(1);
      const parts = sandbox.requests.at(-1)?.body;
      expect(parts).toEqual(
        expect.arrayContaining(
          [0, 1, 2].map(() => expect.objectContaining({ name: "image[]", mediaType: "image/png" })),
        ),
      );
      expect(imageMetadata(result)[0]?.job.operation).toBe("edit");
    });

    test("a mask goes with its image", async () => {
      const clear = { width: 64, height: 64, channels: 4, background: "#00000000" } as const;
      const mask = await sharp({ create: clear }).png().toBuffer();
      await generateImage({
        model: imageModel(openaiClient()),
        prompt: { text: "Make it snow", images: [mask], mask },
      });

      const parts = sandbox.requests.at(-1)?.body as { name: string }[];
      expect(parts.map(({ name }) => name)).toEqual(expect.arrayContaining(["image", "mask"]));
    });

    test("a URL goes as it is to a provider that fetches it itself", async () => {
      const { url } = await picture();
      await generateImage({
        model: imageModel(trinetraClient()),
        prompt: { text: "Make it snow", images: [url] },
      });

      const edit = sandbox.requests.filter(({ phase }) => phase === "create").at(-1);
      expect(JSON.stringify(edit?.body)).toContain(url);
    });

    test("bytes for a provider that takes URLs alone are refused before paying", async () => {
      const { bytes } = await picture();
      sandbox.reset();
      const error = await reasonOf(
        generateImage({
          model: imageModel(trinetraClient()),
          prompt: { text: "Make it snow", images: [bytes] },
        }),
      );

      expect(error).toMatchObject({ code: "unsupported", field: "images[0]", charged: "no" });
      expect(sandbox.requests).toEqual([]);
    });

    test("an empty list of images is a picture from words", async () => {
      const result = await generateImage({
        model: imageModel(trinetraClient()),
        prompt: { text: prompt, images: [] },
      });
      expect(imageMetadata(result)[0]?.job.operation).toBe("generate");
    });

    test("images without words, and a mask without images, are refused by name", async () => {
      const model = imageModel(openaiClient());
      const images = [new Uint8Array([1])];
      const wordless = await reasonOf(generateImage({ model, prompt: { images } }));
      expect(wordless).toMatchObject({ code: "invalid_request", field: "prompt" });
      const [mask] = images;
      const bare = await reasonOf(
        generateImage({ model, prompt: { text: prompt, images: [], ...(mask && { mask }) } }),
      );
      expect(bare).toMatchObject({ code: "invalid_request", field: "images" });
      expect(sandbox.requests).toEqual([]);
    });
  });

  describe("what is left out", () => {
    test("a seed and headers are warnings, which name no value", async () => {
      const headers = { Authorization: "Bearer stolen", "x-trace": "1" };
      const result = await generateImage({
        ...{ model: imageModel(trinetraClient()), prompt, seed: 7, headers },
        providerOptions: { openai: { quality: "high" } },
      });

      expect(result.warnings).toMatchObject([
        { type: "unsupported", feature: "seed" },
        { type: "unsupported", feature: "headers" },
        { type: "unsupported", feature: "providerOptions.openai" },
      ]);
      const text = JSON.stringify(result.warnings);
      expect(text.toLowerCase()).toContain("authorization, x-trace");
      expect(text).not.toContain("stolen");
      const [create] = sandbox.requests;
      expect(create?.headers).toMatchObject({ "x-api-key": sandbox.trinetra.apiKey });
      expect(create?.headers).not.toHaveProperty("authorization");
      expect(create?.headers).not.toHaveProperty("x-trace");
    });

    test("a call without them has no warning", async () => {
      const result = await generateImage({ model: imageModel(openaiClient()), prompt });
      expect(result.warnings).toEqual([]);
    });

    test("what a provider cannot do is an error before paying, or a warning under omit", async () => {
      const provider = trinetra(sandbox.trinetra);
      const asked = {
        prompt,
        providerOptions: imageOptions({ safetyIdentifier: "u-1", idempotencyKey: "order-1" }),
      };
      const strict = imageModel(createImageClient({ provider, poll }));
      const error = await reasonOf(generateImage({ model: strict, ...asked }));
      expect(error).toMatchObject({
        code: "unsupported",
        field: "safetyIdentifier",
        charged: "no",
      });
      expect(sandbox.requests).toEqual([]);

      const lenient = imageModel(createImageClient({ provider, poll, onUnsupported: "omit" }));
      const { warnings } = await generateImage({ model: lenient, ...asked });
      expect(warnings).toMatchObject([
        { type: "unsupported", feature: "safetyIdentifier" },
        { type: "unsupported", feature: "idempotencyKey" },
      ]);
    });

    test("a size that is sent as a ratio is a warning about the size", async () => {
      const model = imageModel(trinetraClient());
      const { warnings } = await generateImage({ model, prompt, size: "1536x1024" });
      expect(warnings).toMatchObject([{ type: "unsupported", feature: "size" }]);
    });
  });

  describe("options", () => {
    test("the rest of the request and of the call goes through", async () => {
      const saveTo = await mkdtemp(join(tmpdir(), "ai-sdk-"));
      const references: unknown[] = [];
      const events: string[] = [];
      const result = await generateImage({
        ...{ model: imageModel(openaiClient()), prompt, size: "1536x1024" },
        providerOptions: imageOptions({
          ...{ quality: "low", outputFormat: "webp", outputCompression: 80, saveTo },
          metadata: { order: 7 },
          onSubmitted: (job) => references.push(job.reference),
          onEvent: ({ type, metadata }) => events.push(`${type} ${JSON.stringify(metadata)}`),
        }),
      });

      expect(sandbox.requests[0]?.body).toMatchObject({
        ...{ quality: "low", output_format: "webp", output_compression: 80, size: "1536x1024" },
      });
      expect(result.image.mediaType).toBe("image/webp");
      expect(events).toContain('saved {"order":7}');
      expect(references).toHaveLength(1);
      const [entry] = imageMetadata(result);
      expect(await readdir(saveTo)).toEqual([entry?.file?.slice(saveTo.length + 1)]);
      await rm(saveTo, { recursive: true });
    });

    test("an aspect ratio is the SDK's, and its resolution is ours", async () => {
      await generateImage({
        ...{ model: imageModel(openaiClient()), prompt, aspectRatio: "3:2" },
        providerOptions: { "gpt-image-client": { resolution: "2K" } },
      });
      expect(sandbox.requests[0]?.body).toMatchObject({ size: "2048x1360" });
    });

    test("a provider's own options stand one deeper", async () => {
      const options = { openai: { extraBody: { house_style: "7" } } };
      await reasonOf(
        generateImage({
          ...{ model: imageModel(openaiClient()), prompt },
          providerOptions: { "gpt-image-client": { providerOptions: options } },
        }),
      );
      // The sandbox knows no such field; that it got there is what counts.
      expect(sandbox.requests[0]?.body).toMatchObject({ house_style: "7" });
    });

    test("partial images come to onEvent, and a stream that breaks after one is bought once", async () => {
      const shown: number[] = [];
      const order = {
        ...{ model: imageModel(openaiClient()), prompt, n: 2 },
        providerOptions: imageOptions({
          partialImages: 1,
          onEvent: (event) => {
            if (event.type === "partial") shown.push(event.bytes.byteLength);
          },
        }),
      };
      const { images } = await generateImage(order);
      expect([images.length, shown.length, sandbox.charges.length]).toEqual([2, 2, 2]);

      sandbox.reset();
      const fault = { fault: "stream-broken", afterPartials: 1, times: 2 } as const;
      sandbox.inject({ provider: "openaiCompatible", phase: "create", ...fault });
      const error = await reasonOf(generateImage(order));
      expect(error).toMatchObject({ charged: "unknown", partialImage: { index: 0 } });
      expect(sandbox.requests).toHaveLength(2);
    });

    test("an idempotency key makes the same order, given again, one purchase", async () => {
      const provider = trinetra(sandbox.trinetra);
      const model = imageModel(createImageClient({ provider, poll, journal: memoryJournal() }));
      const providerOptions = imageOptions({ idempotencyKey: "order-1" });
      const first = await generateImage({ model, prompt, providerOptions });
      const again = await generateImage({ model, prompt, providerOptions });

      expect(Buffer.from(again.image.uint8Array)).toEqual(Buffer.from(first.image.uint8Array));
      expect(sandbox.charges).toHaveLength(1);
    });

    test.each([
      [{ qualty: "high" }, "qualty"],
      [{ quality: 7 }, "quality"],
      [{ timeoutMs: -1 }, "options.timeoutMs"],
      [{ n: 2 }, 'providerOptions["gpt-image-client"].n'],
      [{ images: ["https://a.test/1.png"] }, 'providerOptions["gpt-image-client"].images'],
      [{ signal: "x" }, 'providerOptions["gpt-image-client"].signal'],
      [[], 'providerOptions["gpt-image-client"]'],
      [null, 'providerOptions["gpt-image-client"]'],
      ["high", 'providerOptions["gpt-image-client"]'],
    ])("%j is refused by name, and nothing is sent", async (options, field) => {
      // What JavaScript lets through.
      const providerOptions = { "gpt-image-client": options } as never;
      const error = await reasonOf(
        generateImage({ model: imageModel(trinetraClient()), prompt, providerOptions }),
      );
      expect(error).toMatchObject({ code: "invalid_request", charged: "no", field });
      expect(sandbox.requests).toEqual([]);
    });
  });

  describe("as a provider", () => {
    const provider = () => createImageProvider({ draft: openaiClient(), final: trinetraClient() });

    test("a registry, a custom provider and the default one hand out its models", async () => {
      const registry = sdk.createProviderRegistry({ images: provider() });
      const custom = sdk.customProvider({
        imageModels: { mine: imageModel(openaiClient()) },
        fallbackProvider: provider(),
      });
      for (const model of [
        registry.imageModel("images:draft"),
        custom.imageModel("mine"),
        custom.imageModel("final"),
      ]) {
        const { images } = await generateImage({ model, prompt });
        expect(images).toHaveLength(1);
      }
      globalThis.AI_SDK_DEFAULT_PROVIDER = provider();
      try {
        const { images } = await generateImage({ model: "final", prompt });
        expect(images).toHaveLength(1);
      } finally {
        globalThis.AI_SDK_DEFAULT_PROVIDER = undefined;
      }
      expect(sandbox.charges.map((each) => each.provider)).toEqual([
        ...["openaiCompatible", "openaiCompatible", "trinetra", "trinetra"],
      ]);
    });

    test("a model that is none of its own, or no image model, is the SDK's own error", () => {
      const registry = sdk.createProviderRegistry({ images: provider() });
      for (const ask of [
        () => provider().imageModel("other"),
        () => provider().imageModel("constructor"),
        () => provider().languageModel("draft"),
        () => provider().embeddingModel("draft"),
        () => registry.imageModel("images:other"),
        () => registry.languageModel("images:draft"),
      ]) {
        let thrown: unknown;
        try {
          ask();
        } catch (error) {
          thrown = error;
        }
        expect(sdk.NoSuchModelError.isInstance(thrown)).toBe(true);
        expect(sdk.AISDKError.isInstance(thrown)).toBe(true);
      }
      expect(() => provider().imageModel("other")).toThrow(
        "There are the image models draft, final",
      );
    });

    test("middleware sees the call and the result, and pays once", async () => {
      const seen: unknown[] = [];
      const model = sdk.wrapImageModel({
        model: provider().imageModel("draft"),
        middleware: {
          specificationVersion: "v3",
          transformParams: async ({ params }) => ({ ...params, size: "1536x1024" }),
          wrapGenerate: async ({ doGenerate }) => {
            const result = await doGenerate();
            seen.push(result.images.length);
            return result;
          },
        },
      });
      const result = await generateImage({ model, prompt, n: 2 });

      expect(imageMetadata(result).map(({ width }) => width)).toEqual([1536, 1536]);
      expect(seen).toEqual([2]);
      expect(sandbox.charges).toHaveLength(1);
    });
  });
});

describe("a model", () => {
  test("says what its client takes", () => {
    const upload = () => "https://a.test/1.png";
    const uploading = createImageClient({ provider: trinetra(sandbox.trinetra), upload });
    const supportOf = (client: ImageClient) => {
      const { supportsFileInputs, supportsMaskInputs } = imageModel(client);
      return { supportsFileInputs, supportsMaskInputs };
    };
    expect(supportOf(openaiClient())).toEqual({
      supportsFileInputs: true,
      supportsMaskInputs: true,
    });
    expect(supportOf(trinetraClient())).toEqual({
      ...{ supportsFileInputs: false, supportsMaskInputs: false },
    });
    expect(supportOf(uploading)).toEqual({ supportsFileInputs: true, supportsMaskInputs: false });
    const { edit: _, ...capabilities } = fakeImageClient().capabilities;
    expect(supportOf({ ...fakeImageClient(), capabilities })).toEqual({
      ...{ supportsFileInputs: false, supportsMaskInputs: false },
    });
  });

  test("is called by its own name, and its provider by the client's", () => {
    const client = fakeImageClient({ name: "acme" });
    expect(imageModel(client)).toMatchObject({
      ...{ provider: "gpt-image-client.acme", modelId: "gpt-image-2" },
    });
    expect(imageModel(client, { modelId: "mine" }).modelId).toBe("mine");
  });

  test("is made of a client, and of nothing else", () => {
    const provider = trinetra(sandbox.trinetra);
    // What JavaScript lets through.
    expect(() => imageModel(provider as never)).toThrow("`client` is invalid: expected a client");
    expect(() => createImageProvider({ a: fakeImageClient(), b: provider as never })).toThrow(
      "`clients.b` is invalid",
    );
    expect(() => imageModel(undefined as never)).toThrow("got undefined");
  });

  test("called without the SDK takes a data URL for what it is", async () => {
    const { image } = await openaiClient().generate({ prompt });
    const data = `data:image/png;base64,${await image.base64()}`;
    const { images } = await imageModel(openaiClient()).doGenerate({
      ...{ prompt, n: 1, size: undefined, aspectRatio: undefined, seed: undefined },
      ...{ files: [{ type: "file", mediaType: "image/png", data }], mask: undefined },
      providerOptions: {},
    });
    expect(images).toHaveLength(1);
  });

  test("takes no path on this machine for an image", async () => {
    const { path } = localFile("package.json");
    const error = await reasonOf(
      imageModel(openaiClient()).doGenerate({
        ...{ prompt, n: 1, size: undefined, aspectRatio: undefined, seed: undefined },
        ...{ files: [{ type: "url", url: path }], mask: undefined, providerOptions: {} },
      }),
    );
    expect(error).toMatchObject({ code: "invalid_request", field: "images[0]" });
    expect(sandbox.requests).toEqual([]);
  });
});
