import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The program as it is packed. */
export const program = fileURLToPath(new URL("../../../dist/cli.js", import.meta.url));

/** How a process is run. */
export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Hears what the process writes, as it writes it. */
  readonly onOutput?: (text: string, child: ChildProcessWithoutNullStreams) => void;
  /** Runs it by a shell, where this is its script: `"$@"` is the program and its arguments. */
  readonly script?: string;
}

/** What came of it. */
export interface ChildEnd {
  /** `null` where a signal has killed it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly lines: readonly string[];
}

/** Runs the built program in a process of its own, with nothing of this one's environment but its PATH. */
export async function child(argv: readonly string[], given: ChildOptions = {}): Promise<ChildEnd> {
  if (!existsSync(program)) throw new Error("dist is missing: npm run build");
  const { env = {}, cwd, stdin, onOutput, script } = given;
  const [command, args] =
    script === undefined
      ? [process.execPath, [program, ...argv]]
      : ["bash", ["-c", script, "bash", process.execPath, program, ...argv]];
  const running = spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: "/nowhere", ...env },
    ...(cwd !== undefined && { cwd }),
  });
  const pieces = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    running[name].setEncoding("utf8").on("data", (text: string) => {
      pieces[name] += text;
      onOutput?.(text, running);
    });
  }
  running.stdin.on("error", () => {});
  running.stdin.end(stdin);
  const code = await new Promise<number | null>((resolve, reject) => {
    running.on("error", reject).on("close", resolve);
  });
  return { code, ...pieces, lines: pieces.stdout.split("\n").slice(0, -1) };
}
