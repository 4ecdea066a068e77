import { type ChildProcess, spawn } from "node:child_process";
import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, test } from "vitest";
import { pathTo } from "../../support/programs";

/** The programs that the tests run, each with the Debian package that brings it. */
const packages = {
  nginx: "nginx",
  varnishd: "varnish",
  haproxy: "haproxy",
  squid: "squid",
  tinyproxy: "tinyproxy-bin",
} as const;

export type Program = keyof typeof packages;

/** Debian keeps servers where an ordinary user's PATH does not look. */
const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];

/** Tests that need a program: skipped with one line where it is missing, which in CI is a failure. */
export function describeWith(program: Program, tests: () => void): void {
  const isMissing = pathTo(program, folders) === undefined;
  const sentence = `${program} is not installed (Debian: apt-get install ${packages[program]})`;
  if (isMissing && process.env.CI) {
    test(`${program} is installed`, () => {
      throw new Error(`${sentence}, and in CI nothing may be skipped`);
    });
  } else if (isMissing) {
    console.warn(`${sentence}: its tests are skipped`);
  }
  describe.skipIf(isMissing)(program, tests);
}

/** Where a server of a test's own runs. */
export interface Place {
  /** Gone when the server has ended. */
  readonly folder: string;
  readonly port: number;
}

/** What a program is started with. */
export interface Setup {
  /** Written into the folder first: names and contents. */
  readonly files?: Readonly<Record<string, string>>;
  readonly args: readonly string[];
}

export interface Daemon extends AsyncDisposable, Place {
  readonly url: string;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** `nobody`: what runs here needs no rights. */
const unprivilegedId = 65_534;

/**
 * Starts a program in the foreground, without privileges, and waits until its port takes connections.
 *
 * @throws with all that it printed if it ends before that, or takes more than 10 s.
 */
export async function startDaemon(
  program: Program,
  setUp: (place: Place) => Setup,
): Promise<Daemon> {
  // Between being found free and being taken, a port may go to somebody else.
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(program, setUp);
    } catch (error) {
      if (attempt === 3 || !/in use|bind/i.test(String(error))) throw error;
    }
  }
}

async function startOnce(program: Program, setUp: (place: Place) => Setup): Promise<Daemon> {
  const path = pathTo(program, folders);
  if (path === undefined) throw new Error(`${program} is not installed`);
  const folder = await mkdtemp(join(tmpdir(), `${program}-`));
  const port = await deadPort();
  const place = { folder, port };
  const { files = {}, args } = setUp(place);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) {
    await chown(folder, unprivilegedId, unprivilegedId);
    await chmod(folder, 0o755);
  }
  // On Linux the kernel ends it if this process is killed without warning.
  const prefix =
    process.platform === "linux"
      ? ["setpriv", "--pdeathsig=KILL", ...(isRoot ? dropped : []), path]
      : [path];
  const [command = path, ...rest] = [...prefix, ...args];
  const child = spawn(command, rest, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk));
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      output += String(error);
      resolve();
    });
    child.once("close", () => resolve());
  });
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
    running.delete(child);
  });
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const deadlineAt = performance.now() + 10_000;
  while (!(await answers(port))) {
    if (!hasEnded && performance.now() < deadlineAt) {
      await pause(20);
      continue;
    }
    await stop();
    throw new Error(`${program} did not come up:\n${output}`);
  }
  return { ...place, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
}

const dropped = [`--reuid=${unprivilegedId}`, `--regid=${unprivilegedId}`, "--clear-groups"];

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A port on loopback that nothing listens on. */
export async function deadPort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/**
 * Ports on loopback that nothing listens on. They lie below those that systems hand out by themselves
 * (32,768 and more): those of other tests on this machine, and of connections.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = new Map<number, Server>();
  while (servers.size < count) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = servers.has(port) ? undefined : await listenAt(port);
    if (server !== undefined) servers.set(port, server);
  }
  for (const server of servers.values()) await new Promise((resolve) => server.close(resolve));
  return [...servers.keys()];
}

function listenAt(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
