import { createImageClient, isImageError, trinetra } from "gpt-image-client";
import { createPostgresJournal, migrate } from "gpt-image-client/postgres";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import type { Pool } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { pngOf, recordOf } from "../journal/contract";
import { describeWithPostgres } from "./support/describe";
import { type Fate, TearingProxy } from "./support/proxy";
import { PostgresServer } from "./support/server";

const prompt = "A dew-covered web at sunrise";
const insert = "INSERT INTO image_journal.records";
const fates: Fate[] = ["before", "half", "after"];

describeWithPostgres("connections that break", () => {
  let server: PostgresServer;
  let proxy: TearingProxy;
  let sandbox: Sandbox;
  let database: string;
  /** Through the proxy. */
  let pool: Pool;

  beforeAll(async () => {
    server = await PostgresServer.start();
    sandbox = await startSandbox({ jobDurationMs: 50, plainImages: true });
  });

  afterAll(async () => {
    await sandbox.close();
    await server[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    proxy = await TearingProxy.start(server.port);
    database = await server.createDatabase();
    pool = server.pool(database, { port: proxy.port, max: 4 });
    await migrate(pool);
  });

  afterEach(async () => {
    await pool.end();
    await proxy[Symbol.asyncDispose]();
  });

  const rows = () => server.sql("SELECT id, state, record FROM image_journal.records", database);

  function clientOver(timeoutMs = 10_000, from = pool) {
    const journal = createPostgresJournal(from, { timeoutMs });
    return createImageClient({ provider: trinetra(sandbox.trinetra), journal, poll: 10 });
  }

  const charges = () => sandbox.charges.length;

  test.each(fates)(
    "a create torn %s the server has it succeeds once, and is known as its own",
    async (fate) => {
      const journal = createPostgresJournal(pool);
      proxy.tearAt(insert, fate);
      expect(await journal.create(recordOf("job.0"))).toBe(true);
      expect(await journal.create(recordOf("job.0"))).toBe(false);
      expect(await rows()).toHaveLength(1);
    },
  );

  test("of two creates whose connections are torn after the server has both, one alone succeeds", async () => {
    const other = createPostgresJournal(pool);
    proxy.tearAt(insert, "after", 2);
    const created = await Promise.all([
      createPostgresJournal(pool).create(recordOf("job.0", { key: "a" })),
      other.create(recordOf("job.0", { key: "b" })),
    ]);
    expect(created.filter(Boolean)).toHaveLength(1);
    const [row] = await rows();
    expect(JSON.parse(String(row?.record)).key).toBe(created[0] ? "a" : "b");
  });

  test("what another process has made of the marker meanwhile is not written over", async () => {
    const journal = createPostgresJournal(pool);
    const elsewhere = createPostgresJournal(server.pool(database));
    proxy.fateOf = (text) => {
      if (!text.includes(insert)) return "through";
      proxy.isDown = true;
      proxy.fateOf = () => "through";
      return "after";
    };
    const creating = journal.create(recordOf("job.0"));
    await expect.poll(rows).toHaveLength(1);
    await elsewhere.update(recordOf("job.0", { state: "submitted", taskId: "theirs" }));
    proxy.isDown = false;
    expect(await creating).toBe(false);
    expect(await journal.read("job.0")).toMatchObject({ taskId: "theirs" });
  });

  test.each(fates)("an update torn %s the server has it is there in the end", async (fate) => {
    const journal = createPostgresJournal(pool);
    await journal.create(recordOf("job.0"));
    proxy.tearAt(insert, fate);
    await journal.update(recordOf("job.0", { state: "submitted", taskId: "a" }));
    expect(await journal.read("job.0")).toMatchObject({ state: "submitted" });
  });

  test.each(fates)("an image torn %s the server has a piece comes back whole", async (fate) => {
    const journal = createPostgresJournal(pool);
    const bytes = Buffer.concat([pngOf("large"), Buffer.alloc(9 * 1024 * 1024, 7)]);
    for (const text of ["INSERT INTO image_journal.image_pieces", "WITH last AS"]) {
      proxy.tearAt(text, fate);
      await journal.writeImage("job.0", 0, bytes);
      const read = await journal.readImage("job.0", 0);
      expect(read !== undefined && bytes.equals(read)).toBe(true);
      await journal.delete("job.0");
    }
    const left = await server.sql("SELECT 1 FROM image_journal.image_pieces", database);
    expect(left).toEqual([]);
  });

  test("every statement of a generation may be torn once, and it is paid for once", async () => {
    const before = charges();
    let statements = 0;
    proxy.fateOf = (text) => {
      if (!text.includes("image_journal")) return "through";
      statements += 1;
      return statements % 2 === 1 ? "after" : "through";
    };
    const { images } = await clientOver().generate({ prompt, n: 6 }, { idempotencyKey: "torn" });
    expect(images).toHaveLength(6);
    expect(charges() - before).toBe(2);
    expect((await rows()).map(({ state }) => state)).toEqual(["succeeded", "succeeded"]);
    const again = await clientOver().generate({ prompt, n: 6 }, { idempotencyKey: "torn" });
    expect(again.images).toHaveLength(6);
    expect(charges() - before).toBe(2);
  });

  test("a create whose fate nobody can learn stops the call, charged no, and its key stays free", async () => {
    const before = charges();
    const client = clientOver(400);
    await client.generate({ prompt }); // the trial is past
    proxy.fateOf = (text) => {
      if (!text.includes(insert)) return "through";
      proxy.isDown = true;
      return "after";
    };
    const call = { idempotencyKey: "lost" };
    const error = await client.generate({ prompt }, call).catch((reason: unknown) => reason);
    if (!isImageError(error)) throw error;
    expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
    expect(error.message).toMatch(/nobody knows what was written|did not answer/);
    expect(charges() - before).toBe(1);
    // It was written, which this process alone could not know.
    const states = async () => (await rows()).map(({ state }) => state);
    expect((await states()).sort()).toEqual(["submitting", "succeeded"]);
    proxy.isDown = false;
    proxy.fateOf = () => "through";
    const { images } = await client.generate({ prompt }, call);
    expect(images).toHaveLength(1);
    expect(charges() - before).toBe(2);
    expect(await states()).toEqual(["succeeded", "succeeded"]);
  });

  test("what a create that was given up on has left is deleted with the next one", async () => {
    const journal = createPostgresJournal(pool, { timeoutMs: 300 });
    proxy.fateOf = (text) => {
      if (!text.includes(insert)) return "through";
      proxy.isDown = true;
      return "after";
    };
    await expect(journal.create(recordOf("job.0"))).rejects.toThrow();
    expect(await rows()).toHaveLength(1);
    proxy.isDown = false;
    proxy.fateOf = () => "through";
    expect(await journal.create(recordOf("other.0"))).toBe(true);
    expect((await rows()).map(({ id }) => id)).toEqual(["other.0"]);
  });

  test("a pool without a free connection is waited for", async () => {
    const small = server.pool(database, { max: 1 });
    const held = await small.connect();
    const creating = createPostgresJournal(small).create(recordOf("job.0"));
    setTimeout(() => held.release(), 200);
    expect(await creating).toBe(true);
  });

  test("one that stays exhausted ends the call before anything is sent, and leaves nothing behind", async () => {
    const before = charges();
    const small = server.pool(database, { max: 1 });
    await clientOver(1_000, small).generate({ prompt });
    const client = clientOver(300, small);
    await client.generate({ prompt });
    const held = await small.connect();
    const error = await client.generate({ prompt }).catch((reason: unknown) => reason);
    if (!isImageError(error)) throw error;
    expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
    expect(error.message).toContain("no connection of the pool became free");
    expect(charges() - before).toBe(2);
    // The statement stood in the pool's queue, and is done now, too late.
    held.release();
    await expect
      .poll(async () => (await rows()).map(({ state }) => state))
      .toEqual(["succeeded", "succeeded"]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await rows()).toHaveLength(2);
  });

  test("a pool's own time-out is no more than a wait", async () => {
    const small = server.pool(database, { max: 1, connectionTimeoutMillis: 50 });
    // A busy machine may take longer to open the first connection than the pool waits.
    const held = await vi.waitFor(() => small.connect(), { timeout: 30_000 });
    const creating = createPostgresJournal(small).create(recordOf("job.0"));
    setTimeout(() => held.release(), 400);
    expect(await creating).toBe(true);
  });

  test("a state that was given up on is never written over a newer one", async () => {
    const small = server.pool(database, { max: 1 });
    const journal = createPostgresJournal(small, { timeoutMs: 300 });
    await journal.create(recordOf("job.0"));
    const held = await small.connect();
    await expect(journal.update(recordOf("job.0", { state: "submitted" }))).rejects.toThrow();
    setTimeout(() => held.release(), 100);
    await journal.update(recordOf("job.0", { state: "succeeded" }));
    expect(await journal.read("job.0")).toMatchObject({ state: "succeeded" });
  });

  test("a pool that was ended is an error at once", async () => {
    const ended = server.pool(database);
    const journal = createPostgresJournal(ended);
    await ended.end();
    const startedAt = performance.now();
    await expect(journal.create(recordOf("job.0"))).rejects.toThrow(/end/);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test("a database that restarts under a generation costs time, and nothing else", async () => {
    const before = charges();
    const direct = server.pool(database);
    let submitted = false;
    const generating = clientOver(30_000, direct).generate(
      { prompt },
      { onSubmitted: () => (submitted = true) },
    );
    await expect.poll(() => submitted).toBe(true);
    await server.stop("fast");
    await new Promise((resolve) => setTimeout(resolve, 500));
    await server.restart();
    expect((await generating).images).toHaveLength(1);
    expect(charges() - before).toBe(1);
    expect((await rows()).map(({ state }) => state)).toEqual(["succeeded"]);
  });

  test("a failover to a database without tables is said, and nothing is sent", async () => {
    const before = charges();
    const client = clientOver();
    await client.generate({ prompt });
    await server.sql("DROP SCHEMA image_journal CASCADE", database);
    const error = await client.generate({ prompt }).catch((reason: unknown) => reason);
    if (!isImageError(error)) throw error;
    expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
    expect(error.message).toMatch(
      /no journal in its schema "image_journal": run migrate\(pool\) first/,
    );
    expect(charges() - before).toBe(1);
  });

  test("a failover to an empty journal is said by whoever saw the other one, and nothing is sent", async () => {
    const before = charges();
    const client = clientOver();
    await client.generate({ prompt }, { idempotencyKey: "a" });
    await server.sql("DROP SCHEMA image_journal CASCADE", database);
    await migrate(pool);
    for (const each of [client, clientOver()]) {
      const call = { idempotencyKey: "a" };
      const error = await each.generate({ prompt }, call).catch((reason: unknown) => reason);
      if (!isImageError(error)) throw error;
      expect([error.code, error.charged]).toEqual(["journal_failed", "no"]);
      expect(error.message).toContain("is not the one that was here before");
    }
    expect(charges() - before).toBe(1);
    expect(await rows()).toEqual([]);
  });

  test("a marker outlives a crash of the database though the role's commits are not synchronous", async () => {
    await server.sql(`ALTER DATABASE ${database} SET synchronous_commit = off`, database);
    await server.sql("ALTER SYSTEM SET wal_writer_delay = '10s'", database);
    await server.sql("SELECT pg_reload_conf()", database);
    const lax = server.pool(database);
    await lax.query("CREATE TABLE control (n int)");
    const journal = createPostgresJournal(lax);
    await journal.create(recordOf("job.0"));
    await journal.update(recordOf("job.0", { state: "submitted", taskId: "a" }));
    await lax.query("INSERT INTO control VALUES (1)");
    await server.stop("immediate");
    await server.restart();
    expect(await rows()).toMatchObject([{ id: "job.0", state: "submitted" }]);
    // It would have been lost.
    expect(await server.sql("SELECT * FROM control", database)).toEqual([]);
    await server.sql("ALTER SYSTEM RESET wal_writer_delay", database);
  });
});
