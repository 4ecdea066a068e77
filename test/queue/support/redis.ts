import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePort } from "../../postgres/support/server";
import { pathTo as programIn } from "../../support/programs";

export function redisPath(): string | undefined {
  return programIn("redis-server", (process.env.PATH ?? "").split(":"));
}

const running = new Set<RedisServer>();
process.once("exit", () => {
  for (const server of running) server.kill();
});

/** A Redis of the tests' own that writes each command to its disk before it answers. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.#folder = folder;
  }

  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), mkdtempSync(join(tmpdir(), "redis-")));
    await server.restart();
    return server;
  }

  /** Starts it, after a stop or for the first time, with what is on its disk. */
  async restart(): Promise<void> {
    const path = redisPath();
    if (path === undefined) throw new Error("redis-server is not installed");
    const options = [
      ...["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.#folder, "--save", ""],
      ...["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"],
    ];
    const bare: [string, string[]] = [path, options];
    // On Linux it does not outlive this process.
    const [program, args] =
      process.platform === "linux" ? ["setpriv", ["--pdeathsig=KILL", ...bare.flat()]] : bare;
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    running.add(this);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk));
    for (let tries = 0; tries < 600 && child.exitCode === null; tries += 1) {
      const client = new Redis({ port: this.port, lazyConnect: true, retryStrategy: () => null });
      client.on("error", () => {});
      try {
        await client.connect();
        await client.ping();
        return;
      } catch {
        await pause(50);
      } finally {
        client.disconnect();
      }
    }
    throw new Error(`Redis did not come up:\n${output}`);
  }

  /** A crash: nothing is written any more. */
  async crash(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    running.delete(this);
  }

  kill(): void {
    this.#process?.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
