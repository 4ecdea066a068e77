import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { certificate } from "../../support/certificate";
import { pixel, sendJson } from "../../support/server";

/** One create, counted once its body was there whole: the provider would have begun to work. */
export interface ArrivedCreate {
  readonly headers: IncomingHttpHeaders;
  readonly prompt: string;
}

/** What a provider does once it has the whole create. */
export type Behaviour =
  | { readonly answers: "image"; readonly afterMs?: number }
  | { readonly answers: "half an image" }
  | { readonly answers: "nothing"; readonly by: "close" | "reset" };

/** An endpoint that speaks OpenAI's images API, behind the server that is tried. */
export interface Upstream extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly creates: readonly ArrivedCreate[];
  behaviour: Behaviour;
}

export async function startUpstream(
  behaviour: Behaviour = { answers: "image" },
  scheme: "http" | "https" = "http",
): Promise<Upstream> {
  const creates: ArrivedCreate[] = [];
  const ending = new AbortController();
  const serve = async (message: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    response.on("error", () => {});
    try {
      for await (const chunk of message) chunks.push(chunk);
    } catch {
      // The server before it gave up while it sent: no create has arrived.
      return;
    }
    const { "content-type": type = "" } = message.headers;
    const body: unknown = type.startsWith("application/json")
      ? JSON.parse(Buffer.concat(chunks).toString("utf8"))
      : {};
    const hasPrompt = typeof body === "object" && body !== null && "prompt" in body;
    creates.push({ headers: message.headers, prompt: hasPrompt ? String(body.prompt) : "" });
    await reply(upstream.behaviour, response, ending.signal);
  };
  const server = scheme === "http" ? createServer(serve) : createTlsServer(certificate, serve);
  // Longer than any test: idle connections are the business of the server before it.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A server that listens to TCP has the address of one.
  const { port } = server.address() as AddressInfo;
  const upstream: Upstream = {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    creates,
    behaviour,
    async [Symbol.asyncDispose]() {
      ending.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return upstream;
}

async function reply(
  behaviour: Behaviour,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  switch (behaviour.answers) {
    case "image":
      if (behaviour.afterMs !== undefined) {
        await pause(behaviour.afterMs, undefined, { signal }).catch(() => {});
      }
      sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
      return;
    case "half an image": {
      const text = `{"data":[{"b64_json":"${pixel.toString("base64").slice(0, 40)}`;
      response.writeHead(200, { "content-type": "application/json", "content-length": 1_000 });
      response.write(text);
      // Late enough that whoever stands before it has passed the beginning on.
      await pause(200, undefined, { signal }).catch(() => {});
      response.socket?.destroy();
      return;
    }
    case "nothing":
      if (behaviour.by === "close") response.socket?.destroy();
      else response.socket?.resetAndDestroy();
  }
}
