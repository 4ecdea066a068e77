/**
 * Everything an adapter of your own is made of.
 *
 * @module gpt-image-client/provider
 */

export { withoutPaths } from "./adapter/base-url";
export {
  type Absent,
  type Adapter,
  type BoundOperation,
  type BoundTask,
  type Call,
  type ImageFile,
  type InputRule,
  type Outcome,
  type Output,
  type Part,
  type PartialOutput,
  type Pending,
  type Phase,
  type ProviderResponse,
  type RefusalKind,
  type Refused,
  refusalKinds,
  type Succeeded,
  type Task,
  type WebhookDescription,
} from "./adapter/contract";
export { defineOperation, type OperationDescription } from "./adapter/define";
export type { DimensionRule } from "./adapter/dimensions";
export { isOpenAIOrigin, type OpenAIEndpoint, readOpenAIError } from "./adapter/openai-error";
export { openAIUsage } from "./adapter/openai-usage";
export { type PixelSize, sizeProblem } from "./adapter/pixel-sizes";
export {
  checkedStatuses,
  createProvider,
  defineProvider,
  type Provider,
  type ProviderSettings,
} from "./adapter/provider";
export {
  imageField,
  jobId,
  jsonOrText,
  jsonValue,
  lenient,
  numberOrText,
  promptUpTo,
  stateWord,
  textOrNumber,
} from "./adapter/reading";
export {
  type ErrorWords,
  isUncertain,
  kindOfStatus,
  moderated,
  readStatus,
  retryAfterMs,
  unreadable,
  withoutImage,
} from "./adapter/refusals";
export {
  gptImage2Prices,
  priceOfImages,
  priceOfUsage,
  type TokenPrices,
} from "./adapter/token-prices";
export { once } from "./async/lazy";
export type { Charged, Cost, Usage } from "./cost";
export type { DecodedImage } from "./media/decoded-image";
export { compiled } from "./parse/core-schemas";
export type { Operation } from "./types/reference";
