import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Provider } from "../adapter/provider";
import { asUint8Array, isBytes, isURL } from "../realm";
import { type ImageInput, isLoadable, isLocalFile, type ParsedRequest } from "./request";

/**
 * Ids derived from the caller's key: deterministic for the same key at the same provider, and for
 * the same account where one is given. Names of earlier versions must stay what they were: a message
 * that is delivered again after an upgrade would else be paid for again.
 */
export function namesUnder(
  idempotencyKey: string,
  { name, baseURL }: Pick<Provider, "name" | "baseURL">,
  account?: string,
): { readonly jobId: string; taskKey(index: number, attempt?: number): string } {
  const whose = account === undefined ? [] : ["account", account];
  return {
    jobId: digestOf([name, baseURL, idempotencyKey, ...whose]).slice(0, 32),
    // Hashed, since a caller's key may hold what no header can. A job that has failed is what its
    // key names at the provider for ever: the next try needs another.
    taskKey: (index, attempt = 0) =>
      digestOf([index, idempotencyKey, ...whose, ...(attempt > 0 ? [attempt] : [])]).slice(0, 32),
  };
}

/** What a caller's key sends with each task, where no journal knows of earlier tries. */
export function taskKeyUnder(
  idempotencyKey: string | undefined,
  provider: Pick<Provider, "name" | "baseURL">,
  account: string | undefined,
): ((index: number) => string) | undefined {
  if (idempotencyKey === undefined) return undefined;
  const names = namesUnder(idempotencyKey, provider, account);
  return (index) => names.taskKey(index);
}

/** A new name, in one piece: Node joins a UUID of twenty strings, and would keep them all. */
export function newId(): string {
  return Buffer.from(randomUUID()).toString("latin1");
}

function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortedKeys)).digest("hex");
}

/** The same value gives the same text, in whichever order its keys were written. */
function sortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Tells one request from another: by its fields, and by the content of the images that go in. */
export async function digestOfRequest(request: ParsedRequest, options: unknown): Promise<string> {
  const { operation, n, fields, images, mask } = request;
  const inputs = await Promise.all([...images, ...(mask === undefined ? [] : [mask])].map(nameOf));
  return digestOf([operation, n, fields, inputs, mask !== undefined, options ?? {}]);
}

async function nameOf(input: ImageInput): Promise<string> {
  if (typeof input === "string" || isURL(input)) return String(input);
  try {
    if (isLocalFile(input)) return digestOfBytes(await readFile(input.path));
    if (isLoadable(input)) return digestOfBytes(await input.bytes());
    if (isBytes(input)) return digestOfBytes(asUint8Array(input));
    return digestOfBytes(new Uint8Array(await input.arrayBuffer()));
  } catch {
    // It is read once more to be sent, and what is wrong with it is said there, by name.
    return "unreadable";
  }
}

function digestOfBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
