import { EventEmitter, once } from "node:events";
import type { JournalRecord } from "gpt-image-client";
import { createPostgresJournal, type PostgresPool } from "gpt-image-client/postgres";
import { expect, test } from "vitest";
import { Database, UncertainError } from "../../src/doors/postgres/database";

const coded = (code: string) => Object.assign(new Error(`refused with ${code}`), { code });

/** A pool whose statements end one after the other as given. */
function poolOf(...ends: readonly Error[]): PostgresPool & { statements: number } {
  return {
    statements: 0,
    query() {
      this.statements += 1;
      return Promise.reject(ends[this.statements - 1] ?? new Error("one statement too many"));
    },
  };
}

test.each(["42501", "42P01", "23505"])(
  "a statement whose connection was lost, and that is then refused with %s, may have been done",
  async (code) => {
    const lost = Object.assign(new Error("Connection terminated"), { code: "ECONNRESET" });
    const pool = poolOf(lost, coded(code));
    const running = new Database(pool, "image_journal", 5_000).run("INSERT");
    await expect(running).rejects.toBeInstanceOf(UncertainError);
    expect(pool.statements).toBe(2);
  },
);

test("a statement that is refused at once was not done", async () => {
  const pool = poolOf(coded("42501"));
  const running = new Database(pool, "image_journal", 5_000).run("INSERT");
  await expect(running).rejects.not.toBeInstanceOf(UncertainError);
});

test("a create does not wait for what other creates have left to delete", async () => {
  let isStuck = false;
  const identity = "6f1e3c1e-0000-4000-8000-000000000000";
  const pool: PostgresPool = {
    async query(text, values = []) {
      if (text.startsWith("DELETE")) return new Promise(() => {});
      if (values[0] === "first" && !isStuck) {
        isStuck = true;
        throw new Error("Connection terminated");
      }
      if (values[0] === "first") throw coded("42501");
      return { rows: [{ created: 1, identity }] };
    },
  };
  const journal = createPostgresJournal(pool, { timeoutMs: 60_000 });
  await expect(journal.create(recordOf("first"))).rejects.toBeInstanceOf(UncertainError);
  expect(await journal.create(recordOf("second"))).toBe(true);
}, 10_000);

test("a connection that breaks while nobody uses it is a warning where nobody else listens", async () => {
  const pool = Object.assign(new EventEmitter(), {
    query: async () => ({ rows: [] }),
  });
  createPostgresJournal(pool);
  createPostgresJournal(pool);
  const warned = once(process, "warning");
  pool.emit("error", new Error("terminating connection"));
  const [warning] = await warned;
  expect(String(warning)).toContain("terminating connection");
  expect(pool.listenerCount("error")).toBe(1);
});

function recordOf(id: string): JournalRecord {
  // What a create writes of it, and no more.
  return {
    ...{ id, jobId: id, provider: "trinetra", baseURL: "https://example.com" },
    ...{ state: "submitting", submittedAt: "2026-11-01T00:00:00.000Z" },
  } as unknown as JournalRecord;
}
