import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Agent, type Dispatcher } from "undici";
import { afterEach, expect, test, vi } from "vitest";
import { bytesOf } from "../src/body";
import { ProviderClient } from "../src/client";
import { type ImageClientOptions, parseClientOptions } from "../src/client-options";
import type { Clock } from "../src/clock";
import { systemClock } from "../src/clock";
import { DownloadFault, TransportFault } from "../src/faults";
import { trinetra } from "../src/providers/index";
import { Transport, type TransportOptions } from "../src/transport";
import { TestClock } from "./support/clock";
import { deadPort, pixel, sendJson, startServer, type TestServer } from "./support/server";
import {
  aMoment,
  failureOf,
  prompt,
  providerOf,
  reasonOf,
  startStage,
  until,
} from "./support/stage";

const defaults: Omit<TransportOptions, "clock"> = {
  timeoutMs: 600_000,
  attemptTimeoutMs: 60_000,
  // What the guard lets through is another matter, and the servers here are this machine's.
  allowPrivateNetwork: true,
  trustedOrigin: "https://provider.example",
  maxAnswerBytes: 1024 * 1024,
  maxDownloadBytes: 1024 * 1024,
};

function transportWith(options: Partial<TransportOptions> = {}, clock: Clock = new TestClock()) {
  return new Transport({ ...defaults, clock, ...options });
}

const get = (url: string) => ({ method: "GET", url, headers: {} }) as const;
const limits = { timeoutMs: 60_000 };

async function faultOf(promise: Promise<unknown>): Promise<DownloadFault> {
  const reason = await reasonOf(promise);
  if (reason instanceof DownloadFault) return reason;
  throw new Error("it is no DownloadFault", { cause: reason });
}

afterEach(() => vi.unstubAllEnvs());

// ---- limits ----

test("an answer larger than maxAnswerBytes gives no answer, and a larger limit takes it", async () => {
  await using server = await startServer((_, response) =>
    sendJson(response, { text: "x".repeat(2_000) }),
  );
  const request = get(server.url);
  const small = reasonOf(transportWith({ maxAnswerBytes: 1_000 }).exchange(request, limits));
  expect(await small).toMatchObject({ name: "TransportFault", sent: true });
  expect(String(await small)).toMatch(/maxAnswerBytes/);
  const answer = await transportWith({ maxAnswerBytes: 3_000 }).exchange(request, limits);
  expect(answer.body).toEqual({ text: "x".repeat(2_000) });
});

test("the default limits are 256 MiB for an answer and for an image, and 2 MiB for what is no image", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const mebibyte = 1024 * 1024;
  const target = { provider: "shortapi", phase: "create", fault: "huge" } as const;
  const { maxAnswerBytes } = parseClientOptions({ provider: trinetra() });
  expect(maxAnswerBytes).toBe(256 * mebibyte);
  stage.sandbox.inject({ ...target, bytes: 2 * mebibyte });
  const client = stage.client("shortapi");
  expect((await client.generate({ prompt })).images).toHaveLength(1);
  stage.sandbox.inject({ ...target, bytes: 2 * mebibyte + 1 });
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ charged: "unknown" });
  expect(error.message).toContain(`${2 * mebibyte} bytes beside its images`);
  let length = 0;
  const server = await startServer((_, response) => {
    response.writeHead(200, { "content-length": 256 * mebibyte + 1 });
    response.flushHeaders();
  });
  await using _ = server;
  const provider = providerOf("openaiCompatible", { baseURL: server.url, apiKey: "k".repeat(9) });
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (init?.method === "GET") return globalThis.fetch(input, init);
    return Response.json({ data: [{ url: `${server.url}/huge.png` }] });
  };
  const { image } = await new ProviderClient({ provider, fetch }, stage.clock).generate({ prompt });
  const tooLarge = await failureOf(
    image.bytes().then((bytes) => {
      length = bytes.byteLength;
    }),
  );
  expect(tooLarge.message).toContain(String(256 * mebibyte));
  expect(length).toBe(0);
});

