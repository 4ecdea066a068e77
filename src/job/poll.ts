import type { Pending, Refused, Succeeded } from "../adapter/contract";
import { contextOf, errorOf } from "../api/outcome-error";
import type { Reading } from "../api/read-response";
import type { AbortSignalLike } from "../async/clock";
import { GenerationFailedError, isImageError, ProviderUnavailableError, withJob } from "../errors";
import { TransportFault } from "../http/faults";
import type { ErrorFacts, ImageError } from "../types";
import type { GeneratedImage } from "../types/image";
import type { TaskPictures } from "./pictures";
import { query } from "./query";
import type { TaskServices } from "./services";

/** What one poll told. */
export type Step =
  | {
      readonly is: "running";
      readonly outcome: Pending;
      /** Images beside an unknown state, which may have meant the end. */
      readonly images?: readonly GeneratedImage[] | undefined;
    }
  | { readonly is: "succeeded"; readonly outcome: Succeeded; readonly raw: unknown }
  | { readonly is: "failed"; readonly refused: Refused; readonly error: ImageError }
  /** Nothing: it is one more wait. */
  | {
      readonly is: "retry";
      readonly failure: ImageError;
      /** What the provider asks for. */
      readonly retryAfterMs?: number | undefined;
    }
  /** Something that ends the polling, and says nothing about the job. */
  | { readonly is: "stopped"; readonly error: unknown }
  /** The wait was abandoned. */
  | { readonly is: "left" };

/** Whose job is asked after. */
interface PolledTask {
  /** How many images were asked for. */
  readonly n: number;
  /** When its create was sent, by the monotonic clock. */
  readonly startedAt: number | undefined;
  readonly pictures: TaskPictures;
  facts(facts: ErrorFacts): ErrorFacts;
}

/** The provider may need so long until it knows a job that it has accepted. */
const usualGraceMs = 15_000;

/** Asks once, by the provider's id of the job. Never rejects. */
export async function poll(
  task: PolledTask,
  id: string,
  services: TaskServices,
  signal: AbortSignalLike,
): Promise<Step> {
  const { clock, api, pollLimiter } = services.client;
  const askedAt = clock.now();
  let reading: Reading;
  try {
    reading = await query({ id, n: task.n }, services, signal);
  } catch (error) {
    if (signal.aborted) return { is: "left" };
    if (!(error instanceof TransportFault)) {
      return { is: "stopped", error: stoppedBy(error, task, services) };
    }
    const detail = api.clean(error.message);
    const cause = api.safe(error.cause ?? error);
    const facts = task.facts({ charged: "unknown", detail, cause });
    return { is: "retry", failure: new ProviderUnavailableError(facts) };
  }
  const { outcome } = reading;
  const isTooOften = outcome.state === "refused" && outcome.kind === "rate_limited";
  pollLimiter.answered(askedAt, isTooOften ? (outcome.retryAfterMs ?? 0) : undefined);
  return stepOf(reading, task, services);
}

async function stepOf(reading: Reading, task: PolledTask, services: TaskServices): Promise<Step> {
  const { outcome } = reading;
  switch (outcome.state) {
    case "queued":
    case "running":
      return reading.images.length === 0
        ? { is: "running", outcome }
        : { is: "running", outcome, images: await task.pictures.salvage(reading.images) };
    case "succeeded":
      return { is: "succeeded", outcome, raw: reading.raw() };
    case "absent": {
      const { status } = reading;
      const told = { charged: "unknown", status, raw: reading.raw() } as const;
      const facts = task.facts({ ...told, detail: outcome.message });
      const error = new GenerationFailedError({ ...facts, what: "unknownJob" });
      const { absentGraceMs = usualGraceMs } = services.client.provider.adapter;
      const now = services.client.clock.now();
      return now - (task.startedAt ?? now) < absentGraceMs
        ? { is: "retry", failure: error }
        : { is: "stopped", error };
    }
    case "refused": {
      // Whatever an adapter makes of it: the job was accepted, and this poll says nothing of it.
      const facts = task.facts({ ...contextOf(reading), charged: "unknown" });
      const error = errorOf({ ...outcome, charged: "unknown" }, facts);
      return outcome.resend === "wait"
        ? { is: "retry", failure: error, retryAfterMs: outcome.retryAfterMs }
        : { is: "stopped", error };
    }
    case "failed": {
      const { charged } = outcome;
      const images = await task.pictures.salvage(reading.images);
      const facts = task.facts({ ...contextOf(reading), charged, images });
      return { is: "failed", refused: outcome, error: errorOf(outcome, facts) };
    }
  }
}

/** A missing key, or a function that threw. */
function stoppedBy(error: unknown, task: PolledTask, { client, job }: TaskServices): unknown {
  if (isImageError(error)) return withJob(error, "unknown", job);
  const told = { charged: "unknown", detail: client.api.clean(String(error)) } as const;
  return new ProviderUnavailableError(task.facts({ ...told, cause: client.api.safe(error) }));
}
