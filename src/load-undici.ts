/// <reference path="./undici-files.d.ts" />
import type { Agent, buildConnector, Client } from "undici";
import { onceLoaded } from "./once";

/** Of undici, what sends. */
export interface Undici {
  readonly Agent: typeof Agent;
  readonly Client: typeof Client;
  readonly buildConnector: typeof buildConnector;
}

/**
 * What sends, loaded at the first send: three files of undici by their names and their default exports.
 *
 * All of undici takes about three times as long to load. By the package's name, Bun would load a stand-in of its own whose agents cannot
 * dispatch (seen with Bun 1.4). And in the chunks of a bundler that splits, a CommonJS package that is
 * imported late has a default export alone (seen with esbuild 0.28). These files are no public interface:
 * hence the narrow range in package.json, and a test that fails once they have moved.
 */
export const loadUndici: () => Promise<Undici> = onceLoaded(async () => {
  const [agent, client, connect] = await Promise.all([
    import("undici/lib/dispatcher/agent.js"),
    import("undici/lib/dispatcher/client.js"),
    import("undici/lib/core/connect.js"),
  ]);
  return { Agent: agent.default, Client: client.default, buildConnector: connect.default };
});
