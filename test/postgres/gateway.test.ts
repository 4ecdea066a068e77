import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { GatewayStore } from "gpt-image-client/gateway";
import { createPostgresGatewayStore, migrate } from "gpt-image-client/postgres";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isPng } from "../doors/gateway/stage";
import { storeContract } from "../doors/gateway/store-contract";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

const script = fileURLToPath(new URL("gateway-process.ts", import.meta.url));
const leaseMs = 1_500;

interface Received {
  readonly status: number;
  readonly job?: string;
  readonly data?: readonly { readonly b64_json: string }[];
  readonly error?: { readonly charged: string; readonly code: string };
}

/** A gateway of a machine of its own: it shares no disk with the other. */
class Gateway implements AsyncDisposable {
  private constructor(
    readonly child: ChildProcess,
    readonly origin: string,
    readonly directory: string,
  ) {}

  static async start(settings: object): Promise<Gateway> {
    const directory = await mkdtemp(join(tmpdir(), "gateway-machine-"));
    const given = JSON.stringify({ ...settings, directory, leaseMs });
    const child = spawn(process.execPath, ["--import", "tsx", script, given], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const origin = await new Promise<string>((resolve, reject) => {
      child.stdout.once("data", (line) => resolve(String(line).trim()));
      child.once("exit", (code) => reject(new Error(`The gateway ended with ${code}`)));
    });
    return new Gateway(child, origin, directory);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }

  async once(key: string): Promise<Received> {
    const response = await fetch(`${this.origin}/v1/images/generations`, {
      method: "POST",
      headers: {
        authorization: "Bearer key-of-anna",
        "content-type": "application/json",
        "idempotency-key": key,
      },
      body: JSON.stringify({ prompt: `test of ${key}`, size: "1024x1024" }),
    });
    // What the gateway says.
    return { status: response.status, ...((await response.json()) as object) };
  }

  /** As a client does that obeys a 503. */
  async ask(key: string): Promise<Received> {
    for (;;) {
      const received = await this.once(key);
      if (received.status !== 503) return received;
      await pause(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }
}

describeWithPostgres("the store of gateways", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start();
  });

  afterAll(() => server[Symbol.asyncDispose]());

  storeContract("PostgreSQL", async () => {
    const pool = server.pool(await server.createDatabase());
    await migrate(pool);
    return {
      open: (directory): GatewayStore => createPostgresGatewayStore(pool, { directory }),
      end: () => pool.end(),
    };
  });

  /** More purchases than orders, in any try: these no repetition may hide. */
  const tooMany: number[] = [];
  afterAll(() => expect(tooMany).toEqual([]));

  function purchases({ charges }: Sandbox, most: number): number {
    if (charges.length > most) tooMany.push(charges.length);
    return charges.length;
  }

  // Leases of seconds run out in a process that a busy machine does not let run: one in eleven did not end
  // as it should, beside others.
  const processes = { timeout: 120_000, retry: 2 };

  /** Two gateways over one database, and what they order from. */
  async function openTwo(provider: "shortapi" | "openaiCompatible", jobDurationMs = 20) {
    const sandbox = await startSandbox({ jobDurationMs, plainImages: true });
    const url = server.url(await server.createDatabase());
    const settings = { provider, access: sandbox[provider], url };
    const first = await Gateway.start(settings);
    // It has the lease before the other one asks for it.
    await first.ask("warm-up");
    const second = await Gateway.start(settings);
    return {
      ...{ sandbox, first, second },
      async [Symbol.asyncDispose]() {
        for (const each of [second, first, sandbox]) await each[Symbol.asyncDispose]();
      },
    };
  }

  test(
    "one that is killed while a job runs has it paid for once, and the other gives the picture",
    processes,
    async () => {
      await using gateways = await openTwo("shortapi", 1_000);
      const { sandbox, first, second } = gateways;
      expect((await second.once("order")).error).toMatchObject({ code: "standby", charged: "no" });
      const polls = () => sandbox.requests.filter(({ phase }) => phase === "poll").length;
      const before = polls();
      const lost = first.ask("order").catch((error: unknown) => error);
      // Killed between the provider's response and its record it would be of unknown fate.
      while (polls() === before) await pause(5);
      await first.kill();
      expect(await lost).toBeInstanceOf(TypeError);
      const { status, data } = await second.ask("order");
      expect(status).toBe(200);
      expect(isPng(data?.[0]?.b64_json)).toBe(true);
      expect(purchases(sandbox, 2)).toBe(2);
    },
  );

  test(
    "one that is killed after it gave a picture leaves it to the other, on another machine",
    processes,
    async () => {
      await using gateways = await openTwo("openaiCompatible");
      const { sandbox, first, second } = gateways;
      const before = await first.ask("order");
      await first.kill();
      const after = await second.ask("order");
      expect([after.status, after.job]).toEqual([200, before.job]);
      expect(after.data?.[0]?.b64_json).toBe(before.data?.[0]?.b64_json);
      expect(purchases(sandbox, 2)).toBe(2);
    },
  );

  test(
    "one that was stopped for longer than its lease buys nothing that the other has bought",
    processes,
    async () => {
      await using gateways = await openTwo("openaiCompatible");
      const { sandbox, first, second } = gateways;
      first.child.kill("SIGSTOP");
      const late = ["a", "b", "c"].map((key) => first.once(key));
      const ours = await Promise.all(["a", "b", "c"].map((key) => second.ask(key)));
      expect(ours.map(({ status }) => status)).toEqual([200, 200, 200]);
      first.child.kill("SIGCONT");
      const theirs = await Promise.all(late);
      for (const { status, error } of theirs) {
        expect({ status, charged: error?.charged }).toEqual({ status: 503, charged: "no" });
      }
      expect(purchases(sandbox, 1 + 3)).toBe(1 + 3);
    },
  );

  test(
    "two that are asked for the same orders at once, and of which one is killed, buy none twice",
    processes,
    async () => {
      await using gateways = await openTwo("openaiCompatible");
      const { sandbox, first, second } = gateways;
      const keys = Array.from({ length: 12 }, (_, index) => `order ${index}`);
      let turn = 0;
      /** A load balancer that gives each attempt to the next one. */
      const balanced = async (key: string): Promise<Received> => {
        for (;;) {
          turn += 1;
          const gateway = turn % 2 === 0 ? first : second;
          const received = await gateway.once(key).catch(() => undefined);
          if (received !== undefined && received.status !== 503 && received.status !== 429) {
            return received;
          }
          await pause(100);
        }
      };
      // Some are over when it is killed, and some on their way.
      const early = Promise.all(keys.slice(0, 3).map(balanced));
      const works = keys.flatMap((key) => [balanced(key), balanced(key)]);
      await early;
      await first.kill();
      const ends = await Promise.all(works);
      const bought = purchases(sandbox, 1 + keys.length) - 1;
      console.log(`${bought} purchases for ${keys.length} keys, one of two gateways killed`);
      const delivered = keys.filter((_, index) =>
        [2 * index, 2 * index + 1].some((each) => ends[each]?.status === 200),
      );
      // What had been kept and not sent, or sent and not answered, is of unknown fate.
      expect(ends.every(({ status }) => status === 200 || status === 424)).toBe(true);
      expect(delivered.length).toBeGreaterThanOrEqual(3);
      expect(bought).toBeGreaterThanOrEqual(delivered.length);
      expect(bought).toBeLessThanOrEqual(keys.length);
    },
  );
});
