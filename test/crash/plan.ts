import type { SandboxAccess, SandboxCharge, SandboxProvider } from "../../src/testing/sandbox";

/** What a worker is told to do, as JSON in its first argument. */
export interface WorkerPlan {
  readonly provider: SandboxProvider;
  readonly access: SandboxAccess;
  readonly directory: string;
  /** What happened, a JSON line each, written at once: it outlives the worker. */
  readonly trace: string;
  readonly tasks: readonly CrashTask[];
  /** Where it kills itself: at the `nth` time that it comes to this point. */
  readonly kill?: { readonly point: string; readonly nth: number };
  /** The disk is full at these writes of data, counted from 1. */
  readonly fullAt: readonly number[];
  readonly mutation?: Mutation;
  /** A journal in PostgreSQL in place of the directory, which is then the machine's own. */
  readonly postgres?: {
    readonly url: string;
    readonly schema: string;
    /** The name of the machine that it plays. */
    readonly host: string;
  };
  /** How long a job may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Ways to break the journal, to see that the harness finds out. */
export type Mutation = "no-marker" | "not-exclusive" | "no-image" | "forgets-id";

/** One call of `generate`. */
export interface CrashTask {
  /** In its prompt: how the books are compared. */
  readonly tag: string;
  readonly n: number;
  /** Redelivered after a crash, with its tag as the `idempotencyKey`. */
  readonly keyed: boolean;
}

export type TraceLine =
  | { readonly type: "kill"; readonly point: string }
  /** An update of the journal came back. */
  | { readonly type: "durable"; readonly tag: string; readonly id: string; readonly state: string }
  | { readonly type: "resolved"; readonly tag: string; readonly images: readonly string[] }
  | { readonly type: "rejected"; readonly tag: string; readonly code: string }
  /** What `recover` handed out, and what became of it. */
  | { readonly type: "recovered"; readonly jobId: string; readonly codes: readonly string[] }
  | { readonly type: "skipped"; readonly id: string };

/** The books of the sandbox. */
export interface Ledger {
  readonly charges: readonly SandboxCharge[];
  readonly creates: readonly {
    readonly provider: SandboxProvider;
    readonly tag: string;
    readonly jobId?: string;
  }[];
}

/** The tags of what was asked for, wherever a provider puts the prompt. */
export function tagsIn(value: unknown): string[] {
  return [...(JSON.stringify(value) ?? "").matchAll(/crash-[\w-]+/g)].map(([tag]) => tag);
}

const images = ["image:before", "image:after", "succeeded:before", "succeeded:after"];
const creates = ["marker:before", "marker:after", "create:send", "create:sent"];
const files = ["file:opened", "file:half", "file:written", "file:synced"];
const places = ["link:before", "link:after", "rename:before", "rename:after", "directory:synced"];
const common = [...creates, ...images, "resolved"];
const jobs = ["id:before", "id:after", "poll:send", "poll:sent", "poll:received"];
const downloads = ["download:send", "download:sent", "download:head", "download:received"];

/** In and around a statement of the database. */
const statements = ["statement:before", "statement:sent", "statement:after"];

/** Every named point of the flow, by provider: before and after each write, send, receive and save. */
export function pointsOf(
  provider: SandboxProvider,
  place: "directory" | "postgres" = "directory",
): readonly string[] {
  const answers = ["create:head", "create:received"];
  const kept = place === "postgres" ? statements : [...files, ...places];
  const whole = [...common, ...kept, ...answers];
  return provider === "openaiCompatible" ? whole : [...whole, ...jobs, ...downloads];
}
