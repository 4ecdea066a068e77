/**
 * OpenAI's images API over another provider: the official client with another base URL. The response is
 * lost on the way to it, it asks again as it always does, and the order is bought once.
 */
import { createServer } from "node:http";
import { createImageClient, trinetra } from "gpt-image-client";
import { createImageGateway } from "gpt-image-client/gateway";
import { startSandbox } from "gpt-image-client/testing";
import { Hono } from "hono";
import OpenAI from "openai";

// The provider, played on this machine. The real one: `trinetra()`.
await using sandbox = await startSandbox();
const callers = new Map([["Bearer key-of-anna", "anna"]]);

await using gateway = createImageGateway({
  models: { "gpt-image-2": createImageClient({ provider: trinetra(sandbox.trinetra) }) },
  authorize: ({ headers }) => callers.get(headers.get("authorization") ?? ""),
});

// Over node:http, on a connection that is cut once, while the first request waits for its picture.
let cuts = 1;
const server = createServer((request, response) => {
  gateway.listener(request, response);
  if (cuts > 0) setTimeout(() => request.socket.destroy(), 150);
  cuts -= 1;
});
await new Promise<void>((resolve) => {
  server.listen(0, "127.0.0.1", resolve);
});
const address = server.address();
const port = typeof address === "object" ? address?.port : undefined;

const openai = new OpenAI({ apiKey: "key-of-anna", baseURL: `http://127.0.0.1:${port}/v1` });
const { data } = await openai.images.generate({
  model: "gpt-image-2",
  prompt: "A dew-covered web",
});
console.log(`Pictures: ${data?.length}, asked for twice, bought: ${sandbox.charges.length}`);
server.closeAllConnections();
server.close();

// The same in a router of web standards.
const app = new Hono().all("/v1/*", ({ req }) => gateway.fetch(req.raw));
const models = await app.request("/v1/models", {
  headers: { authorization: "Bearer key-of-anna" },
});
console.log(`GET /v1/models: ${models.status} ${await models.text()}`);
