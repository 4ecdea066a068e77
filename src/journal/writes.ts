/** What is being written of one record: whoever takes it away waits for that, or it would come back. */
export class Writes {
  readonly #pending = new Set<Promise<unknown>>();

  async add<Value>(write: Promise<Value>): Promise<Value> {
    this.#pending.add(write);
    try {
      return await write;
    } finally {
      this.#pending.delete(write);
    }
  }

  /** Never rejects: whoever wrote hears of what went wrong. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}
