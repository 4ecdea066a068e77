import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, memoryJournal, trinetra } from "gpt-image-client";
import {
  createImageProvider,
  imageMetadata,
  imageModel,
  imageOptions,
} from "gpt-image-client/ai-sdk";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import {
  openaiClient,
  poll,
  prompt,
  reasonOf,
  sandbox,
  trinetraClient,
  useSandbox,
} from "./ai-sdk/clients";
import { majors } from "./ai-sdk/majors";

useSandbox();

describe.each(majors)("through generateImage of $name", ({ sdk }) => {
  const { generateImage } = sdk;

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
