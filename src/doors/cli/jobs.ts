import { durationText } from "./duration";
import { exitCodes } from "./exit-codes";
import { type KeptJob, keptJobs } from "./kept-jobs";
import { amountText } from "./money";
import { stateDirectory } from "./places";
import type { Shell } from "./shell";
import { tableOf } from "./table";
import { clean, cleanUpTo, jsonOf } from "./text";
import { openRecords } from "./workspace";

/** The options of `jobs`. */
export interface JobsFlags {
  readonly json?: boolean | undefined;
  readonly state?: string | undefined;
}

/** `jobs`: what the journal has, the newest last. */
export async function jobs(flags: JobsFlags, shell: Shell): Promise<number> {
  const { journal, receipts } = await openRecords(stateDirectory(flags.state, shell.platform.env));
  const rows: (readonly string[])[] = [];
  const documents: unknown[] = [];
  for (const job of await keptJobs(journal)) {
    const receipt = await receipts.read(job.id);
    rows.push(rowOf(job, receipt !== undefined));
    const { records: _, allRecords: __, ...facts } = job;
    documents.push({ ...facts, files: receipt?.files });
  }
  if (flags.json) await shell.print(jsonOf(documents, 2));
  else if (rows.length === 0) shell.say("The journal is empty.");
  else {
    const head = ["job", "state", "age", "provider", "pictures", "cost", "prompt"];
    const columns = shell.stdoutColumns;
    // The beginning of an id is as good, and leaves room for the prompt.
    const shown =
      columns === undefined ? rows : rows.map(([id = "", ...rest]) => [id.slice(0, 8), ...rest]);
    for (const line of tableOf([head, ...shown], columns)) await shell.print(line);
  }
  return exitCodes.allCame;
}

function rowOf(job: KeptJob, isDelivered: boolean): readonly string[] {
  const { id, state, submittedAt, provider, pictures, cost, prompt = "" } = job;
  const word = state === "done" && !isDelivered ? "not delivered" : state;
  const age = durationText(Date.now() - Date.parse(submittedAt));
  const price = cost === undefined ? "-" : amountText(cost);
  return [id, word, age, clean(provider), String(pictures), price, cleanUpTo(40, prompt)];
}
