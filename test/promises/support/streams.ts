import type { ServerResponse } from "node:http";
import {
  createImageClient,
  type GenerateRequest,
  type ImageClientOptions,
  type ImageEvent,
  openaiCompatible,
} from "../../../src/index";
import { startSandbox } from "../../../src/testing/sandbox";
import { pixel, startServer, type TestServer } from "../../support/server";
import { prompt } from "../../support/stage";

export const size = "1024x1024";
export const request: GenerateRequest = { prompt, size, quality: "low", partialImages: 2 };

export type PartialEvent = Extract<ImageEvent, { type: "partial" }>;

export function partialsOf(events: readonly ImageEvent[]): PartialEvent[] {
  return events.filter((event) => event.type === "partial");
}

export async function startStreams(options: Partial<ImageClientOptions> = {}) {
  const sandbox = await startSandbox({ jobDurationMs: 30, plainImages: true });
  const client = createImageClient({
    provider: openaiCompatible(sandbox.openaiCompatible),
    ...options,
  });
  const creates = () => sandbox.requests.filter(({ phase }) => phase === "create");
  return { sandbox, client, creates, [Symbol.asyncDispose]: () => sandbox.close() };
}

export function clientOf({ url }: TestServer, options: Partial<ImageClientOptions> = {}) {
  const provider = openaiCompatible({ baseURL: url, apiKey: "sk-of-the-test" });
  return createImageClient({ provider, ...options });
}

export function startStream(write: (response: ServerResponse) => unknown): Promise<TestServer> {
  return startServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    return write(response);
  });
}

export const dataOf = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
export const partialEvent = (image: Buffer, index?: number) =>
  dataOf({
    type: "image_generation.partial_image",
    b64_json: image.toString("base64"),
    partial_image_index: index,
  });
export const completed = dataOf({
  ...{ type: "image_generation.completed", b64_json: pixel.toString("base64") },
});
