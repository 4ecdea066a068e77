import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { buildConnector, Client } from "undici";
import { afterEach, expect, test, vi } from "vitest";
import { LightAbortSignal } from "../../src/async/clock";
import { bytesOf } from "../../src/http/body";
import { CreateConnections } from "../../src/http/create-connections";
import { dispatch, opened } from "../../src/http/dispatch";
import { loadUndici } from "../../src/http/load-undici";
import { poolFor } from "../../src/http/pools";
import { proxyFor } from "../../src/http/proxy-environment";
import { createTunnelConnector } from "../../src/http/tunnel";
import { startProxy, stubProxies } from "../support/proxy";
import { startRawServer } from "../support/raw-server";
import { deadPort } from "../support/server";
import { reasonOf, until } from "../support/stage";

afterEach(() => vi.unstubAllEnvs());

/** The two clocks, in the hands of a test. */
class Clocks {
  monotonicMs = 1_000;
  systemMs = 1_000_000;

  now(): number {
    return this.monotonicMs;
  }

  wallTime(): number {
    return this.systemMs;
  }

  pass(ms: number): void {
    this.monotonicMs += ms;
    this.systemMs += ms;
  }
}

const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/** A provider that counts requests by connection, and answers when it is told where `answers` is false. */
async function startProvider({ answers = true, head = ok } = {}) {
  /** For each connection in its order, how many creates came on it. */
  const creates: number[] = [];
  const waiting: Socket[] = [];
  const server = await startRawServer((socket) => {
    const place = creates.push(0) - 1;
    socket.on("data", (piece) => {
      const count = piece.toString("latin1").split("POST / HTTP/1.1\r\n").length - 1;
      creates[place] = (creates[place] ?? 0) + count;
      if (answers) socket.write(head);
      else waiting.push(socket);
    });
    socket.on("end", () => socket.end());
  });
  return {
    url: server.url,
    creates,
    waiting,
    get open() {
      return [...server.sockets].filter(({ destroyed }) => !destroyed).length;
    },
    answerAll() {
      for (const socket of waiting.splice(0)) socket.write(ok);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function connections(clocks: Clocks, connect = buildConnector({ port: 0 })): CreateConnections {
  return new CreateConnections(Client, connect, clocks);
}

interface Sending {
  readonly signal?: LightAbortSignal;
  readonly stop?: LightAbortSignal;
  readonly onSending?: () => void;
}

async function create(pool: CreateConnections, origin: string, sending: Sending = {}) {
  const { signal = new LightAbortSignal(), ...ends } = sending;
  const options = { origin, path: "/", method: "POST", body: "{}" } as const;
  const { status, body } = await dispatch(pool, options, { signal, ...ends }, opened);
  await bytesOf(body);
  // A connection is free again a turn after the response.
  await turn();
  await turn();
  return status;
}

test("a create leaves on a connection that has been idle for less than 500 ms", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  for (let count = 0; count < 4; count += 1) {
    expect(await create(pool, provider.url)).toBe(200);
    clocks.pass(499);
  }
  expect(provider.creates).toEqual([4]);
});

test("after 500 ms it leaves on a new one, and the old one is closed", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  await create(pool, provider.url);
  clocks.pass(500);
  await create(pool, provider.url);
  expect(provider.creates).toEqual([1, 1]);
  await until(() => provider.open === 1);
});

test("how long a response took is not idle time", async () => {
  await using provider = await startProvider({ answers: false });
  const clocks = new Clocks();
  const pool = connections(clocks);
  const slow = create(pool, provider.url);
  await until(() => provider.waiting.length === 1);
  clocks.pass(120_000);
  provider.answerAll();
  await slow;
  const next = create(pool, provider.url);
  await until(() => provider.waiting.length === 1);
  provider.answerAll();
  await next;
  expect(provider.creates).toEqual([2]);
});

test("a machine that slept does not use its old connections, though its monotonic clock stood still", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  await create(pool, provider.url);
  clocks.systemMs += 500;
  await create(pool, provider.url);
  expect(provider.creates).toEqual([1, 1]);
});

test("a system's clock that is set back keeps no connection alive", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  await create(pool, provider.url);
  clocks.pass(500);
  clocks.systemMs -= 3_600_000;
  await create(pool, provider.url);
  expect(provider.creates).toEqual([1, 1]);
});

test("a create whose connection grew old before it was written leaves on a new one, and once", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  await create(pool, provider.url);
  clocks.pass(499);
  let begun = 0;
  const late = create(pool, provider.url, { onSending: () => (begun += 1) });
  // undici looks at a connection that was used before for a turn of the event loop before it writes.
  clocks.pass(1);
  expect(await late).toBe(200);
  expect(begun).toBe(1);
  expect(provider.creates).toEqual([1, 1]);
});

test("a create whose caller leaves meanwhile does not leave on the new one either", async () => {
  await using provider = await startProvider();
  const clocks = new Clocks();
  const pool = connections(clocks);
  await create(pool, provider.url);
  clocks.pass(499);
  const [signal, reason] = [new LightAbortSignal(), new Error("The caller has left")];
  let begun = 0;
  const late = reasonOf(create(pool, provider.url, { signal, onSending: () => (begun += 1) }));
  clocks.pass(1);
  signal.abort(reason);
  expect(await late).toBe(reason);
  await until(() => provider.open === 0);
  expect(begun).toBe(0);
  expect(provider.creates.reduce((sum, count) => sum + count)).toBe(1);
});

