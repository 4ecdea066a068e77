import { type Cost, isImageError } from "../../index";
import { durationText } from "./duration";
import { exitCodes } from "./exit-codes";
import { costText } from "./money";
import type { OrderEnd } from "./order";
import type { Shell } from "./shell";
import { clean, cleanUpTo, count, jsonOf } from "./text";

/** Says what an order came to, on stderr: its cost, its job, and what to do next. */
export function sayEnd(
  shell: Shell,
  { exitCode, job, result, pictures }: OrderEnd,
  label?: string,
): void {
  for (const { revisedPrompt } of pictures) {
    if (revisedPrompt !== undefined) shell.say(`revised prompt: ${cleanUpTo(400, revisedPrompt)}`);
  }
  if (result !== undefined) {
    const { cost, timing } = result;
    const spent = cost === undefined ? "cost not reported" : costText(cost);
    const took = durationText(timing.durationMs);
    const isDone = exitCode === exitCodes.allCame;
    const mark = shell.styled(isDone ? "green" : "yellow", isDone ? "done:" : "ended:");
    shell.say(
      `${mark} ${count(pictures.length, "picture")}, ${spent}, ${took}, job ${result.job.id}`,
    );
  }
  if (exitCode <= exitCodes.usage || job === undefined) return;
  if (exitCode === exitCodes.partial) return;
  if (label === "sandbox" && result === undefined) {
    shell.say("The sandbox has ended with this command, and the job with it: nothing was billed.");
    shell.say(`"${shell.command} sandbox" plays one that stays.`);
    return;
  }
  // The response to such a create was the picture itself, or its id was lost with it. Of a job that could not
  // be asked after from here, nothing is known: that is no reason to write it off.
  if (exitCode === exitCodes.unknown && job.reference?.tasks.every(({ id }) => id === undefined)) {
    shell.say(
      `job ${job.id}: the provider cannot be asked about it again. Look in its console, then`,
    );
    shell.say(`  ${shell.command} costs settle ${job.id} --charged no   (or yes)`);
    return;
  }
  shell.say(`job ${job.id}: to have what comes of it, type`);
  shell.say(`  ${shell.command} resume ${job.id}`);
}

/** The same for a program. */
export function documentOf(
  { exitCode, job, result, error, pictures }: OrderEnd,
  { estimate, wanted }: { readonly estimate?: Cost | undefined; readonly wanted?: number },
): Record<string, unknown> & { readonly exitCode: number } {
  const { reference } = job ?? {};
  const files = pictures.map(({ revisedPrompt, ...facts }) => ({
    ...facts,
    ...(revisedPrompt !== undefined && { revisedPrompt: clean(revisedPrompt) }),
  }));
  return {
    exitCode,
    jobId: job?.id,
    wanted,
    delivered: pictures.length,
    files,
    provider: result?.provider ?? reference?.provider,
    model: result?.model,
    cost: result?.cost ?? (isImageError(error) ? error.cost : undefined),
    estimate,
    usage: result?.usage,
    durationMs: result?.timing.durationMs,
    warnings: result?.warnings ?? [],
    failures: result?.failures.map((each) => each.toJSON()) ?? [],
    error: isImageError(error) ? error.toJSON() : undefined,
    job: reference,
  };
}

/** Prints the document, or the last line of the events, and gives the exit code of the command. */
export async function printDocument(
  shell: Shell,
  telling: "document" | "events",
  document: Record<string, unknown> & { readonly exitCode: number },
): Promise<number> {
  const line =
    telling === "document" ? jsonOf(document, 2) : jsonOf({ type: "result", ...document });
  return shell.printResult(line, document.exitCode);
}
