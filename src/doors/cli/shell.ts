import { once } from "node:events";
import { styleText } from "node:util";
import { exitCodes } from "./exit-codes";
import type { Output, Platform } from "./platform";
import { clean, codeOf, reasonOf } from "./text";

type Style = Parameters<typeof styleText>[0];

/** Results go to stdout and all talk to stderr, so that a pipe gets what it is for. */
export class Shell {
  readonly platform: Platform;
  readonly #isColoured: boolean;
  /** The line that is drawn again and again, where stderr is a terminal. */
  #drawn = "";
  /** Why results cannot be written any more. */
  #stdoutError: NodeJS.ErrnoException | undefined;

  constructor(platform: Platform) {
    this.platform = platform;
    this.#isColoured = isColoured(platform.env, platform.stderr);
    platform.stdout.on("error", (error) => {
      this.#stdoutError ??= error;
    });
    // Nobody listens any more: there is nowhere to say so.
    platform.stderr.on("error", () => {});
  }

  /** How this program is called again: npm puts what `npx` runs on no path of the user's. */
  get command(): string {
    const isByNpx = this.platform.env.npm_lifecycle_event === "npx";
    return isByNpx ? "npx gpt-image-client" : "gpt-image-client";
  }

  /** Whether a line can be drawn over. */
  get isInteractive(): boolean {
    return this.platform.stderr.isTTY === true && this.platform.env.TERM !== "dumb";
  }

  /** Whether results go to a terminal. */
  get isStdoutTerminal(): boolean {
    return this.platform.stdout.isTTY === true;
  }

  /** How wide a line of results may be; `undefined` where none reads them but a program. */
  get stdoutColumns(): number | undefined {
    return this.isStdoutTerminal ? (this.platform.stdout.columns ?? 80) : undefined;
  }

  /** What is on stderr, in a colour where the terminal has one. */
  styled(style: Style, text: string): string {
    // It would ask stdout, which may be a pipe while stderr is a terminal.
    return this.#isColoured ? styleText(style, text, { validateStream: false }) : text;
  }

  /** A line of talk. Of what is not this package's own, the control characters were taken out before. */
  say(line: string): void {
    const { stderr } = this.platform;
    const drawn = this.#drawn;
    if (drawn !== "") this.erase();
    stderr.write(`${line}\n`);
    if (drawn !== "") this.draw(drawn);
  }

  /** A line of talk about what went wrong. */
  complain(message: string): void {
    this.say(`${this.styled("red", "error:")} ${clean(message)}`);
  }

  /** A line of talk about what should be known. */
  warn(message: string): void {
    this.say(`${this.styled("yellow", "warning:")} ${clean(message)}`);
  }

  /** Draws the line at the bottom anew. */
  draw(line: string): void {
    const { stderr } = this.platform;
    const columns = stderr.columns ?? 80;
    stderr.write(`\r\u001b[2K${[...line].slice(0, columns - 1).join("")}`);
    this.#drawn = line;
  }

  /** Takes away the line at the bottom. */
  erase(): void {
    if (this.#drawn === "") return;
    this.platform.stderr.write("\r\u001b[2K");
    this.#drawn = "";
  }

  /**
   * Writes a result to stdout.
   *
   * @throws what the stream fails with, such as a full disk; a reader that has left is no error here.
   */
  async print(line: string): Promise<void> {
    await this.write(`${line}\n`).catch((error: unknown) => {
      if (!hasLeft(error)) throw error;
    });
  }

  /**
   * Prints what became of orders, and gives the exit code of the command. Whoever reads stdout has not
   * learned where the pictures are if it fails: that is 4 at least, where anything was charged.
   */
  async printResult(line: string, exitCode: number): Promise<number> {
    try {
      await this.print(line);
      return exitCode;
    } catch (error) {
      this.complain(`stdout did not take the result: ${reasonOf(error)}`);
      if (exitCode === exitCodes.nothingCharged) return exitCode;
      return Math.max(exitCode, exitCodes.chargedAndNotDelivered);
    }
  }

  /** Writes bytes to stdout. @throws what the stream fails with. */
  async write(data: string | Uint8Array): Promise<void> {
    if (this.#stdoutError !== undefined) throw this.#stdoutError;
    const { stdout } = this.platform;
    const drawn = this.#drawn;
    // Both may be the same terminal: what is drawn there must not stand before a path.
    const isInTheWay = drawn !== "" && stdout.isTTY === true;
    if (isInTheWay) this.erase();
    await new Promise<void>((resolve, reject) => {
      stdout.write(data, (error) => (error ? reject(error) : resolve()));
    });
    if (isInTheWay) this.draw(drawn);
  }

  /** All that comes in, as text. */
  async readStdin(): Promise<string> {
    const { stdin } = this.platform;
    const pieces: Buffer[] = [];
    stdin.on("data", (piece) => pieces.push(Buffer.from(piece)));
    await once(stdin, "end");
    return Buffer.concat(pieces).toString("utf8");
  }
}

/** Whether whoever read the output has gone, as `head` does once it has enough. */
function hasLeft(error: unknown): boolean {
  return codeOf(error) === "EPIPE";
}

/** FORCE_COLOR goes before NO_COLOR, as in Node itself; either counts where it is not empty. */
function isColoured(env: Platform["env"], { isTTY }: Output): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: terminal } = env;
  if (force !== undefined) return force !== "0" && force !== "false";
  if (no !== undefined && no !== "") return false;
  return isTTY === true && terminal !== "dumb";
}
