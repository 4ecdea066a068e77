/** Tells the operator what went wrong inside. */
export class ErrorReporter {
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #written = new WeakSet<WeakKey>();

  constructor(onError: ((error: unknown) => void) | undefined) {
    this.#onError = onError;
  }

  /** Never throws. */
  report(error: unknown): void {
    try {
      if (this.#onError !== undefined) this.#onError(error);
      else this.#write(error);
    } catch {
      // What listens must not break what it listens to.
    }
  }

  /** Nobody listens: on stderr, and once, as a store that cannot be read fails every request alike. */
  #write(error: unknown): void {
    if (typeof error === "object" && error !== null) {
      if (this.#written.has(error)) return;
      this.#written.add(error);
    }
    console.error("gpt-image-client/gateway:", error);
  }
}
