import { Interruption } from "./interruption";
import { UserFiles } from "./save";
import type { Shell } from "./shell";
import { exitCodes } from "./tally";

/** What a command holds while it may order. */
export interface Session {
  readonly interruption: Interruption;
  readonly files: UserFiles;
  /** Done when the command ends, however it does; what was opened last comes first. */
  after(end: () => Promise<unknown>): void;
}

/** Runs a command that listens for signals, and ends what it has opened. */
export async function inSession(
  shell: Shell,
  work: (session: Session) => Promise<number>,
): Promise<number> {
  const interruption = new Interruption(shell.platform);
  const files = new UserFiles();
  const ends: (() => Promise<unknown>)[] = [];
  // That of a command that could not begin.
  let code: number = exitCodes.nothingCharged;
  try {
    code = await work({ interruption, files, after: (end) => ends.push(end) });
    return code;
  } finally {
    interruption.end(code);
    for (const end of ends.reverse()) await end();
    files.end();
  }
}