test("creates at once have a connection each, and all of them stay in use", async () => {
  await using provider = await startProvider({ answers: false });
  const clocks = new Clocks();
  const pool = connections(clocks);
  const three = [1, 2, 3].map(() => create(pool, provider.url));
  await until(() => provider.waiting.length === 3);
  provider.answerAll();
  await Promise.all(three);
  // One at a time, each on the connection that has been idle for longest.
  for (let count = 0; count < 6; count += 1) {
    clocks.pass(200);
    const next = create(pool, provider.url);
    await until(() => provider.waiting.length === 1);
    provider.answerAll();
    await next;
  }
  // The third had been idle for 600 ms at its turn: two are enough for one create in 200 ms.
  await until(() => provider.open === 2);
  expect(provider.creates.reduce((sum, count) => sum + count)).toBe(9);
});

test("connections that are too old are closed on the way to one that is not", async () => {
  await using provider = await startProvider({ answers: false });
  const clocks = new Clocks();
  const pool = connections(clocks);
  const three = [1, 2, 3].map(() => create(pool, provider.url));
  await until(() => provider.waiting.length === 3);
  const [last, ...others] = provider.waiting.splice(0);
  for (const socket of others) socket.write(ok);
  await Promise.race(three);
  await until(() => provider.open === 3);
  clocks.pass(499);
  last?.write(ok);
  await Promise.all(three);
  clocks.pass(1);
  const next = create(pool, provider.url);
  await until(() => provider.waiting.length === 1);
  provider.answerAll();
  await next;
  expect([...provider.creates].sort()).toEqual([1, 1, 2]);
  await until(() => provider.open === 1);
});

test("idle connections that no create asks for are closed, whatever Keep-Alive the server offers", async () => {
  const head = ok.replace("\r\n", "\r\nkeep-alive: timeout=600\r\n");
  await using provider = await startProvider({ head });
  const pool = connections(new Clocks());
  await create(pool, provider.url);
  expect(provider.open).toBe(1);
  await until(() => provider.open === 0);
  await create(pool, provider.url);
  expect(provider.creates).toEqual([1, 1]);
});

test("a server that closes after each response is given a new connection for each create", async () => {
  const head = ok.replace("\r\n", "\r\nconnection: close\r\n");
  await using provider = await startProvider({ head });
  const pool = connections(new Clocks());
  for (let count = 0; count < 3; count += 1) await create(pool, provider.url);
  expect(provider.creates).toEqual([1, 1, 1]);
});

test("a connection that cannot be made fails its create, and the next one tries anew", async () => {
  const pool = connections(new Clocks());
  const origin = `http://127.0.0.1:${await deadPort()}`;
  for (let count = 0; count < 2; count += 1) {
    expect(await reasonOf(create(pool, origin))).toMatchObject({ code: "ECONNREFUSED" });
  }
});

test("a create that broke off leaves no connection behind", async () => {
  await using provider = await startProvider({ answers: false });
  const pool = connections(new Clocks());
  const signal = new LightAbortSignal();
  const reason = new Error("Enough");
  const broken = reasonOf(create(pool, provider.url, { signal }));
  await until(() => provider.waiting.length === 1);
  signal.abort(reason);
  expect(await broken).toBe(reason);
  await until(() => provider.open === 0);
  provider.waiting.length = 0;
  const next = create(pool, provider.url);
  await until(() => provider.waiting.length === 1);
  provider.answerAll();
  expect(await next).toBe(200);
  expect(provider.creates).toEqual([1, 1]);
});

test("through a proxy a create opens another tunnel after 500 ms, and not before", async () => {
  await using provider = await startProvider();
  await using proxy = await startProxy();
  stubProxies({ HTTP_PROXY: proxy.url });
  const url = new URL(provider.url.replace("127.0.0.1", "provider.example"));
  const given = proxyFor(url);
  if (given === undefined) throw new Error("There is a proxy");
  const clocks = new Clocks();
  const pool = connections(clocks, createTunnelConnector(buildConnector, given));
  await create(pool, url.origin);
  clocks.pass(499);
  await create(pool, url.origin);
  expect(proxy.asked).toHaveLength(1);
  clocks.pass(500);
  await create(pool, url.origin);
  expect(proxy.asked).toHaveLength(2);
  expect(provider.creates).toEqual([2, 1]);
});

test("creates alone are so careful: what may be asked again keeps its connections", async () => {
  const undici = await loadUndici();
  stubProxies({ HTTP_PROXY: "http://127.0.0.1:3128" });
  for (const proxy of [undefined, proxyFor(new URL("http://provider.example"))]) {
    const dispatcherOf = (route: "create" | "poll" | "download" | "stranger") =>
      poolFor(undici, route, proxy).dispatcher;
    expect(dispatcherOf("create")).toBeInstanceOf(CreateConnections);
    for (const route of ["poll", "download", "stranger"] as const) {
      expect(dispatcherOf(route)).toBeInstanceOf(undici.Agent);
    }
  }
});
