import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { jsonResponse, send } from "./http";

async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  // An IP server that listens has an address with a port; the other types are for pipes.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function shut(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}

/** Answers a request. */
export type Handler = (message: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A server that no request can bring down. */
function serve(handle: Handler): Server {
  const server = createServer((message, response) => {
    const ignore = () => undefined;
    message.on("error", ignore);
    response.on("error", ignore);
    handle(message, response).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) return response.destroy();
      send(response, jsonResponse(500, { message: `The sandbox itself failed: ${String(error)}` }));
      return undefined;
    });
  });
  // Longer than a test pauses, so that no request meets a connection that is just being closed.
  server.keepAliveTimeout = 60_000;
  return server;
}

/** Where a sandbox is reached, until it is closed. */
export interface Servers {
  /** The origin of the API, without a trailing slash. */
  readonly url: string;
  /** The origin of the images. */
  readonly cdnUrl: string;
  /** Ends all connections; more calls do nothing. */
  close(): Promise<void>;
}

/**
 * Starts a server for the API and, where pictures have a handler of their own, another for them at any
 * free port.
 *
 * @throws the system's error when the port is taken.
 */
export async function startServers(
  port: number,
  answerApi: Handler,
  answerPicture?: Handler,
): Promise<Servers> {
  const api = serve(answerApi);
  const images = answerPicture && serve(answerPicture);
  const url = await listen(api, port);
  const cdnUrl = images === undefined ? url : await listen(images, 0);
  let closed: Promise<void> | undefined;
  return {
    ...{ url, cdnUrl },
    close() {
      closed ??= Promise.all([shut(api), images && shut(images)]).then(() => undefined);
      return closed;
    },
  };
}
