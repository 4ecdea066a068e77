import { type AnyImageError, type ImageError, isImageError } from "../../index";

/** What another provider may do better, where nothing was charged. */
const passedOn: readonly string[] = [
  "rate_limited",
  "provider_unavailable",
  "insufficient_credits",
  "authentication",
  "permission_denied",
  "generation_failed",
] satisfies readonly AnyImageError["code"][];

/** Of what nobody can know whether it was charged: what another purchase may make good. */
const boughtAgain: readonly string[] = [
  "submission_unknown",
  "malformed_response",
  "provider_unavailable",
  "generation_failed",
  "rate_limited",
  "insufficient_credits",
  "authentication",
  "permission_denied",
] satisfies readonly AnyImageError["code"][];

/** An error with those of the other tasks of its call. */
export function withOthers(error: ImageError): readonly ImageError[] {
  return [error, ...error.failures];
}

/** Whether nothing of a call was charged, by all of its tasks. */
export function isUncharged(error: ImageError): boolean {
  return withOthers(error).every((each) => each.charged === "no" && each.images === undefined);
}

/** Whether the next client may be asked: nothing was charged, and it may do better. */
export function mayPassOn(error: ImageError): boolean {
  return isUncharged(error) && withOthers(error).every(({ code }) => passedOn.includes(code));
}

/** Whether a call that takes the risk may buy once more. What was charged for sure never is. */
export function mayBuyAgain(error: ImageError): boolean {
  const all = withOthers(error);
  return (
    all.every((each) => each.charged !== "yes" && each.images === undefined) &&
    all.some((each) => each.charged === "unknown") &&
    all.every((each) => boughtAgain.includes(each.code))
  );
}

/** Whether it says something of its client and not of the one job. */
export function isOfClient({ code }: ImageError): boolean {
  return code !== "generation_failed";
}

/** An error with others in its `failures`. A copy: whoever made it may give it to others, too. */
export function withFailures<Each extends ImageError>(
  error: Each,
  others: readonly ImageError[],
): Each {
  if (others.length === 0) return error;
  const copy: Each = Object.create(
    Object.getPrototypeOf(error),
    Object.getOwnPropertyDescriptors(error),
  );
  const failures = [...error.failures, ...others];
  return Object.defineProperty(copy, "failures", { value: failures, enumerable: true });
}

/** Anything that was thrown, as an error of this package where it is one. */
export function asImageError(error: unknown): ImageError | undefined {
  return isImageError(error) ? error : undefined;
}
