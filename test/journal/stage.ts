import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, type ProviderImageClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { type AnyImageError, isImageError } from "../../src/errors";
import type { Journal } from "../../src/journal/journal";
import { type JournalRecord, journalRecordSchema } from "../../src/journal/record";
import { aigptimage, openaiCompatible, shortapi, trinetra } from "../../src/providers/index";
import {
  type Sandbox,
  type SandboxOptions,
  type SandboxPhase,
  type SandboxProvider,
  startSandbox,
} from "../../src/testing/sandbox";
import type { ImageJob } from "../../src/types";
import { listed } from "./contract";

export const jobProviders = ["shortapi", "aigptimage", "trinetra"] as const;
export const allProviders = [...jobProviders, "openaiCompatible"] as const;
export const keyless = ["shortapi", "trinetra", "openaiCompatible"] as const;
export const prompt = "test picture of a web";

const makers = { shortapi, aigptimage, trinetra, openaiCompatible };

export interface JournalStage extends AsyncDisposable {
  readonly sandbox: Sandbox;
  /** A directory of its own. */
  readonly directory: string;
  /** A client as a new process would make it: nothing is shared but the journal. */
  client(
    name: SandboxProvider,
    journal: Journal,
    options?: Partial<ImageClientOptions>,
  ): ProviderImageClient;
  count(phase: SandboxPhase): number;
}

export async function startStage(options: SandboxOptions = {}): Promise<JournalStage> {
  const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true, ...options });
  const directory = await mkdtemp(join(tmpdir(), "journal-stage-"));
  return {
    ...{ sandbox, directory },
    client: (name, journal, more = {}) =>
      createImageClient({ provider: makers[name](sandbox[name]), journal, poll: 5, ...more }),
    count: (phase) => sandbox.requests.filter((request) => request.phase === phase).length,
    async [Symbol.asyncDispose]() {
      await sandbox.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The error of this package that a promise rejects with; anything else fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<AnyImageError> {
  const reason = await promise.then(
    () => new Error("it resolved"),
    (error: unknown) => error,
  );
  if (isImageError(reason)) return reason;
  throw reason;
}

export async function recovered(client: ProviderImageClient): Promise<ImageJob[]> {
  const jobs: ImageJob[] = [];
  for await (const job of client.recover()) jobs.push(job);
  return jobs;
}

export async function only<Value>(values: Promise<Value[]> | Value[]): Promise<Value> {
  const [value, ...rest] = await values;
  if (value === undefined || rest.length > 0) throw new Error(`${rest.length + 1} in place of one`);
  return value;
}

export async function recordsOf(journal: Journal): Promise<JournalRecord[]> {
  return (await listed(journal)).map(({ record }) => journalRecordSchema.parse(record));
}

export function noRoom(): Error {
  return Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
}

/** A pid that nobody has: of a process that has ended. */
export const endedPid = 2 ** 22 - 3;

/** As a process that died just after its marker, or later, would leave the record. */
export async function leave(journal: Journal, change: Partial<JournalRecord>): Promise<void> {
  const record = await only(recordsOf(journal));
  const { taskId: _, ...rest } = record;
  const owner = { host: record.owner?.host ?? "", pid: endedPid };
  await journal.update({ ...rest, owner, ...change });
}

/** Waits until a marker stands in a directory. */
export async function marked(directory: string): Promise<void> {
  for (;;) {
    const names = await readdir(directory);
    if (names.some((name) => name.endsWith(".json"))) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
