import { migrate } from "gpt-image-client/postgres";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** A pool that never connects; each attempt takes half of the time that a migration has. */
function poolWith(error: Error) {
  const texts: string[] = [];
  const query = async (text: string) => {
    texts.push(text);
    vi.advanceTimersByTime(60_000);
    throw error;
  };
  return { query, texts };
}

const refused = { code: "ECONNREFUSED" };

test.each([
  [Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5432"), refused)],
  // What Node gives for localhost, which has two addresses.
  [Object.assign(new AggregateError([new Error("one"), new Error("two")]), refused)],
  [Object.assign(new Error("getaddrinfo ENOTFOUND db.test"), { code: "ENOTFOUND" })],
  [new Error("timeout exceeded when trying to connect")],
])(
  "a migration that never reaches its database says so, and nothing of what was written: %s",
  async (error) => {
    const pool = poolWith(error);
    const fault: Error = await migrate(pool).then(
      () => expect.unreachable(),
      (each: Error) => each,
    );
    const reason = error.message === "" ? "ECONNREFUSED" : error.message;
    expect(fault.message).toBe(`The database could not be reached (${reason}). Is it running?`);
    expect(fault.cause).toBe(error);
    expect(pool.texts.every((text) => text.startsWith("SELECT"))).toBe(true);
    expect(pool.texts.length).toBeGreaterThan(1);
  },
);
