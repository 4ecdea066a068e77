import { type ImageClient, InvalidRequestError } from "../../index";
import { responseOf } from "./answer";
import { orderOf } from "./request";
import type { AISDKImageModel, ImageModelSettings } from "./types";

/**
 * A client as an image model of the AI SDK, for `generateImage` of `ai` 6 and 7. A call pays once, whatever
 * goes wrong: the client's errors come through as they are, and the SDK repeats none of them.
 *
 * `headers` are not sent, as they could replace the key: a warning names them. Options beyond the SDK's
 * own stand in `providerOptions["gpt-image-client"]`; see {@link ImageModelOptions}.
 *
 * @throws {@link InvalidRequestError} if `client` is none.
 *
 * @example
 * ```ts
 * const client = createImageClient({ provider: openai() });
 * const { image } = await generateImage({ model: imageModel(client), prompt: "A dew-covered web" });
 * ```
 */
export function imageModel(
  client: ImageClient,
  settings: ImageModelSettings = {},
): AISDKImageModel {
  requireClient(client, "client");
  const { modelId = "gpt-image-2" } = settings;
  // Not frozen, and no class: `ai` 7 reads it through a Proxy that says "v4", which neither a frozen
  // property nor a private one lets pass.
  return {
    specificationVersion: "v3",
    provider: `gpt-image-client.${client.name}`,
    modelId,
    // With `undefined` the SDK would send one image a call, and lose the paid ones where one fails; with
    // `Infinity` it sends none at all.
    maxImagesPerCall: Number.MAX_SAFE_INTEGER,
    get supportsFileInputs() {
      return takesBytes(client);
    },
    get supportsMaskInputs() {
      return client.capabilities.edit?.inputs?.mask === true;
    },
    async doGenerate(given) {
      const { request, inputs, call, warnings } = orderOf(given);
      const result =
        inputs === undefined
          ? await client.generate(request, call)
          : await client.edit({ ...request, ...inputs }, call);
      const asked = [request, inputs ?? {}, call].flatMap(Object.keys);
      const response = await responseOf(result, asked, modelId, call.signal);
      return { ...response, warnings: [...warnings, ...response.warnings] };
    },
  };
}

/** @throws {@link InvalidRequestError} for what is no client, such as its provider. */
export function requireClient(client: unknown, field: string): void {
  const isClient =
    typeof client === "object" &&
    client !== null &&
    "generate" in client &&
    typeof client.generate === "function";
  if (isClient) return;
  const taken = "a client, as `createImageClient` makes one";
  throw new InvalidRequestError({ charged: "no", field, given: typeof client, taken });
}

/** Whether an edit may bring bytes: where the provider takes URLs alone, that is a matter of `upload`. */
function takesBytes(client: ImageClient): boolean {
  const inputs = client.capabilities.edit?.inputs;
  if (inputs?.as !== "url") return inputs !== undefined;
  return client.check({ prompt: "-", images: [new Uint8Array(1)] }).length === 0;
}
