import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { OrderRecord } from "gpt-image-client/gateway";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { expect, test } from "vitest";
import { isPng } from "./stage";

const script = fileURLToPath(new URL("process.ts", import.meta.url));

/** A gateway in a process that is killed and started again, over one store. */
class KilledGateway implements AsyncDisposable {
  #child: ChildProcess | undefined;
  #origin = "";

  private constructor(
    readonly sandbox: Sandbox,
    readonly directory: string,
    readonly settings: object,
  ) {}

  static async open(provider: "shortapi" | "openaiCompatible", isJournaled = false) {
    const sandbox = await startSandbox({ jobDurationMs: 700, plainImages: true });
    const directory = await mkdtemp(join(tmpdir(), "gateway-store-"));
    const journal = isJournaled ? join(directory, "journal") : undefined;
    const settings = { provider, access: sandbox[provider], directory, journal };
    const gateway = new KilledGateway(sandbox, directory, settings);
    await gateway.start();
    return gateway;
  }

  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", script, JSON.stringify(this.settings)],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    this.#child = child;
    this.#origin = await new Promise<string>((resolve, reject) => {
      child.stdout?.once("data", (line) => resolve(String(line).trim()));
      child.once("exit", (code) => reject(new Error(`The gateway ended with ${code}`)));
    });
  }

  /** As the kernel does when there is no memory left. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  ask(key?: string, signal?: AbortSignal): Promise<Received> {
    const asking = fetch(`${this.#origin}/v1/images/generations`, {
      method: "POST",
      headers: {
        authorization: "Bearer key-of-anna",
        "content-type": "application/json",
        ...(key !== undefined && { "idempotency-key": key }),
      },
      body: JSON.stringify({ prompt: "test of a web", size: "1024x1024" }),
      ...(signal !== undefined && { signal }),
    });
    return asking.then(async (response) => {
      // What the gateway says.
      return { status: response.status, ...((await response.json()) as object) };
    });
  }

  async creates(count: number): Promise<void> {
    const seen = () => this.sandbox.jobs.length;
    while (seen() < count) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Until the store holds an order of which this is true. */
  async kept(isSo: (record: OrderRecord) => boolean): Promise<void> {
    for (;;) {
      // Not by the store's own listing, which is for one gateway alone and tidies up.
      for (const name of await readdir(this.directory)) {
        if (!/^order-.*\.json$/.test(name)) continue;
        // What a gateway has put there, whole.
        const text = await readFile(join(this.directory, name), "utf8");
        if (isSo(JSON.parse(text) as OrderRecord)) return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.sandbox.close();
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

interface Received {
  readonly status: number;
  readonly job?: string;
  readonly data?: readonly { readonly b64_json: string }[];
  readonly error?: { readonly charged: string };
}

test("killed while a job runs, it gives the picture to the next equal request", async () => {
  await using gateway = await KilledGateway.open("shortapi");
  const lost = gateway.ask().catch((error: unknown) => error);
  await gateway.creates(1);
  await gateway.kept(({ reference }) => reference !== undefined);
  await gateway.kill();
  expect(await lost).toBeInstanceOf(TypeError);
  await gateway.start();
  const { status, data } = await gateway.ask();
  expect(status).toBe(200);
  expect(isPng(data?.[0]?.b64_json)).toBe(true);
  expect(gateway.sandbox.charges).toHaveLength(1);
}, 180_000);

test.each([false, true])(
  "killed while the provider's response is the picture, it says that this may have cost money (journal: %s)",
  async (isJournaled) => {
    await using gateway = await KilledGateway.open("openaiCompatible", isJournaled);
    const lost = gateway.ask().catch((error: unknown) => error);
    await gateway.creates(1);
    await gateway.kill();
    await lost;
    await gateway.start();
    const { status, error } = await gateway.ask();
    expect({ status, charged: error?.charged }).toEqual({ status: 424, charged: "unknown" });
    // It was told, once: whoever orders again after that has decided to.
    expect((await gateway.ask()).status).toBe(200);
    expect(gateway.sandbox.charges).toHaveLength(2);
  },
  180_000,
);

test("killed after the picture came and before anybody received it, it has the picture still", async () => {
  await using gateway = await KilledGateway.open("openaiCompatible");
  const leaving = new AbortController();
  const left = gateway.ask(undefined, leaving.signal).catch((error: unknown) => error);
  await gateway.creates(1);
  leaving.abort();
  await left;
  await gateway.kept(({ end }) => end !== undefined);
  await gateway.kill();
  await gateway.start();
  const { status, data } = await gateway.ask();
  expect(status).toBe(200);
  expect(isPng(data?.[0]?.b64_json)).toBe(true);
  expect(gateway.sandbox.charges).toHaveLength(1);
}, 180_000);

test("killed after the picture was received, it gives the same one again under the same key", async () => {
  await using gateway = await KilledGateway.open("openaiCompatible");
  const first = await gateway.ask("order 17");
  await gateway.kill();
  await gateway.start();
  const again = await gateway.ask("order 17");
  expect(again).toEqual(first);
  expect(gateway.sandbox.charges).toHaveLength(1);
  // Without the key it is another order.
  expect((await gateway.ask()).job).not.toBe(first.job);
}, 180_000);
