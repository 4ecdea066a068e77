import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { systemClock } from "../../src/async/clock";
import { ProviderClient } from "../../src/client";
import type { ImageClientOptions } from "../../src/client-options";
import { bytesOf } from "../../src/http/body";
import { TestClock } from "../support/clock";
import { pixel, sendJson, startServer } from "../support/server";
import { aMoment, prompt, providerOf, reasonOf, until } from "../support/stage";
import { faultOf, picture, transportWith } from "./transport-support";

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
