/// <reference path="./undici-files.d.ts" />
import type { Agent, buildConnector, Client } from "undici";
import { onceLoaded } from "../async/lazy";

/** Of undici, what sends. */
export interface Undici {
  readonly Agent: typeof Agent;
  readonly Client: typeof Client;
  readonly buildConnector: typeof buildConnector;
}

/**
 * What sends, loaded at the first send: parts of undici by their files and their default exports.
 *
 * All of undici takes about three times as long to load. By the package's name, Bun loads a stand-in of
 * its own whose agents cannot dispatch (Bun 1.4.5), and in an esbuild bundle that splits, a CommonJS
 * package imported late has a default export alone (esbuild 0.27.7). These files are no public
 * interface: hence the narrow range in package.json, and every test that sends fails once they move.
 */
export const loadUndici: () => Promise<Undici> = onceLoaded(async () => {
  const [agent, client, connect] = await Promise.all([
    import("undici/lib/dispatcher/agent.js"),
    import("undici/lib/dispatcher/client.js"),
    import("undici/lib/core/connect.js"),
  ]);
  return { Agent: agent.default, Client: client.default, buildConnector: connect.default };
});
