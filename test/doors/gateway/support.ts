import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ImageGatewayOptions } from "gpt-image-client/gateway";

export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  // An IP server that listens has an address with a port.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Callers of the tests: their key is their name. */
export const authorize: ImageGatewayOptions["authorize"] = ({ headers }) =>
  /^Bearer (key-of-\w+)$/.exec(headers.get("authorization") ?? "")?.[1];
