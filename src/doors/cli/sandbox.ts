import { parseDurationMs } from "./duration";
import { Interruption } from "./interruption";
import { type KnownProvider, keyVariableOf, knownProviders } from "./providers";
import { wholeNumber } from "./request";
import type { Shell } from "./shell";
import { exitCodes } from "./tally";

/** The options of `sandbox`. */
export interface SandboxFlags {
  readonly port?: string | undefined;
  readonly "job-time"?: string | undefined;
}

/** `sandbox`: plays the providers until it is stopped, and says what it would have billed. */
export async function sandbox(flags: SandboxFlags, shell: Shell): Promise<number> {
  const { startSandbox } = await import("../../testing/index");
  const { port, "job-time": jobTime } = flags;
  const served = await startSandbox({
    ...(port !== undefined && { port: wholeNumber("--port", port) }),
    jobDurationMs: jobTime === undefined ? 1_500 : parseDurationMs("--job-time", jobTime),
  });
  const interruption = new Interruption(shell.platform);
  const stopped = new Promise<void>((resolve) => {
    interruption.guard({ first: resolve, second: resolve });
  });
  shell.say(`The providers are played at ${served.url}: nothing is billed. In another terminal:`);
  // The names of an object of ours.
  for (const name of Object.keys(knownProviders) as KnownProvider[]) {
    const { baseURL, apiKey } = served[name];
    const flags = `--provider ${name} --base-url ${baseURL}`;
    await shell.print(
      `${keyVariableOf(name)}=${apiKey} gpt-image-client generate ${flags} "A fox"`,
    );
  }
  shell.say("Ctrl-C ends it.");
  try {
    await stopped;
    shell.say(`${served.charges.length} orders would have been billed.`);
  } finally {
    interruption.end();
    await served.close();
  }
  return exitCodes.allCame;
}
