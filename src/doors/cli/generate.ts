import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, parse } from "node:path";
import type { Cost, ImageRequest } from "../../index";
import { parseDurationMs } from "./duration";
import { exitCodes } from "./exit-codes";
import { forgetOld } from "./forget";
import { costProblem, costText, parseAmount } from "./money";
import { type OrderEnd, type OrderPlan, place, type Telling } from "./order";
import { stateDirectory } from "./places";
import { type ChosenProvider, chooseProvider, type ProviderFlags } from "./providers";
import { pathOf, refusalText } from "./refusal";
import { documentOf, printDocument, sayEnd } from "./report";
import { type RequestFlags, readPrompt, requestOf, wholeNumber } from "./request";
import { formatOfName, type Target, targetOf } from "./save";
import { inSession } from "./session";
import { type DrawSheet, loadSheets } from "./sheet";
import type { Shell } from "./shell";
import { clean, count, reasonOf } from "./text";
import { UsageError } from "./usage-error";
import { openWorkspace } from "./workspace";

/** The options of `generate` and `edit`. */
export interface OrderFlags extends ProviderFlags, RequestFlags {
  readonly "prompt-file"?: string | undefined;
  readonly output?: string | undefined;
  readonly concurrency?: string | undefined;
  readonly "max-cost"?: string | undefined;
  readonly timeout?: string | undefined;
  readonly "omit-unsupported"?: boolean | undefined;
  readonly json?: boolean | undefined;
  readonly events?: boolean | undefined;
  readonly sheet?: boolean | undefined;
  readonly state?: string | undefined;
}

/** `generate` and `edit`. */
export async function order(
  operation: "generate" | "edit",
  words: readonly string[],
  flags: OrderFlags,
  shell: Shell,
): Promise<number> {
  const { env } = shell.platform;
  return inSession(shell, async ({ interruption, files, after }) => {
    const request = await readRequest(operation, words, flags, shell);
    const target = targetOf(flags.output, shell.isStdoutTerminal);
    const telling = tellingOf(flags, target, request);
    const chosen = await chooseProvider(flags, env, operation);
    after(chosen.end);
    const workspace = await openWorkspace(
      chosen,
      stateDirectory(flags.state, env),
      clientOptions(flags),
    );
    after(() => workspace.router.close());
    const full = { ...request, ...withOptions(chosen) };
    const { label } = chosen;
    const plan = { shell, workspace, label, request: full, files, target, telling, interruption };
    return orderUnder(plan, flags);
  });
}

/** Checks it, says the price, and orders. */
async function orderUnder(plan: OrderPlan, flags: OrderFlags): Promise<number> {
  const { shell, workspace, files, target, telling, label } = plan;
  const request = withFormat(plan);
  const most =
    flags["max-cost"] === undefined ? undefined : parseAmount("--max-cost", flags["max-cost"]);
  const problems = workspace.client.check(request);
  for (const problem of problems) shell.complain(refusalText(problem, request));
  if (problems.length > 0) return exitCodes.usage;
  await refuseUnreadable(request);
  const estimate = workspace.client.estimate(request);
  const refusal = most && costProblem(estimate, most);
  if (refusal !== undefined) {
    shell.complain(`${refusal} Nothing was sent.`);
    return exitCodes.nothingCharged;
  }
  const draw = flags.sheet ? await loadSheets() : undefined;
  await files.prepare(target);
  sayPrice(shell, label, request, estimate);
  const end = await place({ ...plan, request });
  sayEnd(shell, end, label);
  const sheet = draw && (await writeSheet(draw, end, plan));
  await forgetOld(workspace.journal, stateDirectory(flags.state, shell.platform.env), shell);
  if (telling === "paths") return end.exitCode;
  const document = documentOf(end, { estimate, wanted: request.n ?? 1 });
  return printDocument(shell, telling, sheet === undefined ? document : { ...document, sheet });
}

