import { rm } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  createImageClient,
  type ImageClientOptions,
  type ImageJob,
  type ProviderImageClient,
  shortapi,
  trinetra,
  type WebhookOptions,
  type Webhooks,
} from "gpt-image-client";
import {
  type Sandbox,
  type SandboxFault,
  type SandboxFaultKind,
  type SandboxOptions,
  type SandboxWebhook,
  startSandbox,
} from "gpt-image-client/testing";
import { afterEach, beforeEach, expect, vi } from "vitest";

export const jobDurationMs = 400;
/** Longer than any test takes: whatever settles before is settled by a webhook. */
export const never = 60_000;
/** Far from what a query takes, and far from `never`. */
export const soonMs = 5_000;
export const secret = "a-secret-of-32-characters-or-so!";
export const prompt = "A paper boat";

export type Posting = "shortapi" | "trinetra";
export const posting = ["shortapi", "trinetra"] as const;

export let sandbox: Sandbox;
let receiver: Server;
export let hookUrl: string;
let hooks: Webhooks | undefined;
export let arrived: { url: string; headers: IncomingHttpHeaders }[];
export let clients: ProviderImageClient[];
export let directories: string[];

/** A sandbox and a receiver for each test of a file, which calls it: files share a process, and this module. */
export function useReceiver(): void {
  beforeEach(async () => {
    arrived = [];
    clients = [];
    directories = [];
    hooks = undefined;
    sandbox = await startSandbox({ jobDurationMs, plainImages: true });
    receiver = createServer((request, response) => {
      arrived.push({ url: request.url ?? "", headers: request.headers });
      if (hooks === undefined) response.writeHead(503).end();
      else hooks.listener(request, response);
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    hookUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    sandbox.setWebhook("trinetra", hookUrl);
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await sandbox.close();
    receiver.closeAllConnections();
    receiver.close();
    await Promise.all(directories.map((path) => rm(path, { recursive: true, force: true })));
  });
}

/** Puts another sandbox in place of the one that every test gets. */
export async function restart(options: SandboxOptions): Promise<void> {
  await sandbox.close();
  sandbox = await startSandbox({ jobDurationMs, plainImages: true, ...options });
  sandbox.setWebhook("trinetra", hookUrl);
}

export type Given = Omit<Partial<ImageClientOptions>, "webhooks"> & {
  readonly webhooks?: Partial<WebhookOptions>;
};

/** Whose calls the address receives from now on. */
export function receiveWith(webhooks: Webhooks | undefined): void {
  hooks = webhooks;
}

/** A client that nothing but a webhook can tell of an end, and that the receiver hands its calls. */
export function makeClient(
  name: Posting,
  { webhooks, ...options }: Given = {},
): ProviderImageClient {
  const client = createImageClient({
    provider: name === "shortapi" ? shortapi(sandbox.shortapi) : trinetra(sandbox.trinetra),
    poll: never,
    webhooks: { url: hookUrl, secret, ...webhooks },
    ...options,
  });
  clients.push(client);
  receiveWith(client.webhooks);
  return client;
}

export function inject(provider: Posting, kind: SandboxFaultKind, more: object = {}): void {
  sandbox.inject({ provider, phase: "webhook", ...kind, ...more } as SandboxFault);
}

/** How often the provider was asked after a job, or after all. */
export function polls(taskId?: string): number {
  const asked = sandbox.requests.filter(({ phase }) => phase === "poll");
  return asked.filter(({ jobId }) => taskId === undefined || jobId === taskId).length;
}

export function taskIdOf(job: ImageJob, index = 0): string {
  return job.reference.tasks[index]?.id ?? "";
}

export async function until(check: () => unknown): Promise<void> {
  await vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 30_000, interval: 10 });
}

/** All that the sandbox has to post, posted and answered. */
export async function webhooksAnswered(count: number): Promise<readonly SandboxWebhook[]> {
  await until(() => sandbox.webhooks.filter(({ status }) => status !== undefined).length >= count);
  return sandbox.webhooks;
}

export interface Knock {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  readonly tookMs: number;
}

/** What a stranger, or the provider, posts. */
export async function knock(
  url: string,
  body: unknown = {},
  init: RequestInit = {},
): Promise<Knock> {
  const startedAt = Date.now();
  const response = await fetch(url, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
  const text = await response.text();
  const { status, headers } = response;
  return { status, text, headers, tookMs: Date.now() - startedAt };
}

/** Answered at once, and with nothing in it. */
export function expectNothingSaid({ status, text, headers, tookMs }: Knock): void {
  expect(status).toBe(204);
  expect(text).toBe("");
  expect(
    [...headers.keys()].filter((name) => !/^(date|connection|keep-alive)$/.test(name)),
  ).toEqual([]);
  expect(tookMs).toBeLessThan(10_000);
}
