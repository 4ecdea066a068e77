import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { afterEach, beforeEach, vi } from "vitest";
import {
  type Sandbox,
  type SandboxOptions,
  type SandboxProvider,
  startSandbox,
} from "../../../src/testing/sandbox";

export const jobDurationMs = 30;
export let sandbox: Sandbox;

/** A sandbox for each test of a file, which calls it: files share a process, and this module with it. */
export function useSandbox(): void {
  beforeEach(async () => {
    sandbox = await startSandbox({ jobDurationMs, plainImages: true });
  });
  afterEach(async () => {
    vi.useRealTimers();
    await sandbox.close();
  });
}

/** From here on jobs, links and their like grow older by what `pass` is told, however slow the machine. */
export function stopClock(): void {
  vi.useFakeTimers({ toFake: ["Date"] });
}

export function pass(durationMs: number): void {
  vi.setSystemTime(Date.now() + durationMs);
}

/** Puts another sandbox in place of the one that every test gets. */
export async function restart(options: SandboxOptions): Promise<void> {
  await sandbox.close();
  sandbox = await startSandbox({ jobDurationMs, plainImages: true, ...options });
}

/** The same, by a sandbox that was started elsewhere. */
export function replaceSandbox(started: Sandbox): void {
  sandbox = started;
}

/** What the tests read of the providers' answers. */
export interface Answers {
  shortapi: {
    data: { job_id: string; status: number; result: { images: [{ url: string }] } };
  };
  aigptimage: { data: { taskId: string; state: string; resultJson: string } };
  trinetra: { job_id: string; output: { outputs: { url: string }[] }; credits_charged: number };
  openaiCompatible: {
    data: [OpenAIImage, ...OpenAIImage[]];
    usage: { output_tokens: number; input_tokens_details: { image_tokens: number } };
  };
}

export interface OpenAIImage {
  b64_json: string;
  url?: string;
}

export type JobProvider = Exclude<SandboxProvider, "openaiCompatible">;

export async function read<Provider extends SandboxProvider>(
  _provider: Provider,
  response: Response,
): Promise<Answers[Provider]> {
  // The tests read only what the page promises; where it is missing, they fail.
  return (await response.json()) as Answers[Provider];
}

export function headersFor(provider: SandboxProvider): Record<string, string> {
  const { apiKey } = sandbox[provider];
  return provider === "trinetra" ? { "x-api-key": apiKey } : { authorization: `Bearer ${apiKey}` };
}

export const createPath: Record<SandboxProvider, string> = {
  shortapi: "/api/v1/job/create",
  aigptimage: "/api/v1/jobs/createTask",
  trinetra: "/v1/image/gpt-image-2",
  openaiCompatible: "/images/generations",
};

export const pollPath: Record<JobProvider, string> = {
  shortapi: "/api/v1/job/query?id=",
  aigptimage: "/api/v1/jobs/recordInfo?taskId=",
  trinetra: "/v1/jobs/",
};

/** What each page gives as its sample. */
export const samples = {
  shortapi: {
    model: "openai/gpt-image-2/text-to-image",
    args: { prompt: "This is a live stream UI mockup" },
    callback_url: "CALLBACK_URL",
  },
  aigptimage: {
    model: "gpt-image-2-text-to-image",
    input: {
      prompt: "A cinematic product photo of a transparent speaker on a reflective black table",
      aspect_ratio: "1:1",
      resolution: "1K",
    },
  },
  trinetra: {
    prompt: "A photoreal close-up of dew on a spider web at sunrise",
    quality: "high",
    n: 1,
  },
  openaiCompatible: {
    model: "gpt-image-2",
    prompt: "A simple red apple on a white table, photorealistic",
    size: "1024x1024",
    n: 1,
  },
} as const;

export function post(
  provider: SandboxProvider,
  body: unknown = samples[provider],
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${sandbox[provider].baseURL}${createPath[provider]}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headersFor(provider), ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

export function query(provider: JobProvider, jobId: string): Promise<Response> {
  return fetch(`${sandbox[provider].baseURL}${pollPath[provider]}${jobId}`, {
    headers: headersFor(provider),
  });
}

export async function create(provider: JobProvider, body?: unknown): Promise<string> {
  const response = await post(provider, body);
  if (provider === "trinetra") return (await read(provider, response)).job_id;
  if (provider === "shortapi") return (await read(provider, response)).data.job_id;
  return (await read(provider, response)).data.taskId;
}

export async function poll<Provider extends JobProvider>(
  provider: Provider,
  jobId: string,
): Promise<Answers[Provider]> {
  return read(provider, await query(provider, jobId));
}

/** The response of a job that has had its time. */
export async function finished<Provider extends JobProvider>(
  provider: Provider,
  body?: unknown,
): Promise<Answers[Provider]> {
  const jobId = await create(provider, body);
  if (vi.isFakeTimers()) pass(jobDurationMs);
  else await sleep(jobDurationMs + 5);
  return poll(provider, jobId);
}

/** Images from the endpoint that answers at once. */
export async function generate(more: object = {}): Promise<Answers["openaiCompatible"]> {
  const body = { ...samples.openaiCompatible, ...more };
  return read("openaiCompatible", await post("openaiCompatible", body));
}

export function decode({ b64_json }: OpenAIImage | undefined = { b64_json: "" }): Buffer {
  return Buffer.from(b64_json, "base64");
}

export async function imageUrl(): Promise<string> {
  return (await finished("shortapi")).data.result.images[0].url;
}

export async function dimensionsOf(source: string | Buffer): Promise<string> {
  const bytes =
    typeof source === "string" ? Buffer.from(await (await fetch(source)).arrayBuffer()) : source;
  const { format, width, height } = await sharp(bytes).metadata();
  return `${format} ${width}x${height}`;
}

export async function responseOf(response: Response): Promise<[number, unknown]> {
  return [response.status, await response.json()];
}

export function edit(fields: Record<string, string | Blob | Blob[]>): Promise<Response> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields))
    for (const one of [value].flat())
      if (typeof one === "string") form.append(name, one);
      else form.append(name, one, "picture.png");
  return fetch(`${sandbox.openaiCompatible.baseURL}/images/edits`, {
    method: "POST",
    headers: headersFor("openaiCompatible"),
    body: form,
  });
}

export async function picture(options: { width?: number; alpha?: boolean; type?: string } = {}) {
  const { width = 64, alpha = false, type = "image/png" } = options;
  const background = alpha ? { r: 9, g: 9, b: 9, alpha: 0.5 } : { r: 9, g: 99, b: 9 };
  const bytes = await sharp({
    create: { width, height: 64, channels: alpha ? 4 : 3, background },
  })
    .png()
    .toBuffer();
  return new Blob([new Uint8Array(bytes)], { type });
}
