import { connect, type Socket } from "node:net";
import { vi } from "vitest";
import { startRawServer } from "./raw-server";

/** A proxy that tunnels, or does what a test has it do, and counts. */
export interface TestProxy extends AsyncDisposable {
  readonly url: string;
  /** All that ever connected. */
  readonly connections: number;
  /** The heads of what was asked for. */
  readonly asked: readonly string[];
}

/** What becomes of a connection once its CONNECT has come. */
export type Answering = (socket: Socket, head: string) => void;

/** Connects to the port that was asked for, on this machine, whatever the host. */
export const tunnelling: Answering = (socket, head) => {
  const port = Number(/^CONNECT \S+:(\d+) /.exec(head)?.[1]);
  const upstream = connect(port, "127.0.0.1", () => {
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    upstream.pipe(socket);
    socket.pipe(upstream);
  });
  upstream.on("error", () => socket.destroy());
  socket.on("error", () => upstream.destroy());
  socket.on("close", () => upstream.destroy());
};

/** Answers CONNECT in bytes of the test's own, and ends the connection. */
export const answering =
  (text: string): Answering =>
  (socket) =>
    socket.end(text);

/** Answers CONNECT with a status, as proxies that do not connect do. */
export const refusing = (status: number) =>
  answering(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);

export async function startProxy(
  response: Answering = tunnelling,
  scheme: "http" | "https" = "http",
): Promise<TestProxy> {
  const asked: string[] = [];
  const server = await startRawServer((socket) => {
    let head = "";
    const onData = (piece: Buffer) => {
      head += piece.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.off("data", onData);
      asked.push(head);
      response(socket, head);
    };
    socket.on("data", onData);
  }, scheme);
  return {
    url: server.url,
    asked,
    get connections() {
      return server.sockets.size;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** An environment that names no proxy but those of the test. */
export function stubProxies(values: Readonly<Record<string, string>> = {}): void {
  for (const name of ["http_proxy", "https_proxy", "no_proxy"]) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toUpperCase(), undefined);
  }
  for (const [name, value] of Object.entries(values)) vi.stubEnv(name, value);
}
