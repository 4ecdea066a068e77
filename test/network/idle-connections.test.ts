import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { certificate } from "../support/certificate";
import { describeWith, freePorts } from "./support/daemon";
import { startHaproxy, startNginx } from "./support/servers";
import { clientAt, endOf } from "./support/trial";
import { startUpstream, type Upstream } from "./support/upstream";

/** One create, and how long its connection had been idle before it. */
interface Sent {
  readonly name: string;
  readonly idleMs: number;
  readonly problem: string | undefined;
}

/** So many origins side by side: creates of one origin would share their connections. */
const lanes = 128;

/**
 * Creates one after the other at each origin, with a wait before each but the first.
 * The waits are spread evenly, in an order that is the same in every run.
 */
async function sendAll(
  origins: readonly string[],
  rounds: number,
  [leastMs, mostMs]: readonly [number, number],
): Promise<readonly Sent[]> {
  const total = origins.length * rounds;
  const sent: Sent[] = [];
  const send = async (origin: string, lane: number) => {
    const client = clientAt(origin, { timeoutMs: 30_000 });
    const create = (prompt: string) => endOf((call) => client.generate({ prompt }, call));
    await create(`${lane}.0`);
    for (let round = 1; round <= rounds; round += 1) {
      // 1,009 is prime: a walk over all of them that jumps about.
      const place = ((lane * rounds + round) * 1_009) % total;
      const before = performance.now();
      await pause(leastMs + (place * (mostMs - leastMs)) / total);
      const idleMs = performance.now() - before;
      const name = `${lane}.${round}`;
      const { error } = await create(name);
      const problem = error && `${name}, idle for ${idleMs.toFixed(1)} ms: ${error.message}`;
      sent.push({ name, idleMs, problem });
    }
  };
  await Promise.all(origins.map(send));
  return sent;
}

/** Names of the creates that were the first on their connection, as the server before it told. */
function firstOnes({ creates }: Upstream): ReadonlySet<string> {
  return new Set(
    creates.filter(({ headers }) => headers["x-requests"] === "1").map(({ prompt }) => prompt),
  );
}

function expectSure(sent: readonly Sent[], upstream: Upstream, origins: number): void {
  expect(sent.flatMap(({ problem }) => problem ?? [])).toEqual([]);
  expect(upstream.creates.length).toBe(sent.length + origins);
  const first = firstOnes(upstream);
  // The client's own stamp can only be older than the one here; 10 ms are for its clock's grain.
  const late = sent.filter(({ name, idleMs }) => idleMs >= 510 && !first.has(name));
  expect(late.map(({ name, idleMs }) => `${name} after ${idleMs.toFixed(0)} ms`)).toEqual([]);
}

/** Otherwise nothing was shown: there were no idle connections. */
function expectReuse(sent: readonly Sent[], upstream: Upstream): void {
  const first = firstOnes(upstream);
  const early = sent.filter(({ idleMs }) => idleMs < 400);
  const reused = early.filter(({ name }) => !first.has(name));
  expect(reused.length).toBeGreaterThan(early.length / 2);
}

const keepAlive = (port: number) => ({
  server: `keepalive_timeout 1s;
    location / {
      proxy_pass http://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Requests $connection_requests;
    }`,
  http: `upstream upstream { server 127.0.0.1:${port}; keepalive ${lanes}; }`,
});

describeWith("nginx", () => {
  test("2,048 creates on connections that were idle for 0 to 1,100 ms, with keepalive_timeout 1s: none is perhaps charged", async () => {
    await using upstream = await startUpstream();
    const ports = await freePorts(lanes);
    const { server, http } = keepAlive(upstream.port);
    await using _nginx = await startNginx(server, { http, ports });
    const origins = ports.map((port) => `http://127.0.0.1:${port}`);
    const sent = await sendAll(origins, 16, [0, 1_100]);
    expectSure(sent, upstream, lanes);
    expectReuse(sent, upstream);
  }, 60_000);

  test("512 creates over TLS: none is perhaps charged", async () => {
    await using upstream = await startUpstream();
    const ports = await freePorts(lanes);
    const { server, http } = keepAlive(upstream.port);
    await using _nginx = await startNginx(server, { http, ports, certificate });
    const origins = ports.map((port) => `https://127.0.0.1:${port}`);
    const sent = await sendAll(origins, 4, [0, 1_100]);
    expectSure(sent, upstream, lanes);
    expectReuse(sent, upstream);
  }, 60_000);
});

describeWith("haproxy", () => {
  test("512 creates with `timeout http-keep-alive 1s`, whatever Keep-Alive the provider's own server tells: none is perhaps charged", async () => {
    await using upstream = await startUpstream();
    const ports = await freePorts(lanes);
    await using _haproxy = await startHaproxy(
      `  server a 127.0.0.1:${upstream.port}`,
      `  timeout http-keep-alive 1s
  http-request set-header X-Requests 1 if { http_first_req }
${ports.map((port) => `  bind 127.0.0.1:${port}`).join("\n")}`,
    );
    const origins = ports.map((port) => `http://127.0.0.1:${port}`);
    const sent = await sendAll(origins, 4, [0, 1_100]);
    expectSure(sent, upstream, lanes);
    expectReuse(sent, upstream);
  }, 60_000);
});
