import { type Charged, isImageError } from "../../index";
import { exitCodes } from "./exit-codes";

/** What became of the pictures of a command, and of the money for them. */
export class Tally {
  #wanted = 0;
  #delivered = 0;
  readonly #charges = new Set<Charged>();

  /** So many pictures are asked for. */
  want(pictures: number): void {
    this.#wanted += pictures;
  }

  /** A picture is where it was wanted. */
  deliver(): void {
    this.#delivered += 1;
  }

  /** Something of it did not come. */
  lose(charged: Charged): void {
    this.#charges.add(charged);
  }

  /** What did not come, by the error that says so, and by those that came with it. */
  fail(error: unknown): void {
    // What is no error of this package comes from code of our own: nobody knows what it cost.
    if (!isImageError(error)) this.lose("unknown");
    else for (const { charged } of [error, ...error.failures]) this.lose(charged);
  }

  get delivered(): number {
    return this.#delivered;
  }

  get exitCode(): number {
    if (this.#charges.has("unknown")) return exitCodes.unknown;
    if (this.#charges.has("yes")) return exitCodes.chargedAndNotDelivered;
    const isSome = this.#delivered > 0;
    if (this.#delivered >= this.#wanted) return exitCodes.allCame;
    if (this.#charges.has("no")) return isSome ? exitCodes.partial : exitCodes.nothingCharged;
    // Nothing says why the others are missing: what came was charged, and they may have been part of it.
    return isSome ? exitCodes.chargedAndNotDelivered : exitCodes.unknown;
  }
}
