import type { ImageEvent, ImageJob } from "../../index";
import { type Delivery, deliver } from "./delivery";
import { parseDurationMs } from "./duration";
import { exitCodes } from "./exit-codes";
import type { Interruption } from "./interruption";
import { findJobs, type KeptJob } from "./kept-jobs";
import {
  type Followed,
  follow,
  hasAll,
  noteDelivered,
  type OrderEnd,
  shortOf,
  type Telling,
  watching,
} from "./order";
import { stateDirectory } from "./places";
import { providerOfJob } from "./providers";
import { documentOf, printDocument, sayEnd } from "./report";
import { type Target, targetOf, type UserFiles } from "./save";
import { inSession } from "./session";
import type { Shell } from "./shell";
import { Tally } from "./tally";
import { clean, count } from "./text";
import { onlyWord, UsageError } from "./usage-error";
import { openRecords, openWorkspace, type Records } from "./workspace";

/** The options of `resume`. */
export interface ResumeFlags {
  readonly output?: string | undefined;
  readonly timeout?: string | undefined;
  readonly json?: boolean | undefined;
  readonly events?: boolean | undefined;
  readonly state?: string | undefined;
}

/** What resuming jobs takes. */
export interface ResumeContext {
  readonly shell: Shell;
  readonly records: Records;
  readonly state: string;
  readonly files: UserFiles;
  readonly target: Target;
  readonly telling: Telling;
  readonly interruption: Interruption;
  readonly timeoutMs?: number | undefined;
}

/** Opens all that resuming jobs takes, and ends it. */
export async function withResumeContext(
  flags: ResumeFlags,
  shell: Shell,
  work: (given: ResumeContext) => Promise<number>,
): Promise<number> {
  return inSession(
    shell,
    async ({ interruption, files }) => {
      const { json, events, timeout, output } = flags;
      if (json && events) throw new UsageError("It is either --json or --events");
      const target = targetOf(output, shell.isStdoutTerminal);
      if (target.to === "stdout" && (json || events)) {
        throw new UsageError("-o - writes the picture where --json writes its text");
      }
      const state = stateDirectory(flags.state, shell.platform.env);
      const records = await openRecords(state);
      await files.prepare(target);
      const telling = json ? "document" : events ? "events" : "paths";
      const timeoutMs = timeout === undefined ? undefined : parseDurationMs("--timeout", timeout);
      return work({ shell, records, state, files, target, telling, interruption, timeoutMs });
    },
    // What is resumed was ordered before: it may be paid for.
    exitCodes.unknown,
  );
}

/** `resume`: fetches the pictures of a job, whichever process ordered it. */
export async function resume(
  words: readonly string[],
  flags: ResumeFlags,
  shell: Shell,
): Promise<number> {
  const id = onlyWord(words, "resume takes the id of one job");
  return withResumeContext(flags, shell, async (given) => {
    const job = await onlyJob(given.records, id);
    if (given.target.to === "stdout" && job.pictures > 1) {
      throw new UsageError(`The job has ${job.pictures} pictures: name a directory for them`);
    }
    const end = await resumeJob(job, given);
    sayEnd(shell, end);
    const { telling } = given;
    if (telling === "paths") return end.exitCode;
    return printDocument(shell, telling, documentOf(end, { wanted: job.pictures }));
  });
}

/** The job of an id, or of its beginning. */
async function onlyJob({ journal }: Records, id: string): Promise<KeptJob> {
  const [job, ...others] = await findJobs(journal, id);
  if (job === undefined) {
    throw new UsageError(`There is no job "${id}" in the journal: the command "jobs" lists them`);
  }
  if (others.length === 0) return job;
  throw new UsageError(`${others.length + 1} jobs begin with "${id}": give more of it`);
}

