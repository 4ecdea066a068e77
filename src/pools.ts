import type { Dispatcher } from "undici";
import { LentReads } from "./lent-reads";
import { createGuardedLookup } from "./network-guard";
import { onceLoaded } from "./once";

/** Where a request goes: each has connections of its own. */
export type Route = "provider" | "poll" | "stranger";

/** Connections, and how their sockets are read where that is ours to say. */
export interface Pool {
  readonly pool: Dispatcher;
  readonly reads?: LentReads;
}

/** One pool for all clients of a process, made at the first send: a client a tenant costs nothing. */
export const pools: Readonly<Record<Route, () => Promise<Pool>>> = {
  provider: onceLoaded(() => createPool("provider")),
  poll: onceLoaded(() => createPool("poll")),
  stranger: onceLoaded(() => createPool("stranger")),
};

/**
 * How many polls are at one origin at once; the rest wait for their turn, however many jobs there
 * are. A create never waits: its time-out runs, and while it queued nobody could say whether it left.
 */
const mostPolls = 128;

async function createPool(route: Route): Promise<Pool> {
  const { Agent, buildConnector, EnvHttpProxyAgent } = await import("undici");
  const connections = route === "poll" ? mostPolls : null;
  if (hasProxy()) return { pool: new EnvHttpProxyAgent({ connections }) };
  const lookup = route === "stranger" ? { lookup: createGuardedLookup() } : {};
  const reads = new LentReads();
  // Its own port is not used: that of each origin is.
  const connector = buildConnector({ port: 0, onread: reads.onread, ...lookup });
  const pool = new Agent({
    connections,
    // One answer after the other on each socket: so a piece with the end of one holds no other's head.
    pipelining: 1,
    connect: connector,
  });
  return { pool, reads };
}

/** Whether the environment names a proxy. */
export function hasProxy(): boolean {
  const { env } = process;
  return Boolean(env.https_proxy || env.HTTPS_PROXY || env.http_proxy || env.HTTP_PROXY);
}
