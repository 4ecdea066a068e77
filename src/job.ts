import * as z from "zod/mini";
import type { Cost } from "./cost";
import { type ImageError, InvalidRequestError } from "./errors";
import { once } from "./once";
import { type Operation, problemsOf, shown } from "./request";
import type { ImageResult } from "./result";

/**
 * How far a task is. `"waiting"`: not sent yet. `"submitting"`: the create is on its way.
 * `"refused"`: the provider did not take it. `"unknown"`: sent, and its answer was lost.
 */
export type TaskState =
  | "waiting"
  | "submitting"
  | "queued"
  | "running"
  | "succeeded"
  | "failed"
  | "refused"
  | "unknown";

/** One native request of a job. */
export interface TaskReference {
  /** Its place in the job, from 0. */
  readonly index: number;
  /** How many images it asks for. */
  readonly n: number;
  /** The provider's id, once it has accepted. */
  readonly id?: string;
  /** The idempotency key that was sent, at a provider that honours one. */
  readonly key?: string;
  /** How far it was when the reference was made. */
  readonly state: TaskState;
  /** What the provider said it costs; some say so in the answer to the create alone. */
  readonly cost?: Cost;
}

/** A job as plain JSON: no key, no prompt. Any process can resume it. */
export interface JobReference {
  /** The version of this form. */
  readonly v: 1;
  /** Ours, minted before anything is sent. */
  readonly id: string;
  /** The provider's name: a client of another one refuses it. */
  readonly provider: string;
  /** Where the provider was reached, without a query. */
  readonly baseURL: string;
  /** What was asked for. */
  readonly operation: Operation;
  /** When the call was made, as ISO 8601. */
  readonly submittedAt: string;
  /** Its native requests; several where `n` was split. */
  readonly tasks: readonly TaskReference[];
}

/** The second argument of everything that waits. */
export interface WaitCallOptions {
  /** Aborting rejects at once with the signal's own reason; nothing more is sent. */
  readonly signal?: AbortSignal;
  /** Milliseconds from the sending of the create (in `job.result`: from this call). Default: the client's. */
  readonly timeoutMs?: number;
  /**
   * A directory: images are written there as they arrive, whole files only. `generate`, `edit` and
   * `submit` try it before anything is paid, and throw an `InvalidRequestError` where it cannot be
   * made or written to. A relative path is resolved at the call.
   */
  readonly saveTo?: string;
}

/** The second argument of `generate`, `edit` and `submit`. */
export interface CallOptions extends WaitCallOptions {
  /**
   * Sent where the provider honours one (each task of a split request derives its own from it), so
   * that the same call made again does not pay again.
   */
  readonly idempotencyKey?: string;
  /**
   * Awaited once the provider has accepted, before the first poll: the place to save
   * `job.reference`. Called again for each further task of a split request, with the same `job.id`.
   * If it throws, the call rejects with a `CallbackError` that carries the job.
   */
  readonly onSubmitted?: (job: ImageJob) => unknown;
  /** Hears what happens. What it throws is ignored. */
  readonly onEvent?: (event: ImageEvent) => unknown;
  /** Comes back in every event of this call. */
  readonly metadata?: unknown;
}

/** What one poll of a job said. */
export interface JobStatus {
  /** `"succeeded"` as soon as nothing runs any more and one task gave pictures. */
  readonly state: "queued" | "running" | "succeeded" | "failed" | "unknown";
  /** Nothing will change any more: `job.result()` answers without waiting. */
  readonly settled: boolean;
  /** 0 to 1, where the provider says. */
  readonly progress?: number;
  /** Each native request of the job, as of now. */
  readonly tasks: readonly TaskReference[];
}

/**
 * What happened to a task, as it happens. `JSON.stringify(event)` is safe to send to a browser: it has
 * neither `metadata` nor the provider's id of the job nor a reference, and of a file its name alone. A
 * copy (`{ ...event }`) is not: pick its fields.
 */
export type ImageEvent = {
  /** The provider's name. */
  readonly provider: string;
  /** The job's own id, as in its reference. */
  readonly jobId: string;
  /** Which task of a split request. */
  readonly task: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The `metadata` of the call. */
  readonly metadata?: unknown;
} & (
  | { readonly type: "submitting" }
  | { readonly type: "submitted"; readonly id: string | undefined }
  /** Comes when something of it has changed, or after a poll that failed. */
  | {
      readonly type: "status";
      readonly state: "queued" | "running";
      /** The provider's own word. */
      readonly word: string;
      /** False for a word that nobody had heard before: the job is polled on. */
      readonly known: boolean;
      readonly progress?: number;
    }
  | {
      /** An exchange gave no answer that counts, and will be repeated. */
      readonly type: "retry";
      readonly phase: "create" | "poll" | "download";
      readonly reason: string;
      readonly delayMs: number;
    }
  | { readonly type: "succeeded"; readonly images: number; readonly cost?: Cost }
  /** The task has failed, or nobody could ask after it any more: `error.code` says which. */
  | { readonly type: "failed"; readonly error: ImageError }
  | { readonly type: "saved"; readonly file: string }
);