/** Resumes a job where it is: from the journal, or by asking its provider. */
export async function resumeJob(job: KeptJob, given: ResumeContext): Promise<OrderEnd> {
  const { shell, records, state, timeoutMs } = given;
  const entry = await records.ledger.store.findJob(job.id);
  const label = entry?.client ?? job.provider;
  const hasEnded = job.state === "done" || job.state === "failed";
  // Whatever key there is for a provider of that name: the sandbox's port has closed with its process.
  if (label === "sandbox" && !hasEnded) return outOfReach(job, label, given);
  const provider = providerOfJob(job, shell.platform.env);
  if (provider !== undefined) {
    const limits = timeoutMs === undefined ? {} : { timeoutMs };
    const workspace = await openWorkspace({ provider, label }, state, limits);
    try {
      for await (const handle of workspace.router.recover({ jobId: job.id })) {
        const plan = { ...given, workspace, label, request: { n: job.pictures } };
        return await followJob(handle, plan, limits);
      }
    } finally {
      await workspace.router.close();
    }
  }
  if (hasEnded) return deliverKept(job, given);
  return outOfReach(job, label, given);
}

async function followJob(
  handle: ImageJob,
  plan: Followed,
  limits: { readonly timeoutMs?: number },
): Promise<OrderEnd> {
  const watch = watching(plan);
  try {
    return await follow(plan, watch, (onEvent) => resultOf(handle, limits, onEvent));
  } finally {
    watch.end();
  }
}

/** The result of a job that was resumed, and what it tells on the way. */
async function resultOf(
  job: ImageJob,
  limits: { readonly timeoutMs?: number },
  onEvent: (event: ImageEvent) => void,
) {
  const left = new AbortController();
  const listening = (async () => {
    for await (const event of job.events({ signal: left.signal })) onEvent(event);
  })();
  try {
    return await job.result(limits);
  } finally {
    left.abort();
    await listening;
  }
}

/** A job that has ended needs no key: its pictures are in the journal. */
async function deliverKept(job: KeptJob, given: ResumeContext): Promise<OrderEnd> {
  const { shell, records, telling } = given;
  const tally = new Tally();
  tally.want(job.pictures);
  const delivery: Delivery = { ...given, tally, printsPaths: telling === "paths" };
  const kept = job.records.flatMap(({ id, state, images = [] }) =>
    state === "succeeded" ? images.map((image, position) => ({ id, position, image })) : [],
  );
  const pictures = await deliver(
    kept.map(({ id, position, image }) => ({
      ...(image.url !== undefined && { url: image.url }),
      ...(image.revisedPrompt !== undefined && { revisedPrompt: image.revisedPrompt }),
      bytes: async () => {
        const bytes = await records.journal.readImage(id, position);
        if (bytes === undefined) throw new Error("the journal no longer has it");
        return bytes;
      },
    })),
    job.id,
    delivery,
  );
  for (const { state, failure, n, images = [] } of job.records) {
    if (failure !== undefined) {
      tally.lose(failure.charged);
      shell.complain(failure.message);
    } else if (state !== "succeeded") {
      tally.lose("unknown");
      shell.complain(
        "Part of the job failed, and the journal does not say whether it was charged.",
      );
    } else if (images.length < n) {
      tally.lose("yes");
      shell.complain(shortOf(n, images.length));
    }
  }
  // Of a request that was sent there is a record.
  const sent = job.records.reduce((sum, { n }) => sum + n, 0);
  if (sent < job.pictures) {
    tally.lose("no");
    shell.complain(`${count(job.pictures - sent, "picture")} of the job were not sent for.`);
  }
  const { exitCode } = tally;
  if (hasAll(exitCode) && pictures.length > 0) {
    await noteDelivered({ shell, workspace: records }, job.id, pictures);
  }
  return { exitCode, job, pictures };
}

/** A job that runs where this process cannot ask. */
async function outOfReach(job: KeptJob, label: string, given: ResumeContext): Promise<OrderEnd> {
  const { shell, records } = given;
  if (label === "sandbox" && job.liveProcess === undefined) {
    shell.complain(`Job ${job.id} was played by a sandbox that has ended. Nothing was charged.`);
    // It would else be found by every `recover`, and nobody can ever end it.
    for (const { id } of job.allRecords) await records.journal.delete(id);
    return { exitCode: exitCodes.nothingCharged, pictures: [] };
  }
  const where = `${clean(job.provider)} at ${clean(job.baseURL)}`;
  shell.complain(
    `Job ${job.id} is one of ${where}: put the key that it was ordered with into the environment`,
  );
  return { exitCode: exitCodes.unknown, job, pictures: [] };
}
