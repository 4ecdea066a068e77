import { isImageError, type LedgerEntry } from "../../index";
import type { ImageLedger } from "../router/index";
import { exitCodes } from "./exit-codes";
import { findJobs, type KeptJob, referenceOf } from "./kept-jobs";
import { parseAmount } from "./money";
import { stateDirectory } from "./places";
import { silentProviderOf } from "./providers";
import type { Shell } from "./shell";
import { reasonOf } from "./text";
import { onlyWord, UsageError } from "./usage-error";
import { openRecords, openWorkspace, type Records } from "./workspace";

/** The options of `costs settle`. */
export interface SettleFlags {
  readonly charged?: string | undefined;
  readonly cost?: string | undefined;
  readonly "task-id"?: string | undefined;
  readonly state?: string | undefined;
}

/** `costs settle`: ends an order of unknown fate by the word of a person, in the journal and the ledger. */
export async function settle(
  words: readonly string[],
  flags: SettleFlags,
  shell: Shell,
): Promise<number> {
  const id = onlyWord(words, "settle takes the id of one job");
  const { charged, cost, "task-id": taskId } = flags;
  if (charged !== "yes" && charged !== "no")
    throw new UsageError("settle takes --charged yes or no");
  if (taskId !== undefined && charged === "no") {
    throw new UsageError("--task-id is the provider's id of what was accepted: --charged yes");
  }
  const amount = cost === undefined ? undefined : parseAmount("--cost", cost);
  const state = stateDirectory(flags.state, shell.platform.env);
  const records = await openRecords(state);
  const { job, entry } = await orderOf(records, id);
  const isOpen = entry !== undefined && entry.state !== "charged" && entry.state !== "refunded";
  const isUnknown = job?.state === "unknown";
  // A job that runs says later what it cost, and the ledger is told then. One that failed may never say.
  const hasEnded = job?.state === "done" || job?.state === "failed";
  const isOurs = job === undefined || (hasEnded && job.charged === "unknown");
  if (!isUnknown && !(isOurs && isOpen)) {
    throw new UsageError(`Nothing of "${id}" is unknown: it is ${job?.state ?? "settled"}`);
  }
  if (!isUnknown && taskId !== undefined) {
    throw new UsageError("--task-id is for a job whose create is of unknown fate in the journal");
  }
  try {
    const ledger =
      job?.state === "unknown"
        ? await settleInJournal(job, entry?.client, { charged, taskId, state })
        : records.ledger;
    if (taskId !== undefined) {
      shell.say(`settled: ${shell.command} resume ${job?.id ?? id} fetches its pictures`);
      return exitCodes.allCame;
    }
    if (isOpen) {
      await ledger.settle(entry.id, {
        charged,
        ...(amount !== undefined && { cost: amount }),
      });
    }
  } catch (error) {
    if (!isImageError(error)) throw error;
    throw new UsageError(reasonOf(error), { cause: error });
  }
  shell.say(charged === "no" ? "settled: it was not charged" : "settled: it was charged");
  return exitCodes.allCame;
}

/** What the journal and the ledger have of an order, by its job or by its entry. */
async function orderOf(
  { journal, ledger }: Records,
  id: string,
): Promise<{ readonly job: KeptJob | undefined; readonly entry: LedgerEntry | undefined }> {
  const entry = await ledger.store.read(id);
  const [job, ...others] = await findJobs(journal, entry?.job ?? id);
  if (others.length > 0) throw new UsageError(`Several jobs begin with "${id}": give more of it`);
  if (job === undefined && entry === undefined) {
    throw new UsageError(`There is no order "${id}": the command "costs" lists what is open`);
  }
  return { job, entry: entry ?? (job && (await ledger.store.findJob(job.id))) };
}

/** Gives the ledger of a router, which ends the claim of a batch's line along with its entry. */
async function settleInJournal(
  job: KeptJob,
  label: string | undefined,
  found: {
    readonly charged: "yes" | "no";
    readonly taskId: string | undefined;
    readonly state: string;
  },
): Promise<ImageLedger> {
  const provider = silentProviderOf(job);
  if (provider === undefined) {
    throw new UsageError(`This version does not know ${job.provider}, which has the job`);
  }
  // Whose it is, its records say: the key that would tell is not needed to end it.
  const [account] = job.records.flatMap((record) => record.account ?? []);
  const { client, ledger } = await openWorkspace(
    { provider, label: label ?? job.provider },
    found.state,
    account === undefined ? {} : { account },
  );
  const { charged, taskId } = found;
  const reference = referenceOf(job);
  if (charged === "no") await client.settle(reference, { charged });
  else await client.settle(reference, { charged, ...(taskId !== undefined && { taskId }) });
  return ledger;
}
