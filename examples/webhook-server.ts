/**
 * A job's end by webhook: submit, go away, and be called. What is posted is only a hint; the client
 * asks the provider itself, so a call that is forged, repeated or late does no harm.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createImageClient, type ImageJob, memoryJournal, shortapi } from "gpt-image-client";
import { startSandbox } from "gpt-image-client/testing";

await using sandbox = await startSandbox({ jobDurationMs: 500, plainImages: true });

const server = createServer((request, response) => {
  if (request.url?.startsWith("/webhooks/images")) client.webhooks.listener(request, response);
  else response.writeHead(404).end();
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const { promise: settled, resolve: settle } = deferred<ImageJob>();

await using client = createImageClient({
  // The real service: `provider: shortapi()`. Trinetra's address is set once, on the key.
  provider: shortapi(sandbox.shortapi),
  // In your app `directoryJournal(path)`: then a process that never saw the job can settle it, too.
  journal: memoryJournal(),
  webhooks: {
    url: `${origin}/webhooks/images`,
    // In your app from the environment. It makes a token for each job, which goes with the address.
    secret: "at-least-16-characters-that-nobody-guesses",
    // Jobs that somebody waits for end their waiting instead.
    onSettled: (job) => settle(job),
  },
});

// ---- nobody waits: the webhook settles the job, and `onSettled` is told ----

const job = await client.submit({ prompt: "A lighthouse in a storm" });
console.log("submitted:", job.id);

const told = await settled;
const { image } = await told.result();
console.log("settled by webhook:", told.id, await image.info());
await told.release();

// ---- somebody waits: the webhook ends the wait early; polling slows down and never stops ----

sandbox.inject({ provider: "shortapi", phase: "webhook", fault: "forged" });
const result = await client.generate({ prompt: "The same lighthouse at dawn" });
const { durationMs, polls } = result.timing;
console.log(`waited ${durationMs} ms, asked ${polls === 1 ? "once" : `${polls} times`}`);

// ---- the same in a framework that speaks the web's types ----

// Hono:     app.post("/webhooks/images", (c) => client.webhooks.handle(c.req.raw));
// Next.js:  export const POST = (request: Request) => client.webhooks.handle(request);
const handler = (request: Request): Promise<Response> => client.webhooks.handle(request);

const forged = await handler(
  new Request(`${origin}/webhooks/images?job=1&token=2`, { method: "POST" }),
);
console.log("a stranger learns nothing:", forged.status);

for (const { forged, status, answeredAfterMs } of sandbox.webhooks) {
  console.log(forged ? "forged" : "true  ", status, `answered after ${answeredAfterMs} ms`);
}

server.close();
server.closeAllConnections();

function deferred<Value>() {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
