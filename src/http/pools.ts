import type { buildConnector, Dispatcher } from "undici";
import { CreateConnections } from "./create-connections";
import type { Undici } from "./load-undici";
import { createGuardedLookup } from "./network-guard";
import type { EnvironmentProxy } from "./proxy-environment";
import { SocketReads } from "./socket-reads";
import { createTunnelConnector } from "./tunnel";

/** What a request is for: each kind has connections of its own. */
export type Route = "create" | "poll" | "download" | "stranger";

/** Connections, and how their sockets are read where that is ours to say. */
export interface Pool {
  readonly dispatcher: Pick<Dispatcher, "dispatch">;
  readonly reads?: SocketReads;
}

/** One pool for all clients of a process: a client a tenant costs nothing. */
const direct = new Map<Route, Pool>();

/** The same through proxies: by the variable that names one, the last of it. */
const proxied = new Map<string, { readonly proxy: EnvironmentProxy; readonly pool: Pool }>();

/**
 * The connections of a route, made at their first use. Those that go directly are not those through
 * a proxy, so that what the guard has to look at was decided when the pool was picked, whatever the
 * environment becomes.
 */
export function poolFor(undici: Undici, route: Route, proxy: EnvironmentProxy | undefined): Pool {
  if (proxy === undefined) {
    const pool = direct.get(route) ?? createDirectPool(undici, route);
    direct.set(route, pool);
    return pool;
  }
  const key = `${route} ${proxy.variable}`;
  const last = proxied.get(key);
  if (last?.proxy === proxy) return last.pool;
  const connect = createTunnelConnector(undici.buildConnector, proxy);
  const pool = { dispatcher: createDispatcher(undici, route, connect) };
  proxied.set(key, { proxy, pool });
  return pool;
}

function createDirectPool(undici: Undici, route: Route): Pool {
  const lookup = route === "stranger" ? { lookup: createGuardedLookup() } : {};
  // Bun's sockets do not call `onread` as Node's do (seen with 1.4).
  const reads = process.versions.bun === undefined ? new SocketReads() : undefined;
  // Its own port is not used: that of each origin is.
  const connect = undici.buildConnector({
    port: 0,
    ...(reads && { onread: reads.onread }),
    ...lookup,
  });
  const dispatcher = createDispatcher(undici, route, connect);
  return reads === undefined ? { dispatcher } : { dispatcher, reads };
}

/**
 * How many polls are at one origin at once; the rest wait for their turn, however many jobs there
 * are. A create never waits: its time-out runs, and while queued it could not be known whether it was sent.
 */
const mostPolls = 128;

function createDispatcher(
  { Agent, Client }: Undici,
  route: Route,
  connect: buildConnector.connector,
): Pool["dispatcher"] {
  if (route === "create") return new CreateConnections(Client, connect);
  // One response after the other on each socket: so a piece with the end of one holds no other's head.
  return new Agent({ connections: route === "poll" ? mostPolls : null, pipelining: 1, connect });
}
