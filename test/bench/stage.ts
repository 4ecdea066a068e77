import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What one run of one contender took, by name. */
export type Figures = Readonly<Record<string, number>>;

interface Report {
  readonly figures: Figures;
  /** Of everything that came out, each once. */
  readonly hashes?: readonly string[];
  readonly results?: number;
}

interface Stats {
  readonly creates: number;
  readonly polls: number;
}

/** What must be true of a run, or its figures are worth nothing. */
export interface Expected {
  /** Whose bytes every result must have. */
  readonly hash?: "small" | "large" | "address";
  /** How many creates the server must have seen: one a work, the warm-up's included. */
  readonly creates?: number;
  readonly polls?: number;
}

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The first message of a process; rejects if it ends without one. */
function messageOf<Message>(child: ChildProcess, name: string): Promise<Message> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => {
      // The scripts beside this file send what their readers here expect.
      resolve(message as Message);
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code} and said nothing`)));
  });
}

/** The server's process, and a process of its own for every run. */
export class Stage {
  readonly #server: ChildProcess;
  readonly #origin: string;
  readonly #hashes: Readonly<Record<string, string>>;
  #runs = 0;

  private constructor(server: ChildProcess, origin: string, hashes: Record<string, string>) {
    this.#server = server;
    this.#origin = origin;
    this.#hashes = hashes;
  }

  static async open(): Promise<Stage> {
    const server = fork(place("server.mjs"), { execArgv: [] });
    type Started = { origin: string; hashes: Record<string, string> };
    const { origin, hashes } = await messageOf<Started>(server, "The server");
    return new Stage(server, origin, hashes);
  }

  /**
   * Runs a script for one contender in a fresh process.
   *
   * @throws if it fails, if its bytes differ, or if the server saw more or less than it should.
   */
  async run(script: string, settings: object, expected: Expected = {}): Promise<Figures> {
    this.#runs += 1;
    const server = `${this.#origin}/run-${this.#runs}`;
    const directory = await mkdtemp(join(tmpdir(), "gpt-image-client-bench-"));
    const name = `${script} ${JSON.stringify(settings)}`;
    try {
      const child = fork(place(script), [JSON.stringify({ server, directory, ...settings })], {
        execArgv: ["--expose-gc"],
        timeout: 300_000,
      });
      const { figures, hashes, results } = await messageOf<Report>(child, name);
      const response = await fetch(`${server}/stats`);
      // What the server beside this file counts.
      const seen = (await response.json()) as Stats;
      const { hash, ...counts } = expected;
      if (hash !== undefined && (results === 0 || hashes?.join() !== this.#hashes[hash])) {
        throw new Error(`${name}: its bytes differ`);
      }
      for (const [what, count] of Object.entries(counts)) {
        const found = what === "creates" ? seen.creates : seen.polls;
        if (found !== count) throw new Error(`${name}: ${found} ${what}, and not ${count}`);
      }
      return figures;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  close(): void {
    this.#server.disconnect();
  }
}
