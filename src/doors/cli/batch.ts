import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Cost, ImageRequest } from "../../index";
import { type BatchLine, readLines } from "./batch-lines";
import { parseDurationMs } from "./duration";
import { exitCodes } from "./exit-codes";
import { forgetOld } from "./forget";
import type { Interruption } from "./interruption";
import { findJobs } from "./kept-jobs";
import { costProblem, costText, parseAmount } from "./money";
import { follow, hasAll, type OrderEnd, send, type Watch, watching } from "./order";
import { stateDirectory } from "./places";
import { type ChosenProvider, chooseProvider, type ProviderFlags } from "./providers";
import { documentOf } from "./report";
import { wholeNumber } from "./request";
import { type Target, targetOf, type UserFiles } from "./save";
import { inSession } from "./session";
import type { Shell } from "./shell";
import { clean, count, jsonOf, reasonOf } from "./text";
import { onlyWord, UsageError } from "./usage-error";
import { openWorkspace, type Workspace } from "./workspace";

/** The options of `batch`. */
export interface BatchFlags extends ProviderFlags {
  readonly output?: string | undefined;
  readonly concurrency?: string | undefined;
  readonly "max-cost"?: string | undefined;
  readonly timeout?: string | undefined;
  readonly name?: string | undefined;
  readonly json?: boolean | undefined;
  readonly state?: string | undefined;
}

/** What the lines of a batch share. */
interface Batch {
  readonly shell: Shell;
  readonly workspace: Workspace;
  readonly label: string;
  readonly account: string | undefined;
  readonly files: UserFiles;
  readonly target: Target & { readonly to: "directory" };
  readonly interruption: Interruption;
  readonly isJson: boolean;
}

/** A line that is over: in this run, or in one before. */
interface LineEnd extends OrderEnd {
  readonly line: BatchLine;
  readonly files: readonly string[];
}

const defaultConcurrency = 4;

/** `batch`: one order per line; each is bought once, however often the batch is started. */
export async function batch(
  words: readonly string[],
  flags: BatchFlags,
  shell: Shell,
): Promise<number> {
  const file = onlyWord(words, "batch takes one file of JSON lines");
  const { env } = shell.platform;
  const { timeout, concurrency, name } = flags;
  return inSession(shell, async ({ interruption, files, after }) => {
    const target = directoryOf(flags.output, shell);
    const width =
      concurrency === undefined ? defaultConcurrency : wholeNumber("--concurrency", concurrency);
    const lines = await readLines(file, { name, shell });
    const chosen = await chooseProvider(flags, env, "generate");
    after(chosen.end);
    const state = stateDirectory(flags.state, env);
    const limits =
      timeout === undefined ? {} : { timeoutMs: parseDurationMs("--timeout", timeout) };
    const workspace = await openWorkspace(chosen, state, limits);
    after(() => workspace.router.close());
    const { label, account } = chosen;
    const isJson = flags.json === true;
    const given: Batch = { shell, workspace, label, account, files, target, interruption, isJson };
    const code = await runBatch(lines.map(withOptions(chosen)), given, { width, flags });
    await forgetOld(workspace.journal, state, shell);
    return code;
  });
}

function directoryOf(output: string | undefined, shell: Shell): Batch["target"] {
  const target = targetOf(output, shell.isStdoutTerminal);
  if (target.to === "directory") return target;
  if (target.to === "stdout") throw new UsageError("batch writes files: name a directory");
  return { to: "directory", directory: target.path };
}

function withOptions({ providerOptions }: ChosenProvider) {
  return (line: BatchLine): BatchLine => {
    const request = { ...(providerOptions !== undefined && { providerOptions }), ...line.request };
    // Nothing but the options of its provider was added.
    return { ...line, request: request as ImageRequest };
  };
}

