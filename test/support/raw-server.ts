import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { certificate } from "./certificate";

export const schemes = ["http", "https"] as const;
export type Scheme = (typeof schemes)[number];

export interface RawServer extends AsyncDisposable {
  readonly url: string;
  /** All that ever connected. */
  readonly sockets: ReadonlySet<Socket>;
}

/** A server that is given its connections as they come, and answers in bytes of the test's own. */
export async function startRawServer(
  serve: (socket: Socket) => void,
  scheme: Scheme = "http",
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const onConnection = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  };
  const server =
    scheme === "http" ? createTcpServer(onConnection) : createTlsServer(certificate, onConnection);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A server that listens to TCP has the address of one.
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
