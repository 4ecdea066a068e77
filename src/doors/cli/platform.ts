import type { EventEmitter } from "node:events";
import type { Readable, Writable } from "node:stream";

/** A stream that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** What the command line takes of its process, so that tests can run it in theirs. */
export interface Platform {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  /** Where SIGINT, SIGTERM, SIGHUP and errors that nobody caught are heard. */
  readonly signals: Pick<EventEmitter, "on">;
  /** The package.json of this package. */
  readonly manifest: URL;
  /** Ends the process at once, whatever is under way. */
  exit(code: number): void;
}
