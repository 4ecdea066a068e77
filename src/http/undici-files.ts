/// <reference path="./undici.d.ts" />
import buildConnector from "undici/lib/core/connect.js";
import Agent from "undici/lib/dispatcher/agent.js";
import Client from "undici/lib/dispatcher/client.js";

/**
 * Of undici, what sends: parts of it by their files and their default exports.
 *
 * All of undici takes about three times as long to load. By the package's name, Bun loads a stand-in of
 * its own whose agents cannot dispatch (Bun 1.4.5), and in an esbuild bundle that splits, a CommonJS
 * package imported late has a default export alone (esbuild 0.27.7). These files are no public
 * interface: hence the narrow range in package.json, and every test that sends fails once they move.
 *
 * In `dist` this file is CommonJS, as undici is: an import of each from an ES module costs a start on
 * Node 20 a sixth of its processor time (the row "start" of the benchmarks).
 */
export default { Agent, Client, buildConnector };
