import { exitCodes } from "./exit-codes";
import type { Platform } from "./platform";

/** A terminal signals npm and this process alike, and npm passes its own on: that is one Ctrl-C. */
const sameKeyMs = 500;

const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What a command does about Ctrl-C while it has an order. */
export interface InterruptionHandler {
  /** The first: stop sending, and keep what was paid for. */
  first(): void;
  /** The second: stop waiting for it, too. */
  second(): void;
}

/** No create takes longer: the client's own time-out ends it. */
const longestMs = 24 * 60 * 60 * 1000;

/**
 * What closes at the first Ctrl-C and lets what is under way come in, and at the second at once.
 *
 * @param close Given how long to wait, in milliseconds.
 */
export function closing(
  close: (timeoutMs: number) => void,
  say: InterruptionHandler,
): InterruptionHandler {
  return {
    first() {
      say.first();
      close(longestMs);
    },
    second() {
      say.second();
      close(1);
    },
  };
}

/**
 * Ctrl-C, and what a CI system or a closed terminal sends. Nobody is thrown out of an order by the first:
 * the command ends by itself, with the exit code that tells about the money. The third ends the process.
 */
export class Interruption {
  readonly #platform: Pick<Platform, "signals" | "exit">;
  #handler: InterruptionHandler | undefined;
  #codeIfKilled: number;
  #isOver = false;
  #heard = 0;
  #heardAt = Number.NEGATIVE_INFINITY;

  /** @param codeIfKilled What is said of the money before there is an order to guard. */
  constructor(platform: Pick<Platform, "signals" | "exit">, codeIfKilled: number) {
    this.#platform = platform;
    this.#codeIfKilled = codeIfKilled;
    for (const name of names) platform.signals.on(name, this.#hear);
  }

  /** How often it was asked to stop. */
  get count(): number {
    return this.#heard;
  }

  /** The exit code of a process that has to end now, whatever is under way. */
  get codeIfKilled(): number {
    return this.#codeIfKilled;
  }

  /** From here on there is something that may be paid for, unless another code says what it costs. */
  guard(handler: InterruptionHandler, codeIfKilled: number = exitCodes.unknown): void {
    this.#handler = handler;
    this.#codeIfKilled = codeIfKilled;
  }

  /**
   * The command is over, with this exit code, which whatever is heard from here on ends it with. Without a
   * listener a signal would kill the process on its last steps, and nobody would learn about the money.
   */
  end(exitCode: number): void {
    this.#codeIfKilled = exitCode;
    this.#isOver = true;
  }

  readonly #hear = (): void => {
    if (this.#isOver) {
      this.#platform.exit(this.#codeIfKilled);
      return;
    }
    const now = performance.now();
    if (now - this.#heardAt < sameKeyMs) return;
    this.#heardAt = now;
    this.#heard += 1;
    const handler = this.#handler;
    if (handler === undefined) this.#platform.exit(this.#codeIfKilled);
    else if (this.#heard === 1) handler.first();
    else if (this.#heard === 2) handler.second();
    else this.#platform.exit(this.#codeIfKilled);
  };
}