test.for(["create", "poll"] as const)(
  "a huge body in answer to a %s is cut off at the limit, not held in memory",
  async (phase) => {
    await using stage = await startStage({ jobDurationMs: 0 });
    const fault = { fault: "huge", bytes: 50_000_000, times: phase === "poll" ? 1 : 9 } as const;
    stage.sandbox.inject({ provider: "trinetra", phase, ...fault });
    const client = stage.client("trinetra", { maxAnswerBytes: 100_000 });
    if (phase === "poll") {
      expect((await client.generate({ prompt })).images).toHaveLength(1);
      expect(stage.count("poll")).toBe(2);
    } else {
      const error = await failureOf(client.generate({ prompt }));
      expect(error).toMatchObject({ name: "SubmissionUnknownError", charged: "unknown" });
    }
    expect(stage.count("create")).toBe(1);
  },
);

test("a huge image is a DownloadError after one download, whether or not its length is told", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const target = { provider: "trinetra", phase: "download" } as const;
  stage.sandbox.inject({ ...target, fault: "huge", bytes: 50_000_000 });
  const client = stage.client("trinetra", { maxDownloadBytes: 1_000_000 });
  const { image } = await client.generate({ prompt });
  const error = await failureOf(image.bytes());
  expect(error).toMatchObject({ name: "DownloadError", charged: "yes" });
  expect(error.message).toMatch(/maxDownloadBytes/);
  expect(stage.count("download")).toBe(1);
  // Without the fault the same URL serves, so that a length in the head is what is refused here.
  const tiny = stage.client("trinetra", { maxDownloadBytes: 50 });
  const told = await failureOf((await tiny.generate({ prompt })).image.bytes());
  expect(told.message).toContain("50 bytes");
  expect(stage.count("download")).toBe(2);
  expect((await image.bytes()).byteLength).toBeGreaterThan(50);
});

test("a body that is refused for the length in its head does not keep its connection", async () => {
  let closed = false;
  await using server = await startServer((_, response) => {
    response.on("close", () => {
      closed = true;
    });
    response.writeHead(200, { "content-length": 10_000_000 });
    response.flushHeaders();
  });
  const fault = await faultOf(transportWith().download(server.url, bytesOf));
  expect(fault.transient).toBe(false);
  await until(() => closed);
});

// ---- encodings ----

test.for([
  { encoding: "gzip", encode: gzipSync },
  { encoding: "br", encode: brotliCompressSync },
  { encoding: "deflate", encode: deflateSync },
  { encoding: "GZIP", encode: gzipSync },
  { encoding: "x-gzip", encode: gzipSync },
])("an answer in $encoding is read", async ({ encoding, encode }) => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": encoding, "content-type": "application/json" });
    response.end(encode(Buffer.from(JSON.stringify({ packed: true }))));
  });
  const answer = await transportWith({}, systemClock).exchange(get(server.url), limits);
  expect(answer.body).toEqual({ packed: true });
});

test("an answer that unpacks to more than the limit gives no answer", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    response.end(gzipSync(Buffer.alloc(5_000_000, " ")));
  });
  const reason = await reasonOf(transportWith({}, systemClock).exchange(get(server.url), limits));
  expect(reason).toBeInstanceOf(TransportFault);
  expect(reason).toMatchObject({ sent: true });
});

test("a packed answer to a fetch is not unpacked twice, and its length is not held against it", async () => {
  await using server = await startServer((_, response) => {
    const packed = gzipSync(pixel);
    response.writeHead(200, {
      ...{ "content-encoding": "gzip", "content-length": packed.byteLength },
      "content-type": "image/png",
    });
    response.end(packed);
  });
  const transport = transportWith({ fetch: globalThis.fetch }, systemClock);
  expect(pixel.equals(await transport.download(server.url, bytesOf))).toBe(true);
});

