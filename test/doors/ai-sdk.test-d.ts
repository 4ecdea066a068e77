import type * as six from "ai";
import type * as seven from "ai-7";
import type { ImageClient, ImageJob } from "gpt-image-client";
import {
  type AISDKImageModel,
  type AISDKImageProvider,
  createImageProvider,
  type ImageMetadata,
  type ImageModelOptions,
  imageMetadata,
  imageModel,
  imageOptions,
} from "gpt-image-client/ai-sdk";
import { expectTypeOf, test } from "vitest";

declare const client: ImageClient;
declare const ai6: typeof six;
declare const ai7: typeof seven;

const model = imageModel(client);
const provider = createImageProvider({ draft: client, final: client });

test("either major takes the model and the provider, without a cast", () => {
  expectTypeOf<AISDKImageModel>().toExtend<six.ImageModel>();
  expectTypeOf<AISDKImageModel>().toExtend<seven.ImageModel>();
  expectTypeOf<AISDKImageProvider>().toExtend<six.Provider>();
  ai6.generateImage({ model, prompt: "x" });
  ai7.generateImage({ model, prompt: "x" });
  ai6.createProviderRegistry({ images: provider }).imageModel("images:final");
  ai7.createProviderRegistry({ images: provider }).imageModel("images:final");
  ai6.customProvider({ imageModels: { mine: model }, fallbackProvider: provider });
  ai7.customProvider({ imageModels: { mine: model }, fallbackProvider: provider });
  ai6.wrapImageModel({ model, middleware: { specificationVersion: "v3" } });
  ai7.wrapImageModel({ model, middleware: { specificationVersion: "v4" } });
  globalThis.AI_SDK_DEFAULT_PROVIDER = provider;
});

test("a provider names its models, and lets others be asked for", () => {
  expectTypeOf(provider).toEqualTypeOf<AISDKImageProvider<"draft" | "final">>();
  expectTypeOf(provider.imageModel("draft")).toEqualTypeOf<AISDKImageModel>();
  provider.imageModel("other");
  // @ts-expect-error: a client, not its name
  createImageProvider({ draft: "openai" });
  // @ts-expect-error: no such setting
  imageModel(client, { model: "gpt-image-2" });
});

test("options are typed, and go where either major takes them", () => {
  const providerOptions = imageOptions({
    ...{ quality: "high", outputFormat: "webp", saveTo: "pictures", idempotencyKey: "order-1" },
    providerOptions: { openai: { extraBody: { house_style: 7 } } },
    onSubmitted: (job) => expectTypeOf(job).toEqualTypeOf<ImageJob>(),
  });
  ai6.generateImage({ model, prompt: "x", providerOptions });
  ai7.generateImage({ model, prompt: "x", providerOptions });
  const inline = { "gpt-image-client": { quality: "high" } satisfies ImageModelOptions };
  ai6.generateImage({ model, prompt: "x", providerOptions: inline });
  ai7.generateImage({ model, prompt: "x", providerOptions: inline });
  // @ts-expect-error: no such option
  imageOptions({ qualty: "high" });
  // @ts-expect-error: a number
  imageOptions({ timeoutMs: "1" });
  // @ts-expect-error: generateImage has an argument for it
  imageOptions({ n: 2 });
  // @ts-expect-error: generateImage calls it abortSignal
  imageOptions({ signal: new AbortController().signal });
});

test("what comes back can be read as what it is", async () => {
  const results = [
    await ai6.generateImage({ model, prompt: "x" }),
    await ai7.generateImage({ model, prompt: "x" }),
  ] as const;
  for (const result of results) {
    expectTypeOf(imageMetadata(result)).toEqualTypeOf<readonly ImageMetadata[]>();
  }
});
