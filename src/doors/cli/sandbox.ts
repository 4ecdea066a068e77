import { parseDurationMs } from "./duration";
import { exitCodes } from "./exit-codes";
import { keyVariableOf, providerNames } from "./providers";
import { wholeNumber } from "./request";
import { inSession } from "./session";
import type { Shell } from "./shell";
import { count } from "./text";

/** The options of `sandbox`. */
export interface SandboxFlags {
  readonly port?: string | undefined;
  readonly "job-time"?: string | undefined;
}

/** `sandbox`: plays the providers until it is stopped, and says what it would have billed. */
export async function sandbox(flags: SandboxFlags, shell: Shell): Promise<number> {
  const { startSandbox } = await import("../../testing/index");
  const { port, "job-time": jobTime } = flags;
  return inSession(shell, async ({ interruption, after }) => {
    const served = await startSandbox({
      ...(port !== undefined && { port: wholeNumber("--port", port) }),
      jobDurationMs: jobTime === undefined ? 1_500 : parseDurationMs("--job-time", jobTime),
    });
    after(() => served.close());
    const stopped = new Promise<void>((resolve) => {
      interruption.guard({ first: resolve, second: resolve }, exitCodes.nothingCharged);
    });
    shell.say(`The providers are played at ${served.url}: nothing is billed. In another terminal:`);
    for (const name of providerNames) {
      const { baseURL, apiKey } = served[name];
      const flags = `--provider ${name} --base-url ${baseURL}`;
      await shell.print(
        `${keyVariableOf(name)}=${apiKey} ${shell.command} generate ${flags} "A fox"`,
      );
    }
    shell.say("Ctrl-C ends it.");
    await stopped;
    shell.say(`${count(served.charges.length, "order")} would have been billed.`);
    return exitCodes.allCame;
  });
}
