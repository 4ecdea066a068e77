import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Agent, type Dispatcher } from "undici";
import { afterEach, expect, test, vi } from "vitest";
import { systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import { parseClientOptions } from "../../src/client-options";
import { bytesOf } from "../../src/http/body";
import { TransportFault } from "../../src/http/faults";
import { trinetra } from "../../src/providers/index";
import { TestClock } from "../support/clock";
import { deadPort, pixel, sendJson, startServer } from "../support/server";
import {
  aMoment,
  failureOf,
  prompt,
  providerOf,
  reasonOf,
  startStage,
  until,
} from "../support/stage";
import { faultOf, transportWith } from "./transport-support";

const get = (url: string) => ({ method: "GET", url, headers: {} }) as const;
const limits = { timeoutMs: 60_000 };

afterEach(() => vi.unstubAllEnvs());

// ---- limits ----

test("a response larger than maxAnswerBytes gives no response, and a larger limit takes it", async () => {
  await using server = await startServer((_, response) =>
    sendJson(response, { text: "x".repeat(2_000) }),
  );
  const request = get(server.url);
  const small = reasonOf(transportWith({ maxAnswerBytes: 1_000 }).exchange(request, limits));
  expect(await small).toMatchObject({ name: "TransportFault", sent: true });
  expect(String(await small)).toMatch(/maxAnswerBytes/);
  const reply = await transportWith({ maxAnswerBytes: 3_000 }).exchange(request, limits);
  expect(reply.body).toEqual({ text: "x".repeat(2_000) });
});

test("the default limits are 256 MiB for a response and for an image, and 2 MiB for what is no image", async () => {
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
  "a huge body in reply to a %s is cut off at the limit, not held in memory",
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
])("a response in $encoding is read", async ({ encoding, encode }) => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": encoding, "content-type": "application/json" });
    response.end(encode(Buffer.from(JSON.stringify({ packed: true }))));
  });
  const reply = await transportWith({}, systemClock).exchange(get(server.url), limits);
  expect(reply.body).toEqual({ packed: true });
});

test("a response that unpacks to more than the limit gives no response", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    response.end(gzipSync(Buffer.alloc(5_000_000, " ")));
  });
  const reason = await reasonOf(transportWith({}, systemClock).exchange(get(server.url), limits));
  expect(reason).toBeInstanceOf(TransportFault);
  expect(reason).toMatchObject({ sent: true });
});

test("a packed response to a fetch is not unpacked twice, and its length is not held against it", async () => {
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
  const reply = await transportWith({}, systemClock).exchange(get(server.url), limits);
  expect(reply.body).toBeUndefined();
  expect(reply.text).toMatch(/^<html>x+$/);
  expect(reply.text?.length).toBeLessThanOrEqual(5_000);
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
  const reply = await transportWith().exchange(get(server.url), limits);
  expect(reply).toMatchObject({ status: 402, body: undefined });
  const provider = providerOf("trinetra", { baseURL: server.url, apiKey: "a-key" });
  const client = new ProviderClient({ provider }, new TestClock());
  const error = await failureOf(client.generate({ prompt }));
  expect(error).toMatchObject({ name: "InsufficientCreditsError", charged: "no" });
  expect(server.requests).toHaveLength(2);
});

test("a 2xx whose body breaks off is no response", async () => {
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
