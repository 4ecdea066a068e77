import type { LedgerStore } from "../../index";
import { Book } from "./book";

/** A ledger that forgets when the process ends. */
export function memoryStore(): LedgerStore {
  const book = new Book();
  return {
    async append(entry, limits = []) {
      const shortfall = book.shortfall(entry, limits);
      if (shortfall === undefined) book.add(entry);
      return shortfall;
    },
    async update(id, change) {
      book.change(id, change);
    },
    read: async (id) => book.read(id),
    findJob: async (job) => book.findJob(job),
    async *entries(range) {
      yield* book.entries(range);
    },
    sums: async (scope) => book.sums(scope),
  };
}
