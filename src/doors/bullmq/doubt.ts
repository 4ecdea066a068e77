import { type AnyImageError, type Charged, type ImageError, isImageError } from "../../index";
import { messageOf } from "./errors";
import type { ImageJobData, ImageJobProblem } from "./types";
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
 * not know either. It is told by the job's starts: to write down beforehand that it is sent would not do, as
 * such a write may arrive late and replace what another worker has written since.
 */
export class Doubt {
  readonly #attemptsStarted: number;
  readonly #knownBefore: Pick<ImageJobProblem, "run">;
  /** Before this run. */
  readonly #was: boolean;
  #is: boolean;

  constructor({ charged = "no", problem, reference }: ImageJobData, attemptsStarted: number) {
    this.#attemptsStarted = attemptsStarted;
    const isKnown = reference !== undefined && isAskable(reference);
    const { run = 0 } = problem ?? {};
    this.#knownBefore = run > 0 ? { run } : {};
    // A retry may count the starts anew: what came before is not told then.
    const isUntold = attemptsStarted > run + 1 || attemptsStarted <= run;
    this.#was = !isKnown && (isUntold || charged !== "no");
    this.#is = this.#was;
  }

  /** No run up to this one can have sent it, or can still send it, without its being known. */
  get lastKnown(): Pick<ImageJobProblem, "run"> {
    return this.#was || this.#is ? this.#knownBefore : { run: this.#attemptsStarted };
  }

  /** Where nothing of this run was charged, that is true of those before it if the order was looked up. */
  learn(error: unknown): void {
    // Under another key the client looks at another account's records.
    const isAnswer = ({ code, status }: ImageError) =>
      (status !== undefined && code !== "authentication") || lookedUp.includes(code);
    const isFree = isImageError(error) && isUncharged(error);
    this.#is = !isFree || (this.#was && !allOf(error).every(isAnswer));
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
