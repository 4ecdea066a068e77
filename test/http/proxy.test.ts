import dns from "node:dns";
import { once } from "node:events";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { buildConnector } from "undici";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Clock, systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { bytesOf } from "../../src/http/body";
import { proxyFor } from "../../src/http/proxy-environment";
import { Transport, type TransportOptions } from "../../src/http/transport";
import { createTunnelConnector } from "../../src/http/tunnel";
import { memoryJournal } from "../../src/journal/journal";
import { certificate } from "../support/certificate";
import { TestClock } from "../support/clock";
import {
  type Answering,
  answering,
  refusing,
  startProxy,
  stubProxies,
  tunnelling,
} from "../support/proxy";
import { deadPort, pixel, sendJson, startServer } from "../support/server";
import { aMoment, failureOf, prompt, providerOf, reasonOf, until } from "../support/stage";

// What proxies do, on real sockets: connections are counted at the proxy, creates at the provider.

const names = ["openaiCompatible", "trinetra"] as const;
const idempotencyKey = "order-1";
const apiKey = "sk-test-0123456789";

function clientOf(
  name: (typeof names)[number],
  baseURL: string,
  options: Partial<ImageClientOptions> = {},
  clock: Clock = new TestClock(),
): ProviderClient {
  return new ProviderClient(
    { provider: providerOf(name, { baseURL, apiKey }), poll: 1_000, ...options },
    clock,
  );
}

const defaults: Omit<TransportOptions, "clock"> = {
  timeoutMs: 600_000,
  attemptTimeoutMs: 60_000,
  allowPrivateNetwork: false,
  trustedOrigin: "https://provider.example",
  maxAnswerBytes: 1024 * 1024,
  maxDownloadBytes: 1024 * 1024,
};
const transportWith = (options: Partial<TransportOptions> = {}) =>
  new Transport({ ...defaults, clock: systemClock, ...options });

const image = { data: [{ b64_json: pixel.toString("base64") }] };
const startProvider = () => startServer((_, response) => sendJson(response, image));

