import { randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Journal, JournalRecord } from "../../index";
import { exitCodes } from "./exit-codes";
import { closing, type Interruption } from "./interruption";
import { type KeptJob, keptJobs } from "./kept-jobs";
import { stateDirectory } from "./places";
import {
  type ChosenProvider,
  chooseProvider,
  type ProviderFlags,
  providerOf,
  providersWithKeys,
} from "./providers";
import { wholeNumber } from "./request";
import { inSession } from "./session";
import type { Shell } from "./shell";
import { count, reasonOf, codeOf as systemCodeOf } from "./text";
import { UsageError } from "./usage-error";
import { openWorkspaces } from "./workspace";

/** The options of `serve`. */
export interface ServeFlags extends ProviderFlags {
  readonly port?: string | undefined;
  readonly state?: string | undefined;
}

const defaultPort = 8788;
const model = "gpt-image-2";

/** `serve`: OpenAI's images API on this machine, over the providers whose keys are there. */
export async function serve(flags: ServeFlags, shell: Shell): Promise<number> {
  const { createImageGateway, directoryStore } = await import("../gateway/index");
  return inSession(shell, async ({ interruption, after }) => {
    const chosen = await chosenFor(flags, shell);
    for (const { end } of chosen) after(end);
    const startedAt = Date.now();
    const state = stateDirectory(flags.state, shell.platform.env);
    const workspace = await openWorkspaces(chosen, state);
    after(() => workspace.router.close());
    const key = keyIn(state);
    const { server, port } = await listening(flags.port);
    after(() => closed(server));
    const gateway = createImageGateway({
      models: { [model]: workspace.router },
      authorize: ({ headers }) => (isKey(headers, key) ? "the user" : undefined),
      // Who has the port has its orders: no two gateways may use one store.
      store: directoryStore(join(state, `orders-${port}`)),
      onError: (error) => shell.warn(reasonOf(error)),
    });
    server.on("request", gateway.listener);
    const stopped = stoppedBy(interruption, shell, (timeoutMs) => gateway.close({ timeoutMs }));
    const names = chosen.map(({ label }) => label).join(", then ");
    shell.say(`The model ${model} of ${names}, as OpenAI's images API. Ctrl-C ends it.`);
    await shell.print(`OPENAI_BASE_URL=http://127.0.0.1:${port}/v1`);
    await shell.print(`OPENAI_API_KEY=${key}`);
    await stopped;
    return codeOf(await givenUp(workspace.journal, startedAt), shell);
  });
}

/** The jobs of this process that were on their way as it ended. */
async function givenUp(journal: Journal, startedAt: number): Promise<readonly KeptJob[]> {
  const isOpen = ({ state, owner, submittedAt }: JournalRecord) =>
    ["submitting", "submitted", "unknown"].includes(state) &&
    owner?.host === hostname() &&
    owner.pid === process.pid &&
    Date.parse(submittedAt) >= startedAt;
  return (await keptJobs(journal)).filter(({ records }) => records.some(isOpen));
}

function codeOf(jobs: readonly KeptJob[], shell: Shell): number {
  if (jobs.length === 0) return exitCodes.allCame;
  shell.say(
    `${count(jobs.length, "order")} may be charged, and did not come. To have what can be had:`,
  );
  shell.say(`  ${shell.command} recover`);
  return exitCodes.unknown;
}

/** The provider that was named, or all whose keys are in the environment. */
async function chosenFor(flags: ServeFlags, shell: Shell): Promise<readonly ChosenProvider[]> {
  const { env } = shell.platform;
  const keyed = providersWithKeys(env);
  if (flags.provider !== undefined || keyed.length < 2) {
    return [await chooseProvider(flags, env, "generate")];
  }
  if (flags["base-url"] !== undefined || flags.model !== undefined) {
    throw new UsageError(
      "--base-url and --model are those of one provider: say which by --provider",
    );
  }
  return keyed.map((name) => ({
    provider: providerOf(name, {}, env),
    label: name,
    end: async () => {},
  }));
}

/** The key of this user's gateways: the same each time, so that their clients need not be told again. */
function keyIn(state: string): string {
  const path = join(state, "serve-key");
  const key = `local-${randomBytes(24).toString("base64url")}`;
  try {
    // Of two that begin at once one makes it.
    writeFileSync(path, `${key}\n`, { flag: "wx", mode: 0o600 });
    return key;
  } catch (error) {
    if (systemCodeOf(error) !== "EEXIST") throw error;
  }
  const kept = readFileSync(path, "utf8").trim();
  if (/^[\w-]{20,}$/.test(kept)) return kept;
  throw new UsageError(`${path} holds no key: remove it, and a new one is made`);
}

function isKey(headers: Headers, key: string): boolean {
  const given = Buffer.from(headers.get("authorization") ?? "");
  const wanted = Buffer.from(`Bearer ${key}`);
  return given.byteLength === wanted.byteLength && timingSafeEqual(given, wanted);
}

/** On this machine alone: whoever reaches it spends its user's money. */
async function listening(
  given: string | undefined,
): Promise<{ readonly server: Server; readonly port: number }> {
  const port = given === undefined ? defaultPort : wholeNumber("--port", given);
  const server = createServer();
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return { server, port };
  } catch (cause) {
    throw new UsageError(
      `Port ${port} is not available (${reasonOf(cause)}): choose another with --port`,
      {
        cause,
      },
    );
  }
}

async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}

/** Resolves once it was asked to end, and what was ordered is over. */
function stoppedBy(
  interruption: Interruption,
  shell: Shell,
  close: (timeoutMs: number) => Promise<void>,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const say = {
      first: () => shell.say("Stopping: waiting for what was ordered. Ctrl-C again gives it up."),
      second: () => {},
    };
    interruption.guard(closing((timeoutMs) => close(timeoutMs).then(resolve, reject), say));
  });
}
