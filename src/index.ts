/**
 * Everything an app needs: the client, providers, requests, results, jobs, errors, journals and polling.
 *
 * @module gpt-image-client
 */
// ---- the client ----
export type { Capabilities, OperationCapabilities } from "./capabilities";
export {
  type CloseOptions,
  createImageClient,
  type ImageClient,
  type ProviderImageClient,
} from "./client";
export type { ImageClientOptions } from "./client-options";
// ---- money ----
export type { Charged, Cost } from "./cost";
// ---- jobs that outlive the process ----
export { directoryJournal } from "./directory-journal";
// ---- errors ----
export {
  type AnyImageError,
  AuthenticationError,
  CallbackError,
  ClientClosedError,
  DownloadError,
  GenerationFailedError,
  ImageError,
  InsufficientCreditsError,
  InvalidRequestError,
  isImageError,
  JournalError,
  MalformedResponseError,
  ModerationError,
  PermissionDeniedError,
  ProviderUnavailableError,
  RateLimitError,
  SubmissionUnknownError,
  TimeoutError,
  UnsupportedError,
} from "./errors";
export type { GeneratedImage, ImageInfo } from "./generated-image";
export type { Upload, UploadedImage } from "./inputs";
// ---- jobs ----
export type {
  CallOptions,
  ImageEvent,
  ImageJob,
  JobReference,
  JobStatus,
  TaskReference,
  TaskState,
  WaitCallOptions,
} from "./job";
export { type Journal, type JournalEntry, memoryJournal, type TaskName } from "./journal";
export type { JournalRecord } from "./journal-record";
export type { RecoverOptions } from "./journaling";
// ---- polling and webhooks ----
export { type LearnedScheduleOptions, learnedSchedule } from "./learned-schedule";
// ---- providers ----
export type { InputRule, Provider, ProviderSettings, TokenPrices, Usage } from "./provider";
export {
  aigptimage,
  type OpenAICompatibleSettings,
  type OpenAISettings,
  openai,
  openaiCompatible,
  shortapi,
  trinetra,
} from "./providers/index";
// ---- requests ----
export {
  type EditRequest,
  type GenerateRequest,
  type ImageInput,
  type ImageRequest,
  type LoadableImage,
  type LocalFile,
  localFile,
  type Operation,
  type ProviderOptions,
} from "./request";
// ---- results ----
export type { ImageResult, Timing } from "./result";
export type { PollMoment, PollSchedule, SizeClass } from "./schedule";
export type { Settlement } from "./settlement";
export type { WebhookOptions, Webhooks } from "./webhooks";
