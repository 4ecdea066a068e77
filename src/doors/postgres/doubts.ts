import type { Database } from "./database";

/** More would be of a database that has been gone for long: the oldest are left, as of unknown fate. */
const mostDoubts = 10_000;

/**
 * Creates that were given up on: their rows may be there, or come yet, and say that something was sent.
 * Nothing was. So this process may write over them, and has them deleted once it can.
 */
export class Doubts {
  readonly #database: Database;
  readonly #records: string;
  /** The ids of the records, by who wrote them. */
  readonly #ids = new Map<string, string>();

  constructor(database: Database, records: string) {
    this.#database = database;
    this.#records = records;
  }

  add(id: string, writer: string): void {
    this.#ids.set(writer, id);
    const [oldest] = this.#ids.keys();
    if (this.#ids.size > mostDoubts && oldest !== undefined) this.#ids.delete(oldest);
    // What was still on its way may arrive when nothing else is written any more.
    void this.#database.late(id)?.then(() => this.settle());
  }

  of(id: string): readonly string[] {
    return [...this.#ids].flatMap(([writer, each]) => (each === id ? [writer] : []));
  }

  /** Never rejects: what could not be deleted is left for the next time. */
  async settle(): Promise<void> {
    const due = [...this.#ids].filter(([, id]) => this.#database.late(id) === undefined);
    if (due.length === 0) return;
    // Not twice at once.
    for (const [writer] of due) this.#ids.delete(writer);
    try {
      await this.#database.run(
        `DELETE FROM ${this.#records} WHERE id = ANY($1::text[]) AND writer = ANY($2::text[])`,
        [due.map(([, id]) => id), due.map(([writer]) => writer)],
      );
    } catch {
      for (const [writer, id] of due) this.#ids.set(writer, id);
    }
  }
}
