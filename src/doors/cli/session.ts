import { exitCodes } from "./exit-codes";
import { Interruption } from "./interruption";
import { UserFiles } from "./save";
import type { Shell } from "./shell";
import { reasonOf } from "./text";
import { UsageError } from "./usage-error";

/** What a command holds while it may order. */
export interface Session {
  readonly interruption: Interruption;
  readonly files: UserFiles;
  /** Done when the command ends, however it does; what was opened last comes first. */
  after(end: () => Promise<unknown>): void;
}

/**
 * Runs a command that listens for signals, and ends what it has opened. An error of which nobody can say
 * what it cost ends it with the code of a command that was killed at that point.
 *
 * @param codeIfKilled That of a command whose order has not begun; jobs that were ordered before are paid for.
 */
export async function inSession(
  shell: Shell,
  work: (session: Session) => Promise<number>,
  codeIfKilled: number = exitCodes.nothingCharged,
): Promise<number> {
  const interruption = new Interruption(shell.platform, codeIfKilled);
  // Without a listener Node ends the process with 1, which here means that nothing was charged. Rejections
  // that nobody handles come here, too.
  shell.platform.signals.on("uncaughtException", (error: unknown) => {
    shell.complain(reasonOf(error));
    shell.platform.exit(interruption.codeIfKilled);
  });
  const files = new UserFiles();
  const ends: (() => Promise<unknown>)[] = [];
  let code = codeIfKilled;
  try {
    code = await work({ interruption, files, after: (end) => ends.push(end) });
    return code;
  } catch (error) {
    code = interruption.codeIfKilled;
    if (error instanceof UsageError || code === exitCodes.nothingCharged) throw error;
    shell.complain(reasonOf(error));
    return code;
  } finally {
    interruption.end(code);
    for (const end of ends.reverse()) {
      // What became of the money is known by now: what cannot be closed does not change it.
      await end().catch((error: unknown) => shell.warn(reasonOf(error)));
    }
    files.end();
  }
}