/** Draws the pictures that came into one: what goes wrong with that has cost nothing. */
async function writeSheet(
  draw: DrawSheet,
  { pictures, job }: OrderEnd,
  { shell, files, target }: OrderPlan,
): Promise<string | undefined> {
  const paths = pictures.flatMap(({ path }) => path ?? []);
  if (paths.length === 0 || job === undefined || target.to === "stdout") return undefined;
  try {
    const entries = await Promise.all(
      paths.map(async (path) => ({ bytes: await readFile(path), caption: basename(path) })),
    );
    const name = target.to === "file" ? parse(target.path).name : job.id;
    const path = join(dirname(paths[0] ?? ""), `${name}-sheet.png`);
    const sheet = await files.save(await draw(entries), path);
    shell.say(`contact sheet: ${clean(sheet)}`);
    return sheet;
  } catch (error) {
    shell.warn(`The contact sheet could not be made: ${reasonOf(error)}`);
    return undefined;
  }
}

function sayPrice(shell: Shell, label: string, { n = 1 }: ImageRequest, cost: Cost | undefined) {
  const isPlayed = label === "sandbox" ? " (played on this machine: nothing is billed)" : "";
  const price = cost === undefined ? "no price is known before" : costText(cost);
  shell.say(`${label}: ${count(n, "picture")}, ${price}${isPlayed}`);
}

async function readRequest(
  operation: "generate" | "edit",
  words: readonly string[],
  flags: OrderFlags,
  shell: Shell,
): Promise<ImageRequest> {
  if (operation === "edit" && flags.image === undefined) {
    throw new UsageError("edit takes at least one -i, a file or a URL");
  }
  return requestOf(await readPrompt(words, flags["prompt-file"], shell), flags);
}

/** Before a price is said: nothing could be made of it. */
async function refuseUnreadable({ images = [], mask }: ImageRequest): Promise<void> {
  for (const input of mask === undefined ? images : [...images, mask]) {
    const path = pathOf(input);
    if (path === undefined) continue;
    const found = await stat(path).catch((cause: Error) => {
      throw new UsageError(`The picture cannot be read: ${cause.message}`, { cause });
    });
    if (found.isDirectory()) throw new UsageError(`${path} is a directory, and no picture`);
  }
}

/** The format that the name of the file asks for, where none was given and the provider has it. */
function withFormat({ workspace, request, target }: OrderPlan): ImageRequest {
  if (target.to !== "file" || request.outputFormat !== undefined) return request;
  const outputFormat = formatOfName(target.path);
  // What is made without being asked for.
  if (outputFormat === undefined || outputFormat === "png") return request;
  const asked = { ...request, outputFormat };
  return workspace.client.check(asked).length > workspace.client.check(request).length
    ? request
    : asked;
}

function tellingOf(
  { json, events, sheet }: OrderFlags,
  target: Target,
  { n = 1 }: ImageRequest,
): Telling {
  if (json && events) throw new UsageError("It is either --json or --events");
  if (target.to === "stdout") {
    if (json || events)
      throw new UsageError("-o - writes the picture where --json writes its text");
    if (sheet) throw new UsageError("-o - writes one picture, and no contact sheet");
    if (n > 1) throw new UsageError("-o - is for one picture: name a directory for several");
  }
  return json ? "document" : events ? "events" : "paths";
}

function clientOptions({ concurrency, timeout, "omit-unsupported": omits }: OrderFlags) {
  return {
    ...(concurrency !== undefined && { concurrency: wholeNumber("--concurrency", concurrency) }),
    ...(timeout !== undefined && { timeoutMs: parseDurationMs("--timeout", timeout) }),
    ...(omits === true && { onUnsupported: "omit" as const }),
  };
}

function withOptions({ providerOptions }: ChosenProvider): Pick<ImageRequest, "providerOptions"> {
  return providerOptions === undefined ? {} : { providerOptions };
}