test("a CDN that packs an image though nobody asked it to is understood", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-type": "image/png" });
    response.end(gzipSync(pixel));
  });
  expect(pixel.equals(await transportWith({}, systemClock).download(server.url, bytesOf))).toBe(
    true,
  );
});

test("a packed image is held to its limit unpacked, and one that breaks off is fetched again", async () => {
  await using bomb = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    response.end(gzipSync(Buffer.alloc(5_000_000)));
  });
  const fault = await faultOf(transportWith({}, systemClock).download(bomb.url, bytesOf));
  expect(fault.message).toMatch(/maxDownloadBytes/);
  expect(bomb.requests).toHaveLength(1);
  let times = 0;
  await using server = await startServer((_, response) => {
    times += 1;
    const packed = brotliCompressSync(pixel);
    response.writeHead(200, { "content-encoding": "br", "content-length": packed.byteLength });
    if (times > 1) return response.end(packed);
    return response.write(packed.subarray(0, 20), () => response.socket?.destroy());
  });
  expect(pixel.equals(await transportWith({}, systemClock).download(server.url, bytesOf))).toBe(
    true,
  );
  expect(server.requests).toHaveLength(2);
});

test("a body that is not JSON is kept as the start of a text", async () => {
  await using server = await startServer((_, response) => {
    response.end(`<html>${"x".repeat(50_000)}`);
  });
  const answer = await transportWith({}, systemClock).exchange(get(server.url), limits);
  expect(answer.body).toBeUndefined();
  expect(answer.text).toMatch(/^<html>x+$/);
  expect(answer.text?.length).toBeLessThanOrEqual(5_000);
});

// ---- the caller's own dispatcher and fetch ----

test("a dispatcher of the caller's is called by its own `request` for everything, and never closed", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const agent = new Agent();
  const seen: string[] = [];
  const ended: string[] = [];
  const dispatcher = {
    prefix: "own",
    request(this: { prefix: string }, options: Dispatcher.RequestOptions) {
      seen.push(`${this.prefix} ${options.method}`);
      return agent.request(options);
    },
    close: () => ended.push("close"),
    destroy: () => ended.push("destroy"),
  };
  // As much of a Dispatcher as is called.
  const options = { dispatcher: dispatcher as unknown as Dispatcher };
  const client = stage.client("trinetra", options);
  const { image } = await client.generate({ prompt });
  await image.bytes();
  await client.close();
  expect(seen).toEqual(["own POST", "own GET", "own GET"]);
  expect(stage.sandbox.requests).toHaveLength(3);
  expect(ended).toEqual([]);
  await agent.close();
});

test("a fetch of the caller's is used for everything, with redirects left to us", async () => {
  await using stage = await startStage({ jobDurationMs: 0 });
  const seen: (readonly [string | undefined, string | undefined])[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    seen.push([init?.method, init?.redirect]);
    return globalThis.fetch(input, init);
  };
  const { image } = await stage.client("trinetra", { fetch }).generate({ prompt });
  await image.bytes();
  expect(seen).toEqual([
    ["POST", "manual"],
    ["GET", "manual"],
    ["GET", "manual"],
  ]);
  expect(stage.sandbox.requests).toHaveLength(3);
});

test("fetch and dispatcher together are refused", () => {
  const options = {
    provider: providerOf("trinetra", { baseURL: "https://provider.example", apiKey: "a-key" }),
    fetch: globalThis.fetch,
    dispatcher: new Agent(),
  };
  expect(() => new ProviderClient(options, systemClock)).toThrow(
    expect.objectContaining({ name: "InvalidRequestError", field: "options.dispatcher" }),
  );
});

