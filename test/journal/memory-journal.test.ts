import { memoryJournal } from "../../src/journal/journal";
import { journalContract } from "./contract";

journalContract("memory", () => {
  const journal = memoryJournal();
  return { journal, reopen: () => journal, end: async () => {} };
});
