/**
 * Everything an app needs: the client, providers, requests, results, jobs, errors, journals and polling.
 *
 * @module gpt-image-client
 */
// ---- the client ----
export type { Capabilities, OperationCapabilities } from "./capabilities";
export {
  type ClientJournal,
  type CloseOptions,
  createImageClient,
  type ImageClient,
  type ProviderImageClient,
} from "./client";
export type { ImageClientOptions, WebhookOptions } from "./client-options";
// ---- money ----
export type { Charged, Cost } from "./cost";
// ---- errors ----
export {
  type AnyImageError,
  AuthenticationError,
  BudgetExceededError,
  CallbackError,
  ClientClosedError,
  DownloadError,
  GenerationFailedError,
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
export type { RecoverOptions } from "./job/recovery";
export type { Settlement } from "./job/settlement";
// ---- jobs that outlive the process ----
export { directoryJournal } from "./journal/directory";
export {
  type ExpiredJobs,
  type Journal,
  type JournalEntry,
  type JournalFilter,
  memoryJournal,
  type TaskName,
} from "./journal/journal";
export type { JournalRecord } from "./journal/record";
// ---- a record of every order ----
export type {
  Amount,
  LedgerChange,
  LedgerEntry,
  LedgerLimit,
  LedgerRange,
  LedgerScope,
  LedgerShortfall,
  LedgerState,
  LedgerStore,
  LedgerSums,
} from "./ledger/store";
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
export type { ImageBytes } from "./realm";
export type { Upload, UploadedImage } from "./request/inputs";
// ---- requests ----
export {
  type EditRequest,
  type GenerateRequest,
  type ImageInput,
  type ImageRequest,
  type LoadableImage,
  type LocalFile,
  localFile,
  type ProviderOptions,
} from "./request/request";
// ---- polling and webhooks ----
export { type LearnedScheduleOptions, learnedSchedule } from "./schedule/learned-schedule";
export type { PollMoment, PollSchedule, SizeClass } from "./schedule/schedule";
// ---- jobs ----
// ---- results ----
export { ImageError, type ImageEvent, type ImageJob, type ImageResult, type Timing } from "./types";
export type { CallOptions } from "./types/call-options";
export type { GeneratedImage, ImageInfo, PartialImage } from "./types/image";
export type { JobReference, Operation, TaskReference, TaskState } from "./types/reference";
export type { JobStatus, StatusOptions, WaitCallOptions } from "./types/waiting";
export type { Webhooks } from "./webhooks/receiver";