test("a fetch that is deaf to its signal does not hang: neither at an abort nor at the time-out", async () => {
  const deaf: typeof globalThis.fetch = () => new Promise(() => {});
  const clock = new TestClock({ auto: false });
  const transport = transportWith({ fetch: deaf }, clock);
  const controller = new AbortController();
  const reason = { mine: true };
  const aborted = reasonOf(
    transport.exchange(get("https://provider.example/"), { ...limits, signal: controller.signal }),
  );
  controller.abort(reason);
  expect(await aborted).toBe(reason);
  const late = reasonOf(transport.exchange(get("https://provider.example/"), limits));
  await clock.advance(60_000);
  expect(await late).toMatchObject({ name: "TransportFault", sent: true, timeoutMs: 60_000 });
  const download = reasonOf(
    transport.download("https://127.0.0.1/", bytesOf, { signal: AbortSignal.timeout(5) }),
  );
  expect(await download).toMatchObject({ name: "TimeoutError" });
  expect(clock.pending).toBe(0);
});

test.for(["ECONNREFUSED", "ENOTFOUND"])(
  "a fetch that fails with %s in its cause has sent nothing; any other failure may have",
  async (code) => {
    const failing = (cause: Error) => () =>
      Promise.reject(new TypeError("fetch failed", { cause }));
    const request = get("https://provider.example/");
    const never = transportWith({ fetch: failing(Object.assign(new Error(code), { code })) });
    expect(await reasonOf(never.exchange(request, limits))).toMatchObject({ sent: false });
    const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
    const perhaps = transportWith({ fetch: failing(reset) });
    expect(await reasonOf(perhaps.exchange(request, limits))).toMatchObject({ sent: true });
  },
);

// ---- what was sent ----

test("a refused connection has sent nothing, a reset may have", async () => {
  const transport = transportWith();
  const refused = reasonOf(transport.exchange(get(`http://127.0.0.1:${await deadPort()}`), limits));
  expect(await refused).toMatchObject({ name: "TransportFault", sent: false });
  await using server = await startServer((_, response) => response.socket?.resetAndDestroy());
  const reset = reasonOf(transport.exchange(get(server.url), limits));
  expect(await reset).toMatchObject({ name: "TransportFault", sent: true });
});

test("a host that does not exist has been sent nothing", async () => {
  const request = get("http://no-such-host.invalid/");
  const reason = await reasonOf(transportWith({}, systemClock).exchange(request, limits));
  expect(reason).toMatchObject({ name: "TransportFault", sent: false });
});

test("a 4xx whose body breaks off still says no", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(402, { "content-length": 1_000 });
    response.write("{", () => response.socket?.destroy());
  });
  const answer = await transportWith().exchange(get(server.url), limits);
  expect(answer).toMatchObject({ status: 402, body: undefined });
  const provider = providerOf("trinetra", { baseURL: server.url, apiKey: "a-key" });
  const client = new ProviderClient({ provider }, new TestClock());
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
  expect(server.requests).toHaveLength(2);
});

test("a 2xx whose body breaks off is no answer", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-length": 1_000 });
    response.write("{}", () => response.socket?.destroy());
  });
  const reason = await reasonOf(transportWith().exchange(get(server.url), limits));
  expect(reason).toMatchObject({ name: "TransportFault", sent: true });
});

test("an exchange that is aborted beforehand sends nothing", async () => {
  await using server = await startServer((_, response) => sendJson(response, {}));
  const signal = AbortSignal.abort("before");
  const aborted = transportWith().exchange(get(server.url), { ...limits, signal });
  expect(await reasonOf(aborted)).toBe("before");
  await aMoment();
  expect(server.requests).toHaveLength(0);
});

// ---- the network guard ----

const picture = (response: Parameters<Parameters<typeof startServer>[0]>[1]) => {
  response.writeHead(200, { "content-type": "image/png" });
  response.end(pixel);
};

