/// <reference path="./undici.d.ts" />

/**
 * Loads of undici what sends: parts of it by their files and their default exports.
 *
 * All of undici takes about three times as long to load. By the package's name, Bun loads a stand-in of
 * its own whose agents cannot dispatch (Bun 1.4.5), and in an esbuild bundle that splits, a CommonJS
 * package imported late has a default export alone (esbuild 0.27.7). These files are no public
 * interface: hence the narrow range in package.json, and every test that sends fails once they move.
 *
 * In `dist` this file is CommonJS, as undici is, for both formats: three imports from an ES module cost a
 * start on Node 20 a sixth of its processor time (the row "start" of the benchmarks). It requires them when it is
 * called, and not as it is loaded: Node keeps the error of a module that failed, and gives it to every later
 * import.
 */
export default async function loadFiles() {
  const [agent, client, connect] = await Promise.all([
    import("undici/lib/dispatcher/agent.js"),
    import("undici/lib/dispatcher/client.js"),
    import("undici/lib/core/connect.js"),
  ]);
  return { Agent: agent.default, Client: client.default, buildConnector: connect.default };
}
