/**
 * Any client as an image model of the AI SDK, for `generateImage` of `ai` 6 and 7.
 *
 * @module gpt-image-client/ai-sdk
 */
export { imageMetadata } from "./answer";
export { imageModel } from "./model";
export { createImageProvider } from "./provider";
export { imageOptions } from "./request";
export type {
  AISDKImageModel,
  AISDKImageProvider,
  FailureMetadata,
  ImageMetadata,
  ImageModelOptions,
  ImageModelSettings,
} from "./types";