test.for([
  "http://127.0.0.1:PORT/x.png",
  "http://localhost:PORT/x.png",
  "http://pictures.localhost:PORT/x.png",
  "http://0x7f000001:PORT/x.png",
  "http://[::ffff:127.0.0.1]:PORT/x.png",
  "http://[::1]:PORT/x.png",
  "http://169.254.169.254/latest/meta-data/",
  "http://10.0.0.1/x.png",
  "http://user:secret@127.0.0.1:PORT/x.png",
  "file:///etc/passwd",
  "ftp://example.com/x.png",
  "not a URL",
])("a result URL %s is refused unless its host is the provider's own", async (template) => {
  await using server = await startServer((_, response) => picture(response));
  const url = template.replace("PORT", String(server.port));
  for (const fetch of [undefined, globalThis.fetch]) {
    const transport = transportWith({ allowPrivateNetwork: false, fetch });
    const fault = await faultOf(transport.download(url, bytesOf));
    expect(fault.transient).toBe(false);
    expect(fault.message).not.toContain("secret");
  }
  expect(server.requests).toHaveLength(0);
});

test("the provider's own origin is let through, not its host on every port, and with allowPrivateNetwork any", async () => {
  await using server = await startServer((_, response) => picture(response));
  await using other = await startServer((_, response) => picture(response));
  const url = `${server.url}/x.png`;
  for (const fetch of [undefined, globalThis.fetch]) {
    const own = transportWith({ allowPrivateNetwork: false, trustedOrigin: server.url, fetch });
    expect(pixel.equals(await own.download(url, bytesOf))).toBe(true);
    const { transient, message } = await faultOf(own.download(`${other.url}/x.png`, bytesOf));
    expect([transient, message]).toEqual([false, expect.stringContaining("allowPrivateNetwork")]);
  }
  const allowed = transportWith({ allowPrivateNetwork: true });
  expect(pixel.equals(await allowed.download(url, bytesOf))).toBe(true);
  expect(server.requests).toHaveLength(3);
  expect(other.requests).toHaveLength(0);
});

test("a result URL is asked for as URLs are written: encoded, and without a fragment", async () => {
  await using server = await startServer(({ path }, response) => {
    if (path !== "/redirect") return picture(response);
    response.writeHead(302, { location: "/moved.png?sig=1#part" });
    return response.end();
  });
  const dispatcher = new Agent();
  const urls = [
    "/x.png?sig=1#part",
    "/x.png#part?b=1",
    "/x.png?name=a b",
    "/é.png?name=日本",
    "/redirect",
  ];
  for (const own of [{}, { dispatcher }, { fetch: globalThis.fetch }]) {
    const transport = transportWith(own);
    for (const url of urls) await transport.download(`${server.url}${url}`, bytesOf);
  }
  await dispatcher.close();
  const asked = [
    "/x.png?sig=1",
    "/x.png",
    "/x.png?name=a%20b",
    "/%C3%A9.png?name=%E6%97%A5%E6%9C%AC",
    "/redirect",
    "/moved.png?sig=1",
  ];
  expect(server.requests.map(({ path }) => path)).toEqual([...asked, ...asked, ...asked]);
});

test("a redirect whose body never ends does not keep its connection", async () => {
  const sockets = new Set<Socket>();
  await using server = await startServer(({ path }, response) => {
    if (path !== "/") return picture(response);
    if (response.socket !== null) sockets.add(response.socket);
    response.writeHead(302, { location: "/there.png", "content-length": "10" });
    return response.write("abc");
  });
  const bytes = await transportWith({}, systemClock).download(server.url, bytesOf);
  expect(pixel.equals(bytes)).toBe(true);
  await until(() => [...sockets].every((socket) => socket.destroyed));
  expect(sockets.size).toBe(1);
});

test("a packed body that is corrupt ends its download, and its connection", async () => {
  const sockets = new Set<Socket>();
  await using server = await startServer((_, response) => {
    if (response.socket !== null) sockets.add(response.socket);
    response.writeHead(200, { "content-encoding": "gzip" });
    response.write(Buffer.alloc(1_000, 1));
  });
  await faultOf(transportWith().download(server.url, bytesOf));
  await until(() => [...sockets].every((socket) => socket.destroyed));
  expect(sockets.size).toBeGreaterThan(0);
});

