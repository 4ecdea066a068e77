import { postgresJournal, standInForPostgres } from "../../examples/postgres-journal";
import { journalContract } from "./contract";

journalContract("postgres", () => {
  const query = standInForPostgres();
  return {
    journal: postgresJournal(query),
    reopen: () => postgresJournal(query),
    end: async () => {},
  };
});
