import { readFileSync } from "node:fs";
import {
  createImageClient,
  type ImageClient,
  type ImageError,
  type ImageEvent,
  type ImageResult,
  isImageError,
  type OpenAICompatibleSettings,
  openaiCompatible,
} from "gpt-image-client";
import { expect, test } from "vitest";

export const prompt = "A dew-covered web at sunrise";

interface Options {
  readonly timeoutMs?: number;
  /** Beside the address and the key. */
  readonly settings?: Partial<OpenAICompatibleSettings>;
}

/** A client of the endpoint at an origin, with room for a repetition that is due after 5 s. */
export function clientAt(
  origin: string,
  { timeoutMs = 8_000, settings = {} }: Options = {},
): ImageClient {
  const apiKey = "sk-test-0123456789abcdef";
  const provider = openaiCompatible({ baseURL: `${origin}/v1`, apiKey, ...settings });
  return createImageClient({ provider, timeoutMs });
}

/** How a call ended. */
export interface End {
  readonly result?: ImageResult;
  readonly error?: ImageError;
  /** How often it was sent again. */
  readonly retries: number;
}

type Call = (options: { onEvent(event: ImageEvent): void }) => Promise<ImageResult>;

export async function endOf(call: Call): Promise<End> {
  let retries = 0;
  const onEvent = ({ type }: ImageEvent) => {
    if (type === "retry") retries += 1;
  };
  try {
    return { result: await call({ onEvent }), retries };
  } catch (error) {
    if (!isImageError(error)) throw error;
    return { error, retries };
  }
}

/** One generation at an origin. */
export function generateAt(
  origin: string,
  options: Options & { readonly prompt?: string } = {},
): Promise<End> {
  const { prompt: text = prompt } = options;
  const client = clientAt(origin, options);
  return endOf((call) => client.generate({ prompt: text }, call));
}

/** What came of one call. */
export interface Seen {
  /** The status of the response with its `Retry-After`, or `"nothing"` where the connection just ends. */
  readonly answers: string;
  /** How many creates of this call arrived at the provider. */
  readonly creates: number;
  readonly says: "the image" | "no" | "unknown";
}

export function seen({ error }: End, creates: number): Seen {
  if (error === undefined) return { answers: "200", creates, says: "the image" };
  const { status = "nothing", retryAfterMs, charged } = error;
  const wait = retryAfterMs === undefined ? "" : `, \`Retry-After: ${retryAfterMs / 1_000}\``;
  if (charged === "yes") throw error;
  return { answers: `${status}${wait}`, creates, says: charged };
}

/** A line of the page, and the trial that shows it. */
export interface Row extends Seen {
  readonly what: string;
  run(): Promise<Seen>;
}

/** A test of each line. */
export function testRows(rows: readonly Row[]): void {
  for (const { what, answers, creates, says, run } of rows) {
    const said = says === "the image" ? says : `charged: "${says}"`;
    const name = `${what}: the response is ${answers}, creates that arrive: ${creates}, the client says ${said}`;
    test(name, async () => expect(await run()).toEqual({ answers, creates, says }));
  }
}

/** What the users are told of all this. */
export const page = readFileSync(new URL("../../../docs/network.md", import.meta.url), "utf8");

/** The page tells what the trials of a server show, line by line and in their order. */
export function expectOnPage(server: string, rows: readonly Row[]): void {
  const section = page.split(/^#+ /m).find((each) => each.startsWith(`${server}\n`)) ?? "";
  // Past the head of the table and the line under it.
  const lines = section.split("\n").filter((line) => line.startsWith("|"));
  expect(lines.slice(2)).toEqual(rows.map(lineOf));
}

function lineOf({ what, answers, creates, says }: Row): string {
  const said = says === "the image" ? says : `\`charged: "${says}"\``;
  return `| ${what} | ${answers} | ${creates} | ${said} |`;
}
