import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll } from "vitest";
import { openaiCompatible } from "../../../src/index";
import { clientOf, onePixelPng } from "../fixtures";

export const origin = "https://gateway.test";
export const baseURL = `${origin}/api/v1`;
export const server = setupServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

export const provider = openaiCompatible({ baseURL, apiKey: "sk-gateway-test" });
export const { read } = provider.adapter;
export const client = clientOf(provider);
export const picture = { b64_json: onePixelPng.toString("base64") };
export const good = [200, { created: 1, data: [picture] }] as const;