/** An image provider behind TLS; counts what it was sent. */
async function startTlsProvider() {
  let creates = 0;
  const server = createTlsServer(certificate, (request, response) => {
    creates += 1;
    request.resume().on("end", () => sendJson(response, image));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A server that listens to TCP has the address of one.
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://provider.example:${port}`,
    get creates() {
      return creates;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

beforeEach(() => stubProxies());
afterEach(() => vi.unstubAllEnvs());

// ---- through a proxy ----

test("a create and its download go through the proxy of the environment, each as a tunnel", async () => {
  await using proxy = await startProxy();
  await using server = await startServer(({ method, path }, response) => {
    if (method === "POST") {
      return sendJson(response, { data: [{ url: `http://provider.example:${server.port}/1` }] });
    }
    expect(path).toBe("/1");
    return response.end(pixel);
  });
  stubProxies({ HTTP_PROXY: proxy.url });
  const client = clientOf("openaiCompatible", `http://provider.example:${server.port}`);
  const result = await client.generate({ prompt });
  expect(pixel.equals(await result.image.bytes())).toBe(true);
  const authority = `provider.example:${server.port}`;
  expect(proxy.asked).toEqual([
    `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\nproxy-connection: keep-alive\r\n\r\n`,
    `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\nproxy-connection: keep-alive\r\n\r\n`,
  ]);
});

test.for(["http", "https"] as const)("TLS goes through an %s proxy", async (scheme) => {
  // Nobody has signed the test's certificate.
  vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
  await using proxy = await startProxy(tunnelling, scheme);
  await using server = await startTlsProvider();
  stubProxies({ HTTPS_PROXY: proxy.url });
  const result = await clientOf("openaiCompatible", server.url).generate({ prompt });
  expect(pixel.equals(await result.image.bytes())).toBe(true);
  expect(proxy.asked).toHaveLength(1);
  expect(server.creates).toBe(1);
});

test("a certificate that is not trusted is no connection, through a proxy as well", async () => {
  await using proxy = await startProxy();
  await using server = await startTlsProvider();
  stubProxies({ HTTPS_PROXY: proxy.url });
  const error = await failureOf(clientOf("openaiCompatible", server.url).generate({ prompt }));
  expect(error).toMatchObject({ name: "ProviderUnavailableError", charged: "no" });
  expect(server.creates).toBe(0);
  expect(proxy.connections).toBe(3);
});

test("NO_PROXY is heeded, and what the variables become during the process", async () => {
  await using proxy = await startProxy();
  await using other = await startProxy();
  await using server = await startProvider();
  const client = clientOf("openaiCompatible", server.url);
  const seen = async (values: Readonly<Record<string, string>>) => {
    stubProxies(values);
    await client.generate({ prompt });
    return [proxy.connections, other.connections];
  };
  expect(await seen({})).toEqual([0, 0]);
  expect(await seen({ HTTP_PROXY: proxy.url })).toEqual([1, 0]);
  expect(await seen({ HTTP_PROXY: proxy.url, NO_PROXY: "127.0.0.1" })).toEqual([1, 0]);
  expect(await seen({ HTTP_PROXY: other.url })).toEqual([1, 1]);
  expect(await seen({ HTTP_PROXY: " " })).toEqual([1, 1]);
  expect(server.requests).toHaveLength(5);
});

test("user and password are told to the proxy alone", async () => {
  await using proxy = await startProxy();
  await using server = await startProvider();
  stubProxies({ HTTP_PROXY: proxy.url.replace("//", "//user:pass%40word@") });
  await clientOf("openaiCompatible", server.url).generate({ prompt });
  const credentials = Buffer.from("user:pass@word").toString("base64");
  expect(proxy.asked[0]).toContain(`\r\nproxy-authorization: Basic ${credentials}\r\n`);
  expect(server.requests[0]?.headers).not.toHaveProperty("proxy-authorization");
});

// ---- proxies that do not connect ----

const silent: Answering = () => {};
const failures: readonly (readonly [string, Answering, number])[] = [
  ["refuses with 403", refusing(403), 1],
  ["refuses with 407", refusing(407), 1],
  ["refuses with 502", refusing(502), 3],
  ["refuses with 503", refusing(503), 3],
  ["resets", (socket) => socket.resetAndDestroy(), 3],
  ["ends the connection", (socket) => socket.end(), 3],
  ["breaks off in its response", answering("HTTP/1.1 200 Conn"), 3],
  ["does not speak HTTP", answering("SSH-2.0-OpenSSH\r\n\r\n"), 1],
  ["answers without end", (socket) => socket.write("x".repeat(100_000)), 1],
];

test.for(failures.flatMap((failure) => names.map((name) => [name, ...failure] as const)))(
  "a create of %s through a proxy that %s has sent nothing and leaves its key free",
  async ([name, , reply, connections]) => {
    let works = false;
    await using proxy = await startProxy((socket, head) =>
      works ? tunnelling(socket, head) : reply(socket, head),
    );
    await using server = await startServer((_, response) =>
      sendJson(response, { ...image, id: "job-1", status: "queued" }),
    );
    stubProxies({ HTTP_PROXY: proxy.url.replace("//", "//user:s3cret@") });
    const journal = memoryJournal();
    const client = clientOf(name, server.url, { journal });
    const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
    expect(error).toMatchObject({
      ...{ name: "ProviderUnavailableError", charged: "no" },
      retryable: connections > 1,
    });
    expect(error.message).toContain(`The proxy ${proxy.url} `);
    expect(JSON.stringify([error, error.message, String(error.cause)])).not.toContain("s3cret");
    expect(proxy.connections).toBe(connections);
    works = true;
    const job = await client.submit({ prompt }, { idempotencyKey });
    expect(job.reference.tasks).not.toMatchObject([{ state: "unknown" }]);
    expect(server.requests.map(({ method }) => method)).toEqual(["POST"]);
  },
);

test("what a 407 wants, and where, stands in the error", async () => {
  await using proxy = await startProxy(refusing(407));
  stubProxies({ HTTP_PROXY: proxy.url });
  const error = await failureOf(
    clientOf("trinetra", "http://provider.example").generate({ prompt }),
  );
  expect(error.message).toMatch(/407.*user and a password, in HTTP_PROXY/);
});

test.for(names)("a create of %s through a silent proxy ends at the time-out", async (name) => {
  await using proxy = await startProxy(silent);
  stubProxies({ HTTP_PROXY: proxy.url });
  const clock = new TestClock({ auto: false });
  const journal = memoryJournal();
  const options = { journal, timeoutMs: 5_000 };
  const client = clientOf(name, "http://provider.example", options, clock);
  const failure = failureOf(client.generate({ prompt }, { idempotencyKey }));
  await until(() => proxy.asked.length === 1);
  await clock.advance(5_000);
  expect(await failure).toMatchObject({ name: "TimeoutError", charged: "no" });
  expect(clock.elapsedMs).toBe(5_000);
  await aMoment();
  for await (const each of journal.list()) throw new Error(`left in the journal: ${each.id}`);
});

test("a silent proxy is given up by itself, too", async () => {
  await using proxy = await startProxy(silent);
  stubProxies({ HTTPS_PROXY: proxy.url });
  const found = proxyFor(new URL("https://provider.example"));
  if (found === undefined) throw new Error("there is no proxy");
  const connect = createTunnelConnector(buildConnector, found, 20);
  const options = { hostname: "provider.example", protocol: "https:", port: "" };
  const error = await new Promise((resolve) => {
    connect(options, (...[reason]) => resolve(reason));
  });
  expect(error).toMatchObject({ name: "ProxyError", transient: true });
  expect(String(error)).toContain("did not answer within 20 ms");
  expect(proxy.connections).toBe(1);
});

test("a proxy that cannot be reached is no connection, and is named", async () => {
  const port = await deadPort();
  stubProxies({ HTTP_PROXY: `http://user:s3cret@127.0.0.1:${port}` });
  const error = await failureOf(
    clientOf("openaiCompatible", "http://provider.example/").generate({ prompt }),
  );
  expect(error).toMatchObject({ name: "ProviderUnavailableError", charged: "no", retryable: true });
  expect(error.message).toContain(`The proxy http://127.0.0.1:${port} cannot be reached`);
  expect(error.message).not.toMatch(/s3cret|user/);
});

test.for(names)(
  "a variable that holds no proxy is named, and nothing is sent: %s",
  async (name) => {
    await using server = await startProvider();
    stubProxies({ HTTP_PROXY: "socks5://user:s3cret@127.0.0.1:1080" });
    const journal = memoryJournal();
    const client = clientOf(name, server.url, { journal });
    const error = await failureOf(client.generate({ prompt }, { idempotencyKey }));
    expect(error).toMatchObject({ charged: "no", retryable: false });
    expect(error.message).toMatch(/HTTP_PROXY.*socks5:\/\/127\.0\.0\.1:1080/);
    expect(error.message).not.toMatch(/s3cret/);
    expect(server.requests).toHaveLength(0);
    for await (const each of journal.list()) throw new Error(`left in the journal: ${each.id}`);
  },
);

test("polls through a proxy that fails come on their schedule, and no more often", async () => {
  for (const reply of [refusing(502), refusing(407), (socket) => socket.end()] as Answering[]) {
    await using proxy = await startProxy(reply);
    stubProxies();
    await using server = await startServer((_, response) =>
      sendJson(response, { id: "job-1", status: "queued" }),
    );
    const clock = new TestClock();
    const client = clientOf("trinetra", server.url, {}, clock);
    const job = await client.submit({ prompt });
    stubProxies({ HTTP_PROXY: proxy.url });
    const error = await failureOf(job.result({ timeoutMs: 10_500 }));
    expect(error).toMatchObject({ name: "TimeoutError", charged: "unknown" });
    expect(proxy.connections).toBeGreaterThanOrEqual(8);
    expect(proxy.connections).toBeLessThanOrEqual(11);
  }
});

test("a download is tried again where the proxy's failure may pass, and only there", async () => {
  const tries = async (reply: Answering) => {
    await using proxy = await startProxy(reply);
    stubProxies({ HTTP_PROXY: proxy.url });
    const download = transportWith({ clock: new TestClock() }).download(
      "http://provider.example/1.png",
      bytesOf,
    );
    expect(await reasonOf(download)).toMatchObject({ name: "DownloadFault" });
    return proxy.connections;
  };
  expect(await tries(refusing(407))).toBe(1);
  expect(await tries(refusing(503))).toBe(5);
});

// ---- the guard ----

/** `dns.lookup` that leads this name to a public address first, and to this machine ever after. */
function rebinding(name: string) {
  let asked = 0;
  const real = dns.lookup;
  // As much of it as is called here.
  const fake = (
    hostname: string,
    options: dns.LookupAllOptions,
    callback: (error: Error | null, addresses: dns.LookupAddress[]) => void,
  ) => {
    if (hostname !== name) return real(hostname, options, callback);
    asked += 1;
    const address = asked === 1 ? "93.184.216.34" : "127.0.0.1";
    return callback(null, [{ address, family: 4 }]);
  };
  const spy = vi.spyOn(dns, "lookup").mockImplementation(fake as unknown as typeof dns.lookup);
  return { spy, [Symbol.dispose]: () => spy.mockRestore() };
}

test.for([
  ["only https has one", () => ({ HTTPS_PROXY: "http://127.0.0.1:1" })],
  [
    "NO_PROXY names the host",
    () => ({ HTTP_PROXY: "http://127.0.0.1:1", NO_PROXY: "stranger.test" }),
  ],
  ["there was one before", () => ({})],
] as const)(
  "a name that is bound anew reaches nothing private where no proxy is in the way: %s",
  async ([, environment]) => {
    await using server = await startServer((_, response) => response.end(pixel));
    await using proxy = await startProxy();
    // Connections are made anew, and those through a proxy first.
    vi.resetModules();
    const fresh = await import("../../src/http/transport");
    const transport = new fresh.Transport({ ...defaults, clock: new TestClock() });
    stubProxies({ HTTP_PROXY: proxy.url });
    await transport.download(`http://public.test:${server.port}/`, bytesOf);
    using _ = rebinding("stranger.test");
    stubProxies(environment());
    const url = `http://stranger.test:${server.port}/`;
    await reasonOf(transport.download(url, bytesOf));
    expect(await reasonOf(transport.download(url, bytesOf))).toMatchObject({
      ...{ name: "DownloadFault", transient: false },
      message: expect.stringContaining("127.0.0.1"),
    });
    expect(server.requests).toHaveLength(1);
  },
);

test("behind a proxy a URL, and what its name leads to here, is looked at beforehand", async () => {
  await using proxy = await startProxy();
  stubProxies({ HTTP_PROXY: proxy.url });
  const transport = transportWith();
  for (const url of ["http://127.0.0.1:1/x.png", "http://localhost:1/x.png", "http://[::1]:1/x"]) {
    expect(await reasonOf(transport.download(url, bytesOf))).toMatchObject({
      ...{ name: "DownloadFault", transient: false },
    });
  }
  const private_ = vi
    .spyOn(dns, "lookup")
    .mockImplementation(((
      _: string,
      __: object,
      callback: (error: null, addresses: object[]) => void,
    ) => callback(null, [{ address: "10.0.0.7", family: 4 }])) as unknown as typeof dns.lookup);
  const inside = await reasonOf(transport.download("http://stranger.test/x", bytesOf));
  private_.mockRestore();
  expect(inside).toMatchObject({ name: "DownloadFault", transient: false });
  expect(proxy.connections).toBe(0);
});
