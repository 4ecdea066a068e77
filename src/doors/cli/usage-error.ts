/** The command was written wrongly: nothing was sent, and the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
