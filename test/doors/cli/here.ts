import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { onTestFinished } from "vitest";
import type { Output } from "../../../src/doors/cli/platform";
import { run } from "../../../src/doors/cli/run";

/** How a command is run in this process. */
export interface Here {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** So wide a terminal on stderr. */
  readonly columns?: number;
  /** So wide a terminal on stdout. */
  readonly stdoutColumns?: number;
  readonly signals?: EventEmitter;
  /** Hears all that is said, as it is said. */
  readonly onStderr?: (text: string) => void;
  /** What every write to stdout fails with. */
  readonly stdoutError?: Error;
}

/** What came of it. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The lines of stdout. */
  readonly lines: readonly string[];
}

/** A directory of this test's own. */
export function place(): string {
  const directory = mkdtempSync(join(tmpdir(), "gpt-image-client-cli-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a command in this process, with nothing of its environment. */
export async function here(argv: readonly string[], given: Here = {}): Promise<Ended> {
  const stdout = collector({ columns: given.stdoutColumns, error: given.stdoutError });
  const stderr = collector({ columns: given.columns, heard: given.onStderr });
  const { stdin } = given;
  const input = Readable.from(stdin === undefined ? [] : [Buffer.from(stdin)]);
  const code = await new Promise<number>((resolve, reject) => {
    run(argv, {
      env: given.env ?? {},
      stdin: input,
      ...{ stdout: stdout.stream, stderr: stderr.stream },
      signals: given.signals ?? new EventEmitter(),
      manifest: new URL("../../../package.json", import.meta.url),
      exit: resolve,
    }).then(resolve, reject);
  });
  const text = stdout.text();
  return { code, stdout: text, stderr: stderr.text(), lines: text.split("\n").slice(0, -1) };
}

function collector(options: {
  readonly columns?: number | undefined;
  readonly heard?: ((text: string) => void) | undefined;
  readonly error?: Error | undefined;
}) {
  let all = "";
  const stream: Output = new Writable({
    write(piece, _, done) {
      all += String(piece);
      options.heard?.(String(piece));
      done(options.error ?? null);
    },
  });
  const { columns } = options;
  if (columns !== undefined) Object.assign(stream, { columns, isTTY: true });
  return { stream, text: () => all };
}
