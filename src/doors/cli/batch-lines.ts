import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { ImageInput, ImageRequest } from "../../index";
import { imageInput, withHome } from "./places";
import type { Shell } from "./shell";
import { UsageError } from "./usage-error";

/** A line of a batch: an order, and the name under which it is bought once. */
export interface BatchLine {
  /** Its place in the file, from 1. */
  readonly number: number;
  /** What its files are called; default: the job's id. */
  readonly id?: string;
  readonly request: ImageRequest;
  /** The same for the same line, wherever its file is. */
  readonly key: string;
}

/**
 * Reads a batch: a JSON object a line, with the fields of a request. Nothing is bought where one of them
 * is wrong.
 */
export async function readLines(
  file: string,
  { name = "", shell }: { readonly name?: string | undefined; readonly shell: Shell },
): Promise<readonly BatchLine[]> {
  const isStdin = file === "-";
  const path = withHome(file);
  const text = isStdin
    ? await shell.readStdin()
    : await readFile(path, "utf8").catch((cause: Error) => {
        throw new UsageError(`The batch cannot be read: ${cause.message}`, { cause });
      });
  const directory = isStdin ? process.cwd() : dirname(resolve(path));
  const seen = new Map<string, number>();
  const lines: BatchLine[] = [];
  const given = text.replace(/^\ufeff/, "");
  if (/^\s*\[/.test(given)) {
    throw wrong(1, "a batch has a JSON object on each line, and is no JSON array");
  }
  for (const [index, line] of given.split("\n").entries()) {
    if (line.trim() === "") continue;
    lines.push(await lineOf(line, { number: index + 1, directory, seen, name }));
  }
  if (lines.length === 0) throw new UsageError("There is no line in the batch");
  return lines;
}

interface LineContext {
  readonly number: number;
  readonly directory: string;
  /** How often an equal line stood above. */
  readonly seen: Map<string, number>;
  readonly name: string;
}

async function lineOf(text: string, context: LineContext): Promise<BatchLine> {
  const { number } = context;
  const given = objectIn(text, number);
  const { id, images, mask, ...fields } = given;
  if (id !== undefined && !(typeof id === "string" && /^\w[\w.-]{0,99}$/.test(id))) {
    throw wrong(number, '"id" is to be a file name of letters, digits, ".", "-" and "_"');
  }
  const inputs = inputsOf(images, mask, context);
  const digest = digestOf([fields, id ?? null, await contentsOf(inputs), context.name]);
  const earlier = context.seen.get(digest) ?? 0;
  context.seen.set(digest, earlier + 1);
  // The client checks every field before the first line is bought, and names those that are wrong.
  const request = { ...fields, ...inputs } as ImageRequest;
  const key = digestOf([digest, earlier]).slice(0, 32);
  return { number, request, key, ...(id !== undefined && { id }) };
}

function objectIn(text: string, number: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const hint = /^\s*\{\s*$/.test(text) ? ". The whole object goes on one line" : "";
    throw wrong(number, `it is no JSON: ${why}${hint}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(number, 'it is to be an object such as {"prompt":"A fox"}');
  }
  return { ...value };
}

/** Paths are of the batch's directory, so that it may be run from anywhere. */
function inputsOf(
  images: unknown,
  mask: unknown,
  { number, directory }: LineContext,
): { readonly images?: readonly ImageInput[]; readonly mask?: ImageInput } {
  const input = (value: unknown): ImageInput => {
    if (typeof value !== "string") throw wrong(number, "pictures are paths or URLs");
    const isURL = /^(https?:\/\/|data:|file:\/\/)/i.test(value);
    return imageInput(isURL ? value : resolve(directory, withHome(value)));
  };
  if (images !== undefined && !Array.isArray(images))
    throw wrong(number, '"images" is to be a list');
  return {
    ...(images !== undefined && { images: images.map(input) }),
    ...(mask !== undefined && { mask: input(mask) }),
  };
}

/** A picture that was changed since is another order. */
async function contentsOf({
  images = [],
  mask,
}: ReturnType<typeof inputsOf>): Promise<readonly string[]> {
  const all = mask === undefined ? images : [...images, mask];
  return Promise.all(
    all.map(async (input) => {
      if (typeof input !== "object" || !("path" in input)) return String(input);
      const bytes = await readFile(input.path).catch((cause: Error) => {
        throw new UsageError(`A picture cannot be read: ${cause.message}`, { cause });
      });
      return createHash("sha256").update(bytes).digest("hex");
    }),
  );
}

function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortedKeys)).digest("hex");
}

/** The same line, in whichever order its fields were written. */
function sortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function wrong(number: number, why: string): UsageError {
  return new UsageError(`Line ${number}: ${why}`);
}
