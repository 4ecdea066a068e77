import { createServer, type Server, Socket } from "node:net";
import { freePort } from "./server";

/**
 * What becomes of a statement: it goes through; or the connection is torn before the server has any of
 * it, when it has half, or when it has done it and has said so to nobody.
 */
export type Fate = "through" | "before" | "half" | "after";

/** A TCP proxy before PostgreSQL that tears connections where a test says so. */
export class TearingProxy implements AsyncDisposable {
  readonly port: number;
  /** Where it leads to. */
  target: number;
  /** Asked about each message of a client, as text. */
  fateOf: (text: string) => Fate = () => "through";
  /** No connection comes through. */
  isDown = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number, target: number, server: Server) {
    this.port = port;
    this.target = target;
    this.#server = server;
    server.on("connection", (client) => this.#accept(client));
  }

  static async start(target: number): Promise<TearingProxy> {
    const server = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return new TearingProxy(port, target, server);
  }

  /** Tears the connection of the next message that has a text. */
  tearAt(text: string, fate: Fate, times = 1): void {
    let left = times;
    this.fateOf = (message) => {
      if (left === 0 || !message.includes(text)) return "through";
      left -= 1;
      return fate;
    };
  }

  #accept(client: Socket): void {
    const upstream = new Socket();
    const tear = () => {
      client.resetAndDestroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    if (this.isDown) {
      tear();
      return;
    }
    upstream.connect(this.target, "127.0.0.1");
    let isDeaf = false;
    client.on("data", (chunk) => {
      const fate = this.fateOf(chunk.toString("latin1"));
      if (fate === "after") isDeaf = true;
      if (fate === "before") tear();
      else if (fate === "half") upstream.write(chunk.subarray(0, chunk.byteLength / 2), tear);
      else upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      if (isDeaf) tear();
      else client.write(chunk);
    });
  }

  /** Tears every connection that is open. */
  tearAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tearAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
