import { request } from "node:http";
import { connect } from "node:net";
import { type ImageClientOptions, memoryJournal } from "gpt-image-client";
import { expect, test, vi } from "vitest";
import { startRawServer } from "../support/raw-server";
import { type Daemon, deadPort, describeWith, type Program } from "./support/daemon";
import { startSquid, startTinyproxy } from "./support/servers";
import { endOf, expectOnPage, prompt, type Row, type Seen, seen, testRows } from "./support/trial";
import { startUpstream } from "./support/upstream";

/** A client whose process has this proxy in its environment: the shared pool is made of that once. */
async function freshClient(
  proxy: string,
  origin: string,
  options: Partial<ImageClientOptions> = {},
) {
  vi.resetModules();
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY"]) vi.stubEnv(name, proxy);
  const { createImageClient, openaiCompatible } = await import("gpt-image-client");
  const provider = openaiCompatible({
    baseURL: `${origin}/v1`,
    apiKey: "sk-test-0123456789abcdef",
  });
  return createImageClient({ provider, timeoutMs: 8_000, ...options });
}

async function generateThrough(proxy: string, origin: string) {
  const client = await freshClient(proxy, origin);
  return endOf((call) => client.generate({ prompt }, call));
}

/** What the proxy answers a plain CONNECT with. */
function statusOfConnect(proxy: string, origin: string): Promise<number> {
  const { host } = new URL(origin);
  return new Promise((resolve, reject) => {
    const asked = request(proxy, { method: "CONNECT", path: host });
    asked.once("connect", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    asked.once("error", reject);
    asked.end();
  });
}

/** Stands before a proxy, and counts who comes. Where it leads may change. */
async function startCounter(first: number) {
  let target = first;
  const server = await startRawServer((socket) => {
    const onward = connect(target, "127.0.0.1");
    onward.on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy());
    onward.on("close", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  return {
    url: server.url,
    get connections() {
      return server.sockets.size;
    },
    leadTo(port: number) {
      target = port;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A generation through a proxy that lets nobody through to the provider. */
async function refusedBy(proxy: Daemon, origin: string): Promise<Seen> {
  await using counter = await startCounter(proxy.port);
  const end = await generateThrough(counter.url, origin);
  // A proxy that says no is not asked for ever.
  expect(counter.connections).toBeGreaterThanOrEqual(1);
  expect(counter.connections).toBeLessThanOrEqual(3);
  const answers = String(await statusOfConnect(proxy.url, origin));
  return { ...seen(end, 0), answers };
}

/** What the two are told, each in its own words. */
interface Proxy {
  readonly start: (lines?: string) => Promise<Daemon>;
  readonly refusing: string;
  readonly asking: string;
  readonly impatient: string;
  readonly rows: Readonly<Record<"ports" | "time-out", string>>;
  readonly unreachable: string;
}

const proxies: Readonly<Record<"squid" | "tinyproxy", Proxy>> = {
  squid: {
    start: (lines = "http_access allow localhost") => startSquid(lines),
    refusing: `acl SSL_ports port 443
http_access deny CONNECT !SSL_ports
http_access allow localhost`,
    asking: `auth_param basic program /usr/lib/squid/basic_fake_auth
acl known proxy_auth REQUIRED
http_access allow known`,
    impatient: "http_access allow localhost\nread_timeout 1 second",
    rows: {
      ports:
        "the provider's port is not 443 (`http_access deny CONNECT !SSL_ports`, as Debian has it)",
      "time-out": "`read_timeout` (15 min) passes before the provider answers",
    },
    unreachable: "503",
  },
  tinyproxy: {
    start: (lines) => startTinyproxy(lines),
    refusing: "ConnectPort 443",
    asking: "BasicAuth user password",
    impatient: "Timeout 1",
    rows: {
      ports: "the provider's port is not one of `ConnectPort`",
      "time-out": "`Timeout` (10 min) passes before the provider answers",
    },
    unreachable: "500",
  },
};

function rowsOf({ start, refusing, asking, impatient, rows, unreachable }: Proxy): readonly Row[] {
  const through =
    (scheme: "http" | "https", lines?: string, credentials = "") =>
    async () => {
      await using upstream = await startUpstream({ answers: "image" }, scheme);
      await using proxy = await start(lines);
      const url = proxy.url.replace("//", `//${credentials}`);
      return seen(await generateThrough(url, upstream.url), upstream.creates.length);
    };
  const refused = (lines: string) => async () => {
    await using upstream = await startUpstream();
    await using proxy = await start(lines);
    const result = await refusedBy(proxy, upstream.url);
    return { ...result, creates: upstream.creates.length };
  };
  return [
    {
      what: "CONNECT to a provider over HTTP",
      ...{ answers: "200", creates: 1, says: "the image" },
      run: through("http"),
    },
    {
      what: "CONNECT to a provider over HTTPS",
      ...{ answers: "200", creates: 1, says: "the image" },
      run: through("https"),
    },
    {
      what: rows.ports,
      ...{ answers: "403", creates: 0, says: "no" },
      run: refused(refusing),
    },
    {
      what: "it wants a password, and `HTTPS_PROXY` has none",
      ...{ answers: "407", creates: 0, says: "no" },
      run: refused(asking),
    },
    {
      what: "it wants a password, and `HTTPS_PROXY` has it",
      ...{ answers: "200", creates: 1, says: "the image" },
      run: through("https", asking, "user:password@"),
    },
    {
      what: "the provider cannot be reached",
      ...{ answers: unreachable, creates: 0, says: "no" },
      async run() {
        await using proxy = await start();
        return await refusedBy(proxy, `http://127.0.0.1:${await deadPort()}`);
      },
    },
    {
      what: rows["time-out"],
      ...{ answers: "nothing", creates: 1, says: "unknown" },
      async run() {
        await using upstream = await startUpstream({ answers: "image", afterMs: 4_000 });
        await using proxy = await start(impatient);
        const end = await generateThrough(proxy.url, upstream.url);
        return seen(end, upstream.creates.length);
      },
    },
  ];
}

function testsOf(program: Program & keyof typeof proxies): void {
  const proxy = proxies[program];
  const rows = rowsOf(proxy);

  test(`the page tells of ${program} what these tests show`, () => expectOnPage(program, rows));

  describeWith(program, () => {
    testRows(rows);

    test("a create that it refused leaves its key free: the same call buys once the proxy lets it through", async () => {
      await using upstream = await startUpstream();
      await using closed = await proxy.start(proxy.refusing);
      await using open = await proxy.start();
      await using counter = await startCounter(closed.port);
      const client = await freshClient(counter.url, upstream.url, { journal: memoryJournal() });
      const buy = () => client.generate({ prompt }, { idempotencyKey: "order-1" });
      await expect(buy()).rejects.toMatchObject({ charged: "no" });
      counter.leadTo(open.port);
      expect((await buy()).images).toHaveLength(1);
      expect(upstream.creates).toHaveLength(1);
    });
  });
}

testsOf("squid");
testsOf("tinyproxy");
