/** The command was written wrongly: nothing was sent, and the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * The one word that a command takes beside its options.
 *
 * @throws {@link UsageError} with the message where there is none, or more than one.
 */
export function onlyWord(words: readonly string[], message: string): string {
  const [word, ...more] = words;
  if (word === undefined || more.length > 0) throw new UsageError(message);
  return word;
}
