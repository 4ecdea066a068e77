/** Opens once. Most are never waited for: the promise is made for those that are. */
export class Latch {
  #isOpen = false;
  #opening: Promise<void> | undefined;
  #resolve: (() => void) | undefined;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Resolves once it is open. */
  get opened(): Promise<void> {
    this.#opening ??= new Promise((resolve) => {
      if (this.#isOpen) resolve();
      else this.#resolve = resolve;
    });
    return this.#opening;
  }

  open(): void {
    this.#isOpen = true;
    this.#resolve?.();
    this.#resolve = undefined;
  }
}