async function runBatch(
  lines: readonly BatchLine[],
  batch: Batch,
  { width, flags }: { readonly width: number; readonly flags: BatchFlags },
): Promise<number> {
  const { shell, workspace, files, target, label } = batch;
  const problems = lines.flatMap(({ number, request }) =>
    workspace.client.check(request).map((problem) => `line ${number}: ${reasonOf(problem)}`),
  );
  for (const problem of problems) shell.complain(problem);
  if (problems.length > 0) return exitCodes.usage;
  const before = await Promise.all(lines.map((line) => deliveredBefore(line, batch)));
  const open = lines.filter((_, index) => before[index] === undefined);
  await refuseOthers(open, batch);
  const price = priceOf(open, workspace);
  const most = flags["max-cost"];
  const refusal =
    most === undefined || open.length === 0
      ? undefined
      : costProblem(price, parseAmount("--max-cost", most));
  if (refusal !== undefined) {
    shell.complain(`${refusal} Nothing was sent.`);
    return exitCodes.nothingCharged;
  }
  await files.prepare(target);
  const done = before.filter((end) => end !== undefined);
  const cost = price === undefined ? "no price is known before" : costText(price);
  const old = done.length === 0 ? "" : `, ${done.length} of ${lines.length} are there already`;
  shell.say(
    `${label}: ${count(open.length, "line")}, ${open.length === 0 ? "nothing to buy" : cost}${old}`,
  );
  sayWhere(done, batch);
  const told: LineEnd[] = [];
  for (const end of done) told.push({ ...end, exitCode: await printFiles(end, batch) });
  const ended = await orderAll(open, batch, width);
  return sayEnd([...told, ...ended], lines, batch);
}

/** What is there already stays where it is, also where the same command was given another directory. */
function sayWhere(done: readonly LineEnd[], { shell, target }: Batch): void {
  const directories = new Set(done.flatMap(({ files }) => files.map((path) => dirname(path))));
  directories.delete(target.directory);
  for (const directory of directories) {
    shell.say(`What was delivered before stays in ${clean(directory)}.`);
  }
}

/** What the lines that are still to be bought cost at list prices, where that is known of each in one unit. */
function priceOf(lines: readonly BatchLine[], { client }: Workspace): Cost | undefined {
  const costs = lines.map(({ request }) => client.estimate(request));
  const [first] = costs;
  if (first === undefined || costs.some((cost) => cost?.unit !== first.unit)) return undefined;
  const amount = costs.reduce((sum, cost) => sum + (cost?.amount ?? 0), 0);
  return { ...first, amount: Number(amount.toPrecision(12)) };
}

/** What the sandbox played is still to be bought. */
function receiptNameOf({ key }: BatchLine, { label }: Pick<Batch, "label">): string {
  return label === "sandbox" ? `batch-sandbox-${key}` : `batch-${key}`;
}

/**
 * A line that another run has delivered. Files that have gone come out of the journal again; where that has
 * forgotten them, the line would be bought a second time: it counts as delivered.
 */
async function deliveredBefore(line: BatchLine, batch: Batch): Promise<LineEnd | undefined> {
  const { receipts, journal } = batch.workspace;
  const receipt = await receipts.read(receiptNameOf(line, batch));
  if (receipt === undefined) return undefined;
  const { job, files } = receipt;
  const left = files.filter((file) => existsSync(file));
  if (left.length < files.length) {
    if ((await findJobs(journal, job)).length > 0) return undefined;
    const why = "its files are gone, and the journal no longer has them. It is not bought again";
    batch.shell.warn(
      `line ${line.number} was delivered by job ${job}; ${why} unless --name says so.`,
    );
  }
  return { line, files: left, job: { id: job }, pictures: [], exitCode: exitCodes.allCame };
}

/** A provider or an account knows nothing of what was ordered at another: it would make a line's pictures once more. */
async function refuseOthers(lines: readonly BatchLine[], batch: Batch): Promise<void> {
  for (const line of lines) {
    const claim = await batch.workspace.receipts.claimedBy(receiptNameOf(line, batch));
    if (claim === undefined) continue;
    const { provider, account = batch.account } = claim;
    if (provider === batch.label && account === batch.account) continue;
    const isAccount = provider === batch.label;
    const where = isAccount ? `${provider} with another key or --base-url` : provider;
    const way = isAccount ? "go on with those" : `go on with --provider ${provider}`;
    throw new UsageError(
      `Line ${line.number} was ordered at ${where}, and may be paid for: ${way}, or buy the lines again under another --name`,
    );
  }
}

