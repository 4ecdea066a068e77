import {
  aigptimage,
  createImageClient,
  type ImageClient,
  openai,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { afterAll, afterEach, beforeAll, expect } from "vitest";

export let sandbox: Sandbox;
/** A sandbox for the tests of a file, which calls it: files share a process, and this module with it. */
export function useSandbox(): void {
  beforeAll(async () => {
    sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  });
  afterEach(() => sandbox.reset());
  afterAll(() => sandbox.close());
}

export const prompt = "A dew-covered web at sunrise";
export const poll = 20;
/** Those of the sandbox, which a stranger's endpoint is not taken to have by itself. */
export const prices = { textInput: 5, imageInput: 8, imageOutput: 30 };
export const openaiAt = ({ openaiCompatible }: Sandbox) =>
  createImageClient({ provider: openai({ ...openaiCompatible, prices }) });

export const clients: Readonly<Record<string, () => ImageClient>> = {
  openai: () => openaiAt(sandbox),
  shortapi: () => createImageClient({ provider: shortapi(sandbox.shortapi), poll }),
  aigptimage: () => createImageClient({ provider: aigptimage(sandbox.aigptimage), poll }),
  trinetra: () => createImageClient({ provider: trinetra(sandbox.trinetra), poll }),
};

export const openaiClient = () => openaiAt(sandbox);
export const trinetraClient = () =>
  createImageClient({ provider: trinetra(sandbox.trinetra), poll });

export async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  const none = Symbol("it resolved");
  const reason = await promise.then(
    () => none,
    (error: unknown) => error,
  );
  expect(reason).not.toBe(none);
  return reason;
}