test("a redirect to a private address is refused, though the first URL is good", async () => {
  await using inner = await startServer((_, response) => picture(response));
  await using outer = await startServer((_, response) => {
    // Another name for this machine, which is not the provider's.
    response.writeHead(302, { location: `http://localhost:${inner.port}/x.png` });
    response.end();
  });
  const guarded = transportWith({ allowPrivateNetwork: false, trustedOrigin: outer.url });
  const fault = await faultOf(guarded.download(outer.url, bytesOf));
  expect(fault.transient).toBe(false);
  expect(outer.requests).toHaveLength(1);
  expect(inner.requests).toHaveLength(0);
});

test("a name that resolves to a private address is refused as the connection is made", async () => {
  const dns = await import("node:dns");
  await using server = await startServer((_, response) => picture(response));
  const lookup = vi
    .spyOn(dns.default, "lookup")
    .mockImplementation(((
      _: string,
      __: object,
      callback: (error: null, addresses: object[]) => void,
    ) => callback(null, [{ address: "127.0.0.1", family: 4 }])) as unknown as typeof dns.lookup);
  try {
    vi.resetModules();
    const fresh = await import("../src/transport");
    const options = { ...defaults, clock: systemClock, allowPrivateNetwork: false };
    const url = `http://rebound.example:${server.port}/x.png`;
    const reason = await reasonOf(new fresh.Transport(options).download(url, bytesOf));
    expect(reason).toMatchObject({ name: "DownloadFault", transient: false });
    expect(lookup).toHaveBeenCalled();
    expect(server.requests).toHaveLength(0);
  } finally {
    lookup.mockRestore();
  }
});

async function startRedirects(count: number): Promise<TestServer> {
  return startServer((request, response) => {
    const hop = Number(request.path.slice(1));
    if (hop >= count) return picture(response);
    response.writeHead(302, { location: `/${hop + 1}` });
    return response.end();
  });
}

test("five redirects are followed, a sixth is not", async () => {
  await using five = await startRedirects(5);
  const bytes = await transportWith().download(`${five.url}/0`, bytesOf);
  expect(pixel.equals(bytes)).toBe(true);
  expect(five.requests).toHaveLength(6);
  await using six = await startRedirects(6);
  const fault = await faultOf(transportWith().download(`${six.url}/0`, bytesOf));
  expect(fault.message).toMatch(/five redirects/);
  expect(fault.transient).toBe(false);
  expect(six.requests).toHaveLength(6);
});

// ---- downloads ----

test("a truncated download is repeated, and nothing of the first half is kept", async () => {
  let times = 0;
  await using server = await startServer((_, response) => {
    times += 1;
    if (times > 2) return picture(response);
    response.writeHead(200, { "content-length": pixel.byteLength });
    return response.write(pixel.subarray(0, 20), () => response.socket?.destroy());
  });
  const retries: number[] = [];
  const bytes = await transportWith().download(server.url, bytesOf, {
    onRetry: (delayMs) => retries.push(delayMs),
  });
  expect(pixel.equals(bytes)).toBe(true);
  expect(server.requests).toHaveLength(3);
  expect(retries).toHaveLength(2);
});

test("a download is tried five times at most", async () => {
  await using server = await startServer((_, response) => sendJson(response, {}, 503));
  const fault = await faultOf(transportWith().download(server.url, bytesOf));
  expect(fault).toMatchObject({ status: 503, transient: true });
  expect(server.requests).toHaveLength(5);
});

test.for([400, 401, 403, 404, 410])(
  "a download that answers %i is not repeated",
  async (status) => {
    await using server = await startServer((_, response) => sendJson(response, {}, status));
    const fault = await faultOf(transportWith().download(server.url, bytesOf));
    expect(fault).toMatchObject({ status, transient: false });
    expect(fault.expired).toBe(status === 403 || status === 404 || status === 410);
    expect(server.requests).toHaveLength(1);
  },
);

