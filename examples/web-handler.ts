/**
 * Behind an HTTP API: a picture takes up to minutes, and proxies and serverless platforms end a
 * request after about 60 s. So none waits: one submits, one asks, one fetches.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { createImageClient, isImageError, type JobReference, trinetra } from "gpt-image-client";
import { startServices } from "./support";

await using services = await startServices({ jobDurationMs: 1_500 });
// The real service: `provider: trinetra()`.
const client = createImageClient({ provider: trinetra(services.trinetra) });

/** In your app a table: any process that reads the reference can go on with the job. */
const references = new Map<string, JobReference>();

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, pictures, id = "", part] = request.url?.split("/") ?? [];
  if (pictures !== "pictures") return send(response, 404, { error: "no such page" });

  if (request.method === "POST") {
    // One field is taken from the stranger, and checked by the client; the rest is yours to decide.
    const body = (await json(request).catch(() => null)) as { prompt?: string } | null;
    const job = await client.submit(
      { prompt: body?.prompt ?? "", aspectRatio: "3:2" },
      { onSubmitted: ({ id, reference }) => references.set(id, reference) },
    );
    return send(response, 202, { id: job.id, status: `/pictures/${job.id}` });
  }

  const reference = references.get(id);
  if (reference === undefined) return send(response, 404, { error: "no such picture" });
  const job = client.resume(reference);
  const { state, settled } = await job.status();
  if (part !== "image") {
    const image = state === "succeeded" ? `/pictures/${id}/image` : undefined;
    return send(response, 200, { id, state, settled, image });
  }
  if (!settled) return send(response, 409, { error: "not ready yet" });

  const { image } = await job.result();
  // A `Response` with the true content type; frameworks that speak the web's types return it as is.
  const { status, headers, body } = await image.response();
  response.writeHead(status, Object.fromEntries(headers));
  for await (const chunk of body ?? []) response.write(chunk);
  response.end();
}

const statusOfCode: Record<string, number> = {
  invalid_request: 400,
  unsupported: 400,
  moderation: 422,
  rate_limited: 429,
};

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    // Only the code goes out: a message may hold words that are between you and the provider.
    if (isImageError(error)) send(response, statusOfCode[error.code] ?? 502, { error: error.code });
    else send(response, 500, { error: "internal" });
  });
});

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

// ---- from here on, the browser ----

await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const empty = await post({ prompt: "" });
console.log("POST /pictures without a prompt:", empty.status, await empty.text());

const accepted = await post({ prompt: "A red bicycle against a yellow wall" });
const { id, status } = (await accepted.json()) as { id: string; status: string };
console.log("POST /pictures:", accepted.status, status);

for (let settled = false; !settled; await sleep(settled ? 0 : 500)) {
  const reply = (await (await fetch(origin + status)).json()) as {
    state: string;
    settled: boolean;
  };
  console.log("GET", status, reply.state);
  settled = reply.settled;
}

const picture = await fetch(`${origin}/pictures/${id}/image`);
const bytes = await picture.arrayBuffer();
console.log("GET …/image:", picture.status, picture.headers.get("content-type"), bytes.byteLength);

server.close();
server.closeAllConnections();

function post(body: object): Promise<Response> {
  return fetch(`${origin}/pictures`, { method: "POST", body: JSON.stringify(body) });
}
