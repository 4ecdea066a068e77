/** What is read in one turn of the event loop goes as one statement: a call under a key reads several. */
export class BatchedReads {
  readonly #readAll: (ids: readonly string[]) => Promise<Map<string, unknown>>;
  #batch: { readonly ids: Set<string>; readonly found: Promise<Map<string, unknown>> } | undefined;

  constructor(readAll: (ids: readonly string[]) => Promise<Map<string, unknown>>) {
    this.#readAll = readAll;
  }

  async read(id: string): Promise<unknown> {
    this.#batch ??= this.#open();
    this.#batch.ids.add(id);
    return (await this.#batch.found).get(id);
  }

  #open() {
    const ids = new Set<string>();
    const found = Promise.resolve().then(() => {
      this.#batch = undefined;
      return this.#readAll([...ids]);
    });
    return { ids, found };
  }
}
