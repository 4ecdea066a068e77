import { readFile } from "node:fs/promises";
import type { EditRequest, GenerateRequest, ImageRequest } from "../../index";
import { imageInput, withHome } from "./places";
import type { Shell } from "./shell";
import { UsageError } from "./usage-error";

/** The options that say what is wanted. */
export interface RequestFlags {
  readonly count?: string | undefined;
  readonly size?: string | undefined;
  readonly "aspect-ratio"?: string | undefined;
  readonly resolution?: string | undefined;
  readonly quality?: string | undefined;
  readonly background?: string | undefined;
  readonly format?: string | undefined;
  readonly compression?: string | undefined;
  readonly moderation?: string | undefined;
  readonly user?: string | undefined;
  readonly stream?: boolean | undefined;
  readonly image?: string[] | undefined;
  readonly mask?: string | undefined;
}

/** Reads a whole number of at least 1. */
export function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && Number.isSafeInteger(number)) return number;
  throw new UsageError(`${option} takes a whole number of at least 1, and was given "${text}"`);
}

/** The prompt: the argument, the file, or what comes in through a pipe. */
export async function readPrompt(
  words: readonly string[],
  file: string | undefined,
  shell: Shell,
): Promise<string> {
  const [argument, ...more] = words;
  if (more.length > 0)
    throw new UsageError("Put the prompt in quotes: there were several arguments");
  if (file !== undefined && argument !== undefined) {
    throw new UsageError("The prompt is either an argument or in --prompt-file");
  }
  const prompt = await promptFrom(argument, file, shell);
  // A file and a pipe end with a newline that nobody meant.
  const text = argument === undefined || argument === "-" ? prompt.trimEnd() : prompt;
  if (text.trim() === "") throw new UsageError("The prompt is empty");
  return text;
}

async function promptFrom(
  argument: string | undefined,
  file: string | undefined,
  shell: Shell,
): Promise<string> {
  if (file !== undefined && file !== "-") {
    const path = withHome(file);
    return readFile(path, "utf8").catch((cause: Error) => {
      throw new UsageError(`The prompt cannot be read: ${cause.message}`, { cause });
    });
  }
  if (argument !== undefined && argument !== "-") return argument;
  if (shell.platform.stdin.isTTY && argument === undefined && file === undefined) {
    throw new UsageError('Say what to draw: generate "A fox in the snow"');
  }
  return shell.readStdin();
}

/** The request that the options make, save what is wrong with it for one provider. */
export function requestOf(prompt: string, flags: RequestFlags): ImageRequest {
  const { size, resolution, quality, background, moderation, user, stream } = flags;
  const { "aspect-ratio": aspectRatio, format: outputFormat, compression, count } = flags;
  const fields = {
    prompt,
    ...(count !== undefined && { n: wholeNumber("-n", count) }),
    ...(size !== undefined && { size }),
    ...(aspectRatio !== undefined && { aspectRatio }),
    ...(resolution !== undefined && { resolution }),
    ...(quality !== undefined && { quality }),
    ...(background !== undefined && { background }),
    ...(outputFormat !== undefined && { outputFormat }),
    ...(compression !== undefined && { outputCompression: numberOf("--compression", compression) }),
    ...(moderation !== undefined && { moderation }),
    ...(user !== undefined && { user }),
    ...(stream === true && { stream }),
  };
  if (flags.image === undefined) return fields satisfies GenerateRequest;
  const images = flags.image.map(imageInput);
  const mask = flags.mask === undefined ? {} : { mask: imageInput(flags.mask) };
  return { ...fields, images, ...mask } satisfies EditRequest;
}

function numberOf(option: string, text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number)) return number;
  throw new UsageError(`${option} takes a number, and was given "${text}"`);
}
