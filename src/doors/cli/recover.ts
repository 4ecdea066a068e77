import { exitCodes } from "./exit-codes";
import { forgetOld } from "./forget";
import { type KeptJob, keptJobs } from "./kept-jobs";
import type { OrderEnd } from "./order";
import { documentOf, sayEnd } from "./report";
import { type ResumeContext, type ResumeFlags, resumeJob, withResumeContext } from "./resume";
import type { Shell } from "./shell";
import { count, jsonOf, reasonOf } from "./text";
import { UsageError } from "./usage-error";
import type { Records } from "./workspace";

/** `recover`: fetches the pictures of every job that was never delivered. */
export async function recover(flags: ResumeFlags, shell: Shell): Promise<number> {
  return withResumeContext(flags, shell, async (given) => {
    if (given.target.to === "stdout")
      throw new UsageError("recover writes files: name a directory");
    const { records, telling, state } = given;
    const jobs = await openJobs(records);
    const ends: OrderEnd[] = [];
    for (const job of jobs) {
      if (given.interruption.count > 0) break;
      ends.push(await resumeIfFree(job, given));
    }
    const left = jobs.length - ends.length;
    if (left > 0) shell.say(`${count(left, "job")} left for the next time.`);
    if (jobs.length === 0) shell.say("Nothing is to be recovered.");
    await forgetOld(records.journal, state, shell);
    const codes = ends.map(({ exitCode }) => exitCode);
    // Of those that were left nobody has asked.
    const code = Math.max(exitCodes.allCame, ...codes, ...(left > 0 ? [exitCodes.unknown] : []));
    if (telling === "paths") return code;
    const documents = ends.map((end) => documentOf(end, {}));
    const line = jsonOf({ jobs: documents }, telling === "document" ? 2 : undefined);
    return shell.printResult(line, code);
  });
}

/** Those that run or may, and those that ended without anybody having their pictures. */
async function openJobs({ journal, receipts }: Records): Promise<readonly KeptJob[]> {
  const open: KeptJob[] = [];
  for (const job of await keptJobs(journal)) {
    if (job.state === "failed") continue;
    if (job.state !== "done" || (await receipts.read(job.id)) === undefined) open.push(job);
  }
  const last = (job: KeptJob) => Number(job.state === "unknown");
  return open.sort((a, b) => last(a) - last(b));
}

async function resumeIfFree(job: KeptJob, given: ResumeContext): Promise<OrderEnd> {
  const { shell } = given;
  if (job.liveProcess !== undefined) {
    // It may be the number of a process that ended, given to another: then nobody waits for the pictures.
    shell.say(
      `job ${job.id}: process ${job.liveProcess} is waiting for it, or has the number of the`,
    );
    shell.say(
      `  one that was. If it is none of gpt-image-client: ${shell.command} resume ${job.id}`,
    );
    return { exitCode: exitCodes.unknown, job, pictures: [] };
  }
  shell.say(`job ${job.id}: ${job.state}, ${count(job.pictures, "picture")} of ${job.provider}`);
  const end = await resumeJob(job, given).catch((error: unknown): OrderEnd => {
    // The other jobs are resumed all the same.
    shell.complain(reasonOf(error));
    return { exitCode: exitCodes.unknown, job, error, pictures: [] };
  });
  sayEnd(shell, end);
  if (job.state === "unknown" && end.exitCode === exitCodes.unknown) {
    shell.say("  look it up in the provider's console, and say what you found:");
    shell.say(`  ${shell.command} costs settle ${job.id} --charged no   (or yes)`);
  }
  return end;
}
