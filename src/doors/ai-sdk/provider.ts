import type { ImageClient } from "../../index";
import { imageModel, requireClient } from "./model";
import type { AISDKImageProvider } from "./types";

/**
 * Clients as a provider of the AI SDK, for `createProviderRegistry`, `customProvider` and
 * `globalThis.AI_SDK_DEFAULT_PROVIDER`.
 *
 * @param clients by the ids of the models that they shall be.
 * @throws {@link InvalidRequestError} naming the entry that is no client.
 *
 * @example
 * ```ts
 * const images = createImageProvider({ draft: cheapClient, final: goodClient });
 * const registry = createProviderRegistry({ images });
 * await generateImage({ model: registry.imageModel("images:final"), prompt });
 * ```
 */
export function createImageProvider<ModelId extends string>(
  clients: Readonly<Record<ModelId, ImageClient>>,
): AISDKImageProvider<ModelId> {
  const entries = Object.entries<ImageClient>(clients);
  for (const [id, client] of entries) requireClient(client, `clients.${id}`);
  const models = new Map(
    entries.map(([modelId, client]) => [modelId, imageModel(client, { modelId })]),
  );
  const none = (modelType: string) => (modelId: string) => {
    throw new NoSuchModelError(modelId, modelType, [...models.keys()]);
  };
  return {
    specificationVersion: "v3",
    imageModel: (modelId) => models.get(modelId) ?? none("imageModel")(modelId),
    languageModel: none("languageModel"),
    embeddingModel: none("embeddingModel"),
  };
}

// What the SDK's `isInstance` looks for, in both majors (`@ai-sdk/provider` 3.0.19 and 4.0.38).
const anyError = Symbol.for("vercel.ai.error");
const thisError = Symbol.for("vercel.ai.error.AI_NoSuchModelError");

/** The SDK's error, known as one by either major, without importing one. */
class NoSuchModelError extends Error {
  override readonly name = "AI_NoSuchModelError";
  readonly [anyError] = true;
  readonly [thisError] = true;
  readonly modelId: string;
  readonly modelType: string;

  constructor(modelId: string, modelType: string, known: readonly string[]) {
    super(`No such ${modelType}: ${modelId}. There are the image models ${known.join(", ")}.`);
    this.modelId = modelId;
    this.modelType = modelType;
  }
}
