import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort } from "../../postgres/support/server";

/** A TCP proxy that at times passes no bytes, and tells nobody: a network that is gone. */
export class StallingProxy implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #isStalled = false;

  private constructor(port: number, target: number, server: Server) {
    this.port = port;
    this.#server = server;
    server.on("connection", (client) => this.#accept(client, target));
  }

  static async start(target: number): Promise<StallingProxy> {
    const server = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return new StallingProxy(port, target, server);
  }

  #accept(client: Socket, target: number): void {
    const upstream = connect(target, "127.0.0.1");
    const pair = [client, upstream] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => upstream.write(chunk));
    upstream.on("data", (chunk) => client.write(chunk));
    if (this.#isStalled) for (const socket of pair) socket.pause();
  }

  /** Not a byte goes through from now on. */
  stall(): void {
    this.#isStalled = true;
    for (const socket of [...this.#pairs].flat()) socket.pause();
  }

  /** Everything that was held goes through; or every connection that was open is torn. */
  resume(how: "deliver" | "tear"): void {
    this.#isStalled = false;
    for (const socket of [...this.#pairs].flat()) {
      if (how === "tear") socket.destroy();
      else socket.resume();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume("tear");
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