/** A generation that was paid for, or may have been. */
export interface ImageJob {
  /** Ours, minted before anything was sent. */
  readonly id: string;
  /** The provider's name. */
  readonly provider: string;
  /** As plain JSON, for a database or a queue. A new object each time, as of now. */
  readonly reference: JobReference;
  toJSON(): JobReference;
  /** One poll of each task that is not settled; waits for no state to change. */
  status(options?: Pick<WaitCallOptions, "signal">): Promise<JobStatus>;
  /**
   * Waits for the end.
   *
   * @throws {@link ImageError} as `generate` does; the signal's reason if it aborts.
   */
  result(options?: WaitCallOptions): Promise<ImageResult>;
  /**
   * Lets a journal forget the job, and with it the images that it keeps: save what you need first. A
   * submitted job no longer counts for the client's `concurrency`.
   *
   * @throws {@link JournalError} if the journal cannot be written.
   */
  release(): Promise<void>;
  /** Events from the newest on, until the job is settled; several listeners share one polling loop. Ends without throwing. */
  events(options?: Pick<WaitCallOptions, "signal">): AsyncIterableIterator<ImageEvent>;
}

const referenceSchema = once(() =>
  z.object({
    v: z.literal(1, "1: it was written by another version of this package"),
    // It becomes a part of file names.
    id: z.string("the id of a job").check(z.regex(/^[\w-]+$/, "the id of a job")),
    provider: z.string("the name of a provider"),
    baseURL: z.string("the base URL of a provider"),
    operation: z.enum(["generate", "edit"], "generate or edit"),
    submittedAt: z.iso.datetime("a date in ISO 8601"),
    tasks: z
      .array(
        z.object({
          index: z.int("a whole number").check(z.minimum(0, "a whole number")),
          n: z
            .int("a whole number of at least 1")
            .check(z.minimum(1, "a whole number of at least 1")),
          id: z.optional(z.string("the id of a task").check(z.minLength(1, "the id of a task"))),
          key: z.optional(z.string("an idempotency key")),
          state: z.enum(
            [
              "waiting",
              "submitting",
              "queued",
              "running",
              "succeeded",
              "failed",
              "refused",
              "unknown",
            ],
            "a state of a task",
          ),
          cost: z.optional(
            z.object({
              amount: z.number(),
              unit: z.string(),
              basis: z.enum(["reported", "usage", "list"]),
            }),
          ),
        }),
        "a list of tasks",
      )
      .check(z.minLength(1, "at least one task")),
  }),
);

/** A reference that has been checked. */
export type ParsedReference = z.output<ReturnType<typeof referenceSchema>>;

/** Reads a reference that may come from anywhere: an object, a job, or its JSON as a string. */
export function parseReference(
  value: unknown,
  expected: { provider: string; baseURL: string },
): ParsedReference {
  const given = typeof value === "string" ? jsonOf(value) : value;
  const plain = isJob(given) ? given.reference : given;
  const parsed = referenceSchema().safeParse(plain);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const [problem] = issue === undefined ? [] : problemsOf(issue, plain, ["reference"]);
    const field = ["reference", ...(issue?.path ?? [])].join(".");
    const taken = issue?.path.length === 0 ? "the reference of a job, or its JSON" : problem?.taken;
    throw wrongReference(field, problem?.given ?? "another", taken ?? "another");
  }
  const { provider, baseURL } = parsed.data;
  if (provider !== expected.provider) {
    const taken = `"${expected.provider}", this client's`;
    throw wrongReference("reference.provider", shown("provider", provider), taken);
  }
  if (baseURL !== expected.baseURL) {
    const taken = `"${expected.baseURL}", this client's`;
    throw wrongReference("reference.baseURL", shown("baseURL", baseURL), taken);
  }
  return parsed.data;

  function wrongReference(field: string, shownValue: string, taken: string) {
    const facts = { charged: "no" as const, provider: expected.provider };
    return new InvalidRequestError({ ...facts, field, given: shownValue, taken });
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the schema names it.
    return text;
  }
}

function isJob(value: unknown): value is { reference: unknown } {
  return typeof value === "object" && value !== null && "reference" in value && "id" in value;
}

/** The state of a job from those of its tasks. */
export function jobState(states: readonly TaskState[]): JobStatus["state"] {
  if (states.includes("running")) return "running";
  if (states.some((state) => state === "waiting" || state === "submitting" || state === "queued")) {
    return "queued";
  }
  if (states.includes("succeeded")) return "succeeded";
  return states.includes("unknown") ? "unknown" : "failed";
}

/** Whether nothing can change a task any more. */
export function isSettled(state: TaskState): boolean {
  return state === "succeeded" || state === "failed" || state === "refused" || state === "unknown";
}
