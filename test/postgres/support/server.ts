import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, mkdtempSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client, Pool, type PoolConfig } from "pg";
import { pathTo as programIn } from "../../support/programs";

/** Debian keeps the server's programs where nobody's PATH looks, a folder for each version. */
function folders(): string[] {
  const debian = "/usr/lib/postgresql";
  let versions: string[] = [];
  try {
    versions = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
  } catch {
    // It is no Debian, or has none.
  }
  const others = (process.env.PATH ?? "").split(delimiter);
  return [...versions.map((version) => join(debian, version, "bin")), ...others];
}

export function pathTo(program: string): string | undefined {
  return programIn(program, folders());
}

/** `nobody`: the server refuses to run as root. */
const unprivilegedId = 65_534;
const isRoot = process.getuid?.() === 0;

/** A program as an unprivileged user, who on Linux does not outlive this process. */
function unprivileged(program: string, args: readonly string[]): [string, string[]] {
  const path = pathTo(program);
  if (path === undefined) throw new Error(`${program} is not installed`);
  if (process.platform !== "linux") return [path, [...args]];
  const user = [`--reuid=${unprivilegedId}`, `--regid=${unprivilegedId}`, "--clear-groups"];
  return ["setpriv", ["--pdeathsig=KILL", ...(isRoot ? user : []), path, ...args]];
}

const running = new Set<PostgresServer>();
process.once("exit", () => {
  for (const server of running) server.kill();
});

/** A PostgreSQL of the tests' own: a data directory that goes with it, and a port on loopback. */
export class PostgresServer implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  #process: ChildProcess | undefined;
  #databases = 0;
  readonly #pools = new Set<Pool>();

  readonly #maxConnections: number;

  private constructor(port: number, folder: string, maxConnections: number) {
    this.port = port;
    this.#folder = folder;
    this.#maxConnections = maxConnections;
  }

  static async start({ maxConnections = 80 } = {}): Promise<PostgresServer> {
    const folder = mkdtempSync(join(tmpdir(), "postgres-"));
    if (isRoot) chownSync(folder, unprivilegedId, unprivilegedId);
    const [program, args] = unprivileged("initdb", [
      ...["-D", join(folder, "data"), "-U", "postgres", "--auth=trust", "--no-sync"],
      ...["--encoding=UTF8", "--locale=C.UTF-8"],
    ]);
    execFileSync(program, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    const server = new PostgresServer(await freePort(), folder, maxConnections);
    await server.restart();
    return server;
  }

  /** Starts it, after a stop or for the first time, and waits until it takes connections. */
  async restart(): Promise<void> {
    const [program, args] = unprivileged("postgres", [
      ...["-D", join(this.#folder, "data"), "-p", String(this.port), "-k", this.#folder],
      ...["-c", "listen_addresses=127.0.0.1", "-c", `max_connections=${this.#maxConnections}`],
    ]);
    const child = spawn(program, args, { cwd: this.#folder, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    running.add(this);
    let output = "";
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk));
    for (let tries = 0; tries < 600; tries += 1) {
      if (child.exitCode !== null) break;
      const client = new Client(this.#config("postgres"));
      client.on("error", () => {});
      try {
        await client.connect();
        await client.end();
        return;
      } catch {
        await pause(50);
      }
    }
    throw new Error(`PostgreSQL did not come up:\n${output}`);
  }

  /** `"immediate"` is a crash: what was not flushed is lost, and the next start recovers from the log. */
  async stop(how: "fast" | "immediate"): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(how === "fast" ? "SIGINT" : "SIGQUIT");
    await ended;
    running.delete(this);
  }

  kill(): void {
    this.#process?.kill("SIGQUIT");
  }

  #config(database: string): PoolConfig {
    return { host: "127.0.0.1", port: this.port, user: "postgres", database };
  }

  /** The address of a database, for a process of its own. */
  url(database: string, port = this.port): string {
    return `postgres://postgres@127.0.0.1:${port}/${database}`;
  }

  /** A new database, with nothing in it. */
  async createDatabase(): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    await this.sql(`CREATE DATABASE ${name}`, "postgres");
    return name;
  }

  /** Statements over a connection of their own. */
  async sql(text: string, database: string): Promise<Record<string, unknown>[]> {
    const client = new Client(this.#config(database));
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** A pool that is ended with the server. */
  pool(database: string, options: PoolConfig = {}): Pool {
    const pool = new Pool({ ...this.#config(database), ...options });
    this.#pools.add(pool);
    return pool;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#pools].map((pool) => pool.ended || pool.end()));
    await this.stop("immediate");
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Below those that systems hand out by themselves, so that no connection takes it meanwhile. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
