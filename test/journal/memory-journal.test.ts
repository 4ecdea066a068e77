import { memoryJournal } from "../../src/journal";
import { journalContract } from "./contract";

journalContract("memory", () => {
  const journal = memoryJournal();
  return { journal, reopen: () => journal, end: async () => {} };
});
