import { statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Journal } from "../../index";
import { type KeptJob, keptJobs } from "./kept-jobs";
import { Receipts } from "./receipts";
import type { Shell } from "./shell";
import { reasonOf } from "./text";

const dayMs = 24 * 60 * 60 * 1000;

/** For so long a job that has been delivered can be had again. */
const keptForMs = 30 * dayMs;

/**
 * Lets the journal forget, once a day, what was delivered or has failed more than 30 days ago: every
 * picture lies in it. What was never delivered stays.
 */
export async function forgetOld(journal: Journal, state: string, shell: Shell): Promise<void> {
  try {
    if (!isDue(join(state, "tidied"))) return;
    await journal.clean?.();
    const receipts = new Receipts(state);
    for (const job of await keptJobs(journal)) {
      if (await mayGo(job, receipts)) await forget(job, journal, receipts);
    }
  } catch (error) {
    // The order before it has ended already.
    shell.warn(`The journal could not be tidied: ${reasonOf(error)}`);
  }
}

/** Whether a day has passed since it was last due. */
function isDue(stamp: string): boolean {
  const last = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs;
  const now = new Date();
  if (last === undefined) writeFileSync(stamp, "", { mode: 0o600 });
  else if (now.getTime() - last > dayMs) utimesSync(stamp, now, now);
  else return false;
  return true;
}

async function mayGo(
  { id, state, settledAt, charged }: KeptJob,
  receipts: Receipts,
): Promise<boolean> {
  const isOver = state === "done" || state === "failed";
  if (!isOver || !settledAt || Date.now() - Date.parse(settledAt) < keptForMs) return false;
  return (state === "failed" && charged === "no") || (await receipts.read(id)) !== undefined;
}

/** The newest try first: at no moment does a key lead past one that is still there. */
async function forget(
  { id, allRecords }: KeptJob,
  journal: Journal,
  receipts: Receipts,
): Promise<void> {
  const newestFirst = allRecords.toSorted((a, b) => (b.attempt ?? 0) - (a.attempt ?? 0));
  for (const record of newestFirst) await journal.delete(record.id);
  await receipts.forget(id);
}
