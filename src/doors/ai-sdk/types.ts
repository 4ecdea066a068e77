import type { CallOptions, Cost, GenerateRequest, JobReference } from "../../index";

/**
 * The AI SDK's types, by their structure: nothing of the SDK is imported, so that one declaration serves
 * its majors 6 and 7, and a program without it. Taken from `@ai-sdk/provider` 3.0.19 and 4.0.38.
 */
export type JSONValue = null | string | number | boolean | JSONObject | JSONValue[];
export type JSONObject = { [name: string]: JSONValue | undefined };

/** An input image as the SDK hands it over. */
export type InputFile =
  | { readonly type: "file"; readonly mediaType: string; readonly data: string | Uint8Array }
  | { readonly type: "url"; readonly url: string };

/** What the SDK calls a model with. */
export interface GenerateArguments {
  readonly prompt: string | undefined;
  readonly n: number;
  readonly size: string | undefined;
  readonly aspectRatio: string | undefined;
  readonly seed: number | undefined;
  readonly files: readonly InputFile[] | undefined;
  readonly mask: InputFile | undefined;
  readonly providerOptions: Readonly<Record<string, unknown>>;
  readonly abortSignal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
}

/** What the SDK tells its user of. */
export type Warning =
  | { type: "unsupported"; feature: string; details?: string }
  | { type: "other"; message: string };

/** What a model gives the SDK. */
export interface GenerateResponse {
  images: Uint8Array[];
  warnings: Warning[];
  providerMetadata: Record<string, { images: JSONObject[] }>;
  response: { timestamp: Date; modelId: string; headers: undefined };
  usage?: {
    inputTokens: number | undefined;
    outputTokens: number | undefined;
    totalTokens: number | undefined;
  };
}

/** An image model of the AI SDK's specification 3, which `ai` 6 and 7 take. */
export interface AISDKImageModel {
  readonly specificationVersion: "v3";
  /** `"gpt-image-client."` and the client's name. */
  readonly provider: string;
  readonly modelId: string;
  /** No limit: the client splits `n` itself, within its limits, and keeps what succeeds. */
  readonly maxImagesPerCall: number;
  /** Whether images may be given as bytes; false where the provider takes URLs alone and the client has no `upload`. */
  readonly supportsFileInputs: boolean;
  readonly supportsMaskInputs: boolean;
  /**
   * What `generateImage` calls.
   *
   * @throws the client's own errors; the signal's reason if it aborts.
   */
  doGenerate(given: GenerateArguments): Promise<GenerateResponse>;
}

/** A provider for `createProviderRegistry`, `customProvider` and `AI_SDK_DEFAULT_PROVIDER`. */
export interface AISDKImageProvider<ModelId extends string = string> {
  readonly specificationVersion: "v3";
  /** @throws an `AI_NoSuchModelError` for an id that is none of its own. */
  imageModel(modelId: ModelId | (string & {})): AISDKImageModel;
  /** @throws an `AI_NoSuchModelError`, always. */
  languageModel(modelId: string): never;
  /** @throws an `AI_NoSuchModelError`, always. */
  embeddingModel(modelId: string): never;
}

/** The second argument of `imageModel`. */
export interface ImageModelSettings {
  /**
   * What the SDK calls the model in warnings and, where the provider names none, in `responses`. What is
   * sent is the client's own. Default `"gpt-image-2"`.
   */
  readonly modelId?: string;
}

/** What `generateImage` has arguments of its own for. */
export type OwnArgument = "prompt" | "n" | "size" | "aspectRatio" | "images" | "mask" | "signal";

/**
 * What goes into `providerOptions["gpt-image-client"]`: the request and the call, but for what
 * `generateImage` has arguments of its own for.
 */
export type ImageModelOptions = Omit<GenerateRequest, OwnArgument> & Omit<CallOptions, OwnArgument>;

/** What `providerMetadata["gpt-image-client"].images` says of an image. */
export interface ImageMetadata {
  /** For `client.resume(…)`, as plain JSON. */
  readonly job: JobReference;
  /** The client's name of the provider that made it. */
  readonly provider: string;
  /** As the provider names it, where it does. */
  readonly model?: string;
  /** Where the provider keeps it, often for a short time only. */
  readonly url?: string;
  /** Where it was saved, with `saveTo`. */
  readonly file?: string;
  /** The prompt as the model understood it, where the provider says. */
  readonly revisedPrompt?: string;
  /** By the bytes. The SDK's own `mediaType` is `"image/png"` for an SVG. */
  readonly mediaType?: string;
  /** In pixels. */
  readonly width?: number;
  /** In pixels. */
  readonly height?: number;
  /** What the whole call cost: on its first image alone, so that a sum counts it once. */
  readonly cost?: Cost;
  /** What came to nothing of a call that gave other images, as the errors' JSON: on its first image alone. */
  readonly failures?: readonly FailureMetadata[];
}

/** An error as plain JSON, of an image that a call did not give. */
export interface FailureMetadata {
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly charged: "no" | "yes" | "unknown";
  readonly job?: JobReference;
  /** Of an image that exists and could not be fetched. */
  readonly url?: string;
}
