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
