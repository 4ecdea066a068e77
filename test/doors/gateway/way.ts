import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What happens between a client and the gateway, to one request or to all. */
export type WayFault =
  /** The request is swallowed, and its connection reset. */
  | "reset before the gateway has it"
  /** The gateway has the request, and both connections are reset at once. */
  | "reset after the gateway has it"
  /** The reply is written out, and lost: the gateway cannot know. */
  | "reply lost on the way";

/** A way to the gateway on which connections break. */
export class Way implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How many more requests are hit. */
  #left: number;

  private constructor(target: number, fault: WayFault, times: number) {
    this.#left = times;
    this.#server = createServer((client) => {
      this.#sockets.add(client);
      client.on("error", () => {});
      client.once("data", (first) => {
        const isHit = this.#left > 0;
        if (isHit) this.#left -= 1;
        if (isHit && fault === "reset before the gateway has it") {
          client.resetAndDestroy();
          return;
        }
        const gateway = connect(target, "127.0.0.1");
        this.#sockets.add(gateway);
        gateway.on("error", () => client.destroy());
        gateway.on("close", () => client.destroy());
        client.on("close", () => gateway.destroy());
        gateway.write(first);
        client.on("data", (piece) => gateway.write(piece));
        if (!isHit) gateway.on("data", (piece) => client.write(piece));
        else if (fault === "reset after the gateway has it") {
          setTimeout(() => {
            client.resetAndDestroy();
            gateway.resetAndDestroy();
          }, 100);
        } else {
          // All of it has come before the connection goes.
          gateway.on("data", () => setTimeout(() => client.resetAndDestroy(), 200));
        }
      });
    });
  }

  static async open(baseURL: string, fault: WayFault, times: number): Promise<Way> {
    const way = new Way(Number(new URL(baseURL).port), fault, times);
    await new Promise<void>((resolve) => {
      way.#server.listen(0, "127.0.0.1", resolve);
    });
    return way;
  }

  get baseURL(): string {
    // An IP server that listens has an address with a port.
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
