import { type AnyImageError, type Charged, type ImageError, isImageError } from "../../index";
import { messageOf } from "./errors";
import type { ImageJobData } from "./types";
import { allOf, isAskable, isUncharged } from "./verdict";

/** What a client says of an order once it has looked it up in its journal: no refusal comes before that. */
const lookedUp: readonly string[] = [
  "rate_limited",
  "provider_unavailable",
  "insufficient_credits",
  "permission_denied",
  "moderation",
  "generation_failed",
] satisfies readonly AnyImageError["code"][];

/** What is known of an order that ended in an error. */
interface KnownEnd {
  readonly code: string;
  readonly charged: Charged;
  readonly message: string;
}

/**
 * Whether an order may have been sent without anybody knowing what became of it: by a worker that was killed
 * before it could write that down. A run that never gets to look it up, such as one without an API key, does
 * not know either.
 */
export class Doubt {
  /** Before this run. */
  readonly #was: boolean;
  #is: boolean;

  constructor({ charged = "no", sending, reference }: ImageJobData) {
    const isKnown = reference !== undefined && isAskable(reference);
    this.#was = !isKnown && (sending === true || charged !== "no");
    this.#is = this.#was;
  }

  /** The order is about to be sent. True where that has to be written down first. */
  begin(): boolean {
    this.#is = true;
    return !this.#was;
  }

  /** The order's job is known. */
  end(): void {
    this.#is = false;
  }

  /** Nothing of this run was charged; of those before it, that is true where the order was looked up. */
  learn(error: ImageError): void {
    if (!isUncharged(error)) return;
    const isAnswer = ({ code, status }: ImageError) =>
      status !== undefined || lookedUp.includes(code);
    this.#is = this.#was && !allOf(error).every(isAnswer);
  }

  /** The data of a job, for the runs after this one. */
  noted(data: ImageJobData): ImageJobData {
    return this.#is ? { ...data, sending: true } : data;
  }

  /** What an error says of the order, and not of its run alone. */
  endBy(error: unknown): KnownEnd {
    // One that is not ours does not say whether a create had left.
    if (!isImageError(error)) {
      return { code: "failed", charged: "unknown", message: messageOf(error) };
    }
    if (error.charged !== "no" || !this.#is) return error;
    const more = "That is true of this run alone: one before it may have sent the order.";
    return { code: error.code, charged: "unknown", message: `${error.message} ${more}` };
  }
}