test("the time-out of a download is for its silence, not for its length", async () => {
  const clock = new TestClock({ auto: false });
  let write: (bytes: Uint8Array) => void = () => {};
  let end: () => void = () => {};
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-length": pixel.byteLength });
    response.flushHeaders();
    write = (bytes) => response.write(bytes);
    end = () => response.end();
  });
  let received = 0;
  const download = transportWith({}, clock).download(server.url, async (body) => {
    await body.each((chunk) => {
      received += chunk.byteLength;
      return undefined;
    });
    return received;
  });
  await until(() => server.requests.length === 1);
  await aMoment();
  for (let sent = 0; sent < pixel.byteLength; sent += 10) {
    await clock.advance(59_000);
    const part = pixel.subarray(sent, sent + 10);
    write(part);
    await until(() => received === Math.min(sent + 10, pixel.byteLength));
  }
  end();
  expect(await download).toBe(pixel.byteLength);
  expect(clock.elapsedMs).toBeGreaterThan(300_000);
  expect(server.requests).toHaveLength(1);
});

test("a download that falls silent is tried again", async () => {
  const clock = new TestClock({ auto: false });
  let times = 0;
  await using server = await startServer((_, response) => {
    times += 1;
    if (times > 1) return picture(response);
    response.writeHead(200, { "content-length": pixel.byteLength });
    return response.write(pixel.subarray(0, 10));
  });
  const reasons: unknown[] = [];
  const download = transportWith({}, clock).download(server.url, bytesOf, {
    onRetry: (_, error) => reasons.push(error),
  });
  await until(() => server.requests.length === 1);
  await aMoment();
  await clock.advance(60_000);
  await until(() => reasons.length === 1);
  expect(String(reasons[0])).toContain("Nothing came for 60000 ms");
  await clock.advance(2_000);
  expect(pixel.equals(await download)).toBe(true);
  expect(server.requests).toHaveLength(2);
});

test("a reader's own error ends a download at once and is not taken for the network's", async () => {
  await using server = await startServer((_, response) => picture(response));
  const full = Object.assign(new Error("the disk is full"), { code: "ENOSPC" });
  const fault = await faultOf(transportWith().download(server.url, () => Promise.reject(full)));
  expect(fault).toMatchObject({ transient: false, cause: full });
  expect(server.requests).toHaveLength(1);
});

test("an abort between two attempts of a download ends it with the caller's reason", async () => {
  await using server = await startServer((_, response) => sendJson(response, {}, 503));
  const controller = new AbortController();
  const clock = new TestClock({ auto: false });
  const download = reasonOf(
    transportWith({}, clock).download(server.url, bytesOf, { signal: controller.signal }),
  );
  await until(() => server.requests.length === 1);
  await aMoment();
  controller.abort("enough");
  expect(await download).toBe("enough");
  await clock.advance(60_000);
  await aMoment();
  expect(server.requests).toHaveLength(1);
  expect(clock.pending).toBe(0);
});

// ---- the shared pool ----

test("many clients share one pool: their requests come over the same connection", async () => {
  const ports = new Set<number | undefined>();
  await using server = await startServer((_, response) => {
    ports.add(response.socket?.remotePort);
    sendJson(response, { data: [{ b64_json: pixel.toString("base64") }] });
  });
  const options: ImageClientOptions = {
    provider: providerOf("openaiCompatible", { baseURL: server.url, apiKey: "a-key" }),
  };
  for (let index = 0; index < 5; index += 1) {
    await new ProviderClient(options, systemClock).generate({ prompt });
    await pause(1);
  }
  expect(server.requests).toHaveLength(5);
  expect(ports.size).toBe(1);
});

test("a refusal whose body never ends is a refusal all the same, and its URL is asked for anew", async () => {
  await using server = await startServer((_request, response) => {
    response.writeHead(404, { "content-type": "text/plain" });
    response.flushHeaders();
  });
  const transport = transportWith({}, systemClock);
  const fault = await faultOf(transport.download(`${server.url}/gone.png`, async () => 1));
  expect(fault).toMatchObject({ status: 404, transient: false, expired: true });
  expect(server.requests).toHaveLength(1);
});
