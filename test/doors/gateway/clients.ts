import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import * as six from "ai";
import { openaiMajors } from "./stage";

/** A client of somebody else's at its default settings: gives how many pictures it had. */
export interface Client {
  readonly name: string;
  /** How many of what it asks for are whole pictures. */
  ask(baseURL: string, options?: { readonly timeoutMs?: number }): Promise<number>;
}

const apiKey = "key-of-anna";
const isNode22 = Number.parseInt(process.versions.node, 10) >= 22;

const official: readonly Client[] = openaiMajors.map(({ name, OpenAI }) => ({
  name,
  async ask(baseURL, { timeoutMs } = {}) {
    const openai = new OpenAI({
      apiKey,
      baseURL,
      ...(timeoutMs !== undefined && { timeout: timeoutMs }),
    });
    const size = "1024x1024";
    const { data } = await openai.images.generate({ model: "gpt-image-2", prompt: "A web", size });
    return data?.filter(({ b64_json }) => (b64_json?.length ?? 0) > 100).length ?? 0;
  },
}));

type Sdk = Pick<typeof six, "generateImage">;
type ImageModel = Parameters<typeof six.generateImage>[0]["model"];

function sdkClient(name: string, sdk: Sdk, modelAt: (baseURL: string) => ImageModel): Client {
  return {
    name,
    async ask(baseURL, { timeoutMs } = {}) {
      const { images } = await sdk.generateImage({
        ...{ model: modelAt(baseURL), prompt: "A web", size: "1024x1024" },
        ...(timeoutMs !== undefined && { abortSignal: AbortSignal.timeout(timeoutMs) }),
      });
      return images.filter(({ uint8Array }) => uint8Array.byteLength > 100).length;
    },
  };
}

async function sevens(): Promise<readonly Client[]> {
  // What is called here is called in the same way in both majors.
  const sdk = (await import("ai-7")) as unknown as Sdk;
  const { createOpenAI: createOpenAI4 } = await import("ai-sdk-openai-4");
  const { createOpenAICompatible: createCompatible3 } = await import("ai-sdk-openai-compatible-3");
  const own = (baseURL: string) => createOpenAI4({ apiKey, baseURL }).image("gpt-image-2");
  const other = (baseURL: string) =>
    createCompatible3({ name: "gateway", apiKey, baseURL }).imageModel("gpt-image-2");
  return [
    // Their models are the SDK's own, of the other major.
    sdkClient("ai 7, openai", sdk, own as unknown as (baseURL: string) => ImageModel),
    // The same.
    sdkClient("ai 7, compatible", sdk, other as unknown as (baseURL: string) => ImageModel),
  ];
}

/** Both majors of `openai` and of `ai`, each where Node runs it. */
export const clients: readonly Client[] = [
  ...official,
  sdkClient("ai 6, openai", six, (baseURL) =>
    createOpenAI({ apiKey, baseURL }).image("gpt-image-2"),
  ),
  sdkClient("ai 6, compatible", six, (baseURL) =>
    createOpenAICompatible({ name: "gateway", apiKey, baseURL }).imageModel("gpt-image-2"),
  ),
  ...(isNode22 ? await sevens() : []),
];

globalThis.AI_SDK_LOG_WARNINGS = false;
