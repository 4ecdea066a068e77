import { expect, test } from "vitest";
import { createImageClient } from "../../src/client";
import { createPostgresJournal } from "../../src/doors/postgres/index";
import { directoryJournal } from "../../src/journal/directory";
import { type Journal, memoryJournal } from "../../src/journal/journal";
import { trinetra } from "../../src/providers/index";

const journalOf = (journal?: Journal) =>
  createImageClient({
    provider: trinetra({ apiKey: "a-key" }),
    ...(journal !== undefined && { journal }),
  }).journal;

const pool = { query: async () => ({ rows: [] }) };

test.each<[string, Journal | undefined, unknown]>([
  ["PostgreSQL's, which several machines share", createPostgresJournal(pool), { shared: true }],
  [
    "a directory, which only its owner can know to be shared",
    directoryJournal("/tmp/none"),
    { shared: false },
  ],
  [
    "one of the user's own that says so",
    { ...memoryJournal(), volatile: false, shared: true },
    { shared: true },
  ],
  [
    "one that forgets with its process, whatever else it says",
    { ...memoryJournal(), shared: true },
    { shared: false, volatile: true },
  ],
  ["none", undefined, undefined],
])("a client tells of its journal: %s", (_, journal, told) => {
  expect(journalOf(journal)).toEqual(told);
});
