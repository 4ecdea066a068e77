import type { Socket } from "node:net";
import { Agent } from "undici";
import { expect, test, vi } from "vitest";
import { systemClock } from "../../src/async/clock";
import { bytesOf } from "../../src/http/body";
import { pixel, startServer, type TestServer } from "../support/server";
import { reasonOf, until } from "../support/stage";
import { defaults, faultOf, picture, transportWith } from "./transport-support";

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
    const fresh = await import("../../src/http/transport");
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