/** Orders the lines, so many at once. After Ctrl-C no further line is begun. */
async function orderAll(
  lines: readonly BatchLine[],
  batch: Batch,
  width: number,
): Promise<readonly LineEnd[]> {
  if (lines.length === 0) return [];
  const watch = watching(batch);
  const ended: LineEnd[] = [];
  const waiting = [...lines];
  const worker = async (): Promise<void> => {
    for (;;) {
      const line = batch.interruption.count > 0 ? undefined : waiting.shift();
      if (line === undefined) return;
      ended.push(await orderLine(line, batch, watch));
      watch.progress.count(`${ended.length} of ${count(lines.length, "line")}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(width, lines.length) }, worker));
    await watch.ended();
  } finally {
    watch.end();
  }
  return ended;
}

async function orderLine(line: BatchLine, batch: Batch, watch: Watch): Promise<LineEnd> {
  const { workspace, target } = batch;
  const { id, request, key } = line;
  const own: Target =
    id === undefined ? target : { to: "file", path: join(target.directory, id), isStem: true };
  const plan = {
    ...batch,
    request,
    target: own,
    telling: batch.isJson ? "document" : "paths",
  } as const;
  const receiptName = receiptNameOf(line, batch);
  try {
    const { label, account } = batch;
    await workspace.receipts.claim(receiptName, {
      provider: label,
      ...(account !== undefined && { account }),
    });
  } catch (error) {
    batch.shell.complain(`line ${line.number} was not sent: ${reasonOf(error)}`);
    return { line, error, files: [], pictures: [], exitCode: exitCodes.nothingCharged };
  }
  const end = await follow(plan, watch, (onEvent) =>
    send(workspace, request, { onEvent, idempotencyKey: `gpt-image-client batch ${key}` }),
  );
  const files = end.pictures.flatMap(({ path }) => path ?? []);
  if (end.exitCode === exitCodes.nothingCharged) {
    await workspace.receipts.release(receiptName).catch((error: unknown) => {
      batch.shell.warn(`line ${line.number} stays with ${batch.label}: ${reasonOf(error)}`);
    });
  }
  if (end.exitCode === exitCodes.allCame && end.job !== undefined) {
    await workspace.receipts.note(receiptName, end.job.id, files).catch((error: unknown) => {
      // The journal has it by its key for some time: it is not bought again before that is over.
      batch.shell.warn(`line ${line.number} could not be noted as delivered: ${reasonOf(error)}`);
    });
  }
  return { ...end, line, files };
}

/** Gives the exit code of the line: what stdout does not take is not delivered. */
async function printFiles({ files, exitCode }: LineEnd, { shell, isJson }: Batch): Promise<number> {
  return isJson || files.length === 0 ? exitCode : shell.printResult(files.join("\n"), exitCode);
}

async function sayEnd(
  ends: readonly LineEnd[],
  lines: readonly BatchLine[],
  { shell, isJson }: Batch,
): Promise<number> {
  const exitCode = codeOf(ends, lines.length);
  for (const { line, exitCode: code, job } of ends) {
    if (hasAll(code)) continue;
    shell.say(
      `line ${line.number}: exit code ${code}${job === undefined ? "" : `, job ${job.id}`}`,
    );
  }
  const came = ends.filter(({ exitCode: code }) => code === exitCodes.allCame).length;
  shell.say(`${came} of ${count(lines.length, "line")} delivered`);
  if (exitCode !== exitCodes.allCame) {
    shell.say("The same command goes on where it stopped, and buys no line twice.");
  }
  if (isJson) {
    const documents = [...ends]
      .sort((a, b) => a.line.number - b.line.number)
      .map((end) => ({
        line: end.line.number,
        id: end.line.id,
        ...documentOf(end, { wanted: end.line.request.n ?? 1 }),
        // Of an earlier run.
        ...(end.pictures.length === 0 && {
          delivered: end.files.length,
          files: end.files.map((path) => ({ path })),
        }),
      }));
    return shell.printResult(jsonOf({ exitCode, lines: documents }, 2), exitCode);
  }
  return exitCode;
}

/** The highest that holds of any line; 3 where some came and the rest was not charged. */
function codeOf(ends: readonly LineEnd[], lines: number): number {
  const codes = ends.map(({ exitCode }) => exitCode);
  const highest = Math.max(exitCodes.allCame, ...codes);
  if (highest > exitCodes.partial) return highest;
  if (codes.length === lines && codes.every((code) => code === exitCodes.allCame)) return 0;
  return codes.some((code) => hasAll(code)) ? exitCodes.partial : exitCodes.nothingCharged;
}
