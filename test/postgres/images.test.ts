import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { createImageClient, openaiCompatible } from "gpt-image-client";
import {
  createPostgresJournal,
  type ImageStore,
  migrate,
  type PostgresPool,
} from "gpt-image-client/postgres";
import { startSandbox } from "gpt-image-client/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { journalContract, pngOf, recordOf } from "../journal/contract";
import { describeWithPostgres } from "./support/describe";
import { PostgresServer } from "./support/server";

const Bucket = "images";
const none = new Uint8Array();

/** An S3 server of somebody else's, and the store that docs/several-machines.md shows. */
async function startS3() {
  const directory = mkdtempSync(join(tmpdir(), "s3-"));
  // It brings no types.
  const S3rver: new (
    options: object,
  ) => { run(): Promise<{ port: number }>; close(): Promise<void> } = createRequire(
    import.meta.url,
  )("@20minutes/s3rver");
  const server = new S3rver({
    ...{ address: "127.0.0.1", port: 0, silent: true },
    directory,
    configureBuckets: [{ name: Bucket }],
  });
  const { port } = await server.run();
  const s3 = new S3Client({
    ...{ region: "us-east-1", endpoint: `http://127.0.0.1:${port}`, forcePathStyle: true },
    credentials: { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" },
  });
  const store: ImageStore = {
    write: (Key, Body) => s3.send(new PutObjectCommand({ Bucket, Key, Body })),
    async read(Key) {
      try {
        const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
        return await Body?.transformToByteArray();
      } catch (error) {
        if (error instanceof NoSuchKey) return undefined;
        throw error;
      }
    },
    delete: (Key) => s3.send(new DeleteObjectCommand({ Bucket, Key })),
  };
  // What it has on its disk: it refuses the signature of a listing (@20minutes/s3rver 4.0.4).
  const keys = () =>
    readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith("_object"),
    );
  async function close(): Promise<void> {
    await server.close();
    rmSync(directory, { recursive: true });
  }
  return { store, keys, close };
}

describeWithPostgres("images", () => {
  let server: PostgresServer;
  let s3: Awaited<ReturnType<typeof startS3>>;

  beforeAll(async () => {
    server = await PostgresServer.start();
    s3 = await startS3();
  });

  afterAll(async () => {
    await s3.close();
    await server[Symbol.asyncDispose]();
  });

  async function open(images?: ImageStore) {
    const database = await server.createDatabase();
    const pool = server.pool(database);
    await migrate(pool);
    const journal = createPostgresJournal(pool, images === undefined ? {} : { images });
    const count = async (table: string) =>
      (await server.sql(`SELECT 1 FROM image_journal.${table}`, database)).length;
    return { pool, journal, count };
  }

  journalContract("PostgreSQL with S3", async () => {
    const { pool, journal } = await open(s3.store);
    return {
      journal,
      reopen: () => createPostgresJournal(pool, { images: s3.store }),
      end: () => pool.end(),
    };
  });

  test("pictures of a generation go to S3, come from there, and go with their record", async () => {
    await using sandbox = await startSandbox({ plainImages: true });
    const before = s3.keys();
    const { pool, journal, count } = await open(s3.store);
    const provider = openaiCompatible(sandbox.openaiCompatible);
    const first = createImageClient({ provider, journal });
    const { images } = await first.generate({ prompt: "A boat", n: 3 });
    const bytes = await Promise.all(images.map((image) => image.base64()));
    expect(await count("image_pieces")).toBe(0);
    expect(s3.keys().length - before.length).toBe(3);
    await sandbox.close();
    const second = createPostgresJournal(pool, { images: s3.store });
    for await (const job of createImageClient({ provider, journal: second }).recover()) {
      const again = await job.result();
      expect(await Promise.all(again.images.map((image) => image.base64()))).toEqual(bytes);
      await job.release();
    }
    expect(s3.keys().length).toBe(before.length);
    expect([await count("images"), await count("records")]).toEqual([0, 0]);
  });

  test("what a store could not delete is deleted by the next recovery, and hides no record", async () => {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    let isDown = true;
    const deleted: string[] = [];
    const store: ImageStore = {
      write: async () => {},
      read: async () => undefined,
      async delete(key) {
        if (isDown) throw new Error("503 Slow Down");
        deleted.push(key);
      },
    };
    const { journal, count } = await open(store);
    await journal.create(recordOf("job.0"));
    await journal.writeImage("job.0", 0, pngOf("a"));
    await expect(journal.delete("job.0")).rejects.toThrow("503 Slow Down");
    expect([await count("records"), await count("images")]).toEqual([0, 1]);
    await journal.clean();
    expect(warned.mock.calls.flat()).toEqual([expect.stringContaining("503 Slow Down")]);
    isDown = false;
    await journal.clean();
    expect(deleted).toHaveLength(1);
    expect(await count("images")).toBe(0);
    warned.mockRestore();
  });

  test("an object whose writer died is deleted with its record", async () => {
    const { pool, journal } = await open({ ...s3.store, write: () => new Promise(() => {}) });
    await journal.create(recordOf("job.0"));
    void journal.writeImage("job.0", 0, pngOf("a"));
    const deleted: string[] = [];
    const after = createPostgresJournal(pool, {
      images: { ...s3.store, delete: async (key) => deleted.push(key) },
    });
    await expect
      .poll(async () => (await pool.query("SELECT 1 FROM image_journal.images")).rows)
      .toHaveLength(1);
    expect(await after.readImage("job.0", 0)).toBeUndefined();
    await after.delete("job.0");
    expect(deleted).toEqual([expect.stringMatching(/^job\.0\/0-[\da-f]{32}$/)]);
  });

  test("images that are in rows are read by a journal with a store, and the other way round it is said", async () => {
    const { pool, journal } = await open();
    await journal.writeImage("job.0", 0, pngOf("in rows"));
    const stored = createPostgresJournal(pool, { images: s3.store });
    expect(Buffer.from((await stored.readImage("job.0", 0)) ?? [])).toEqual(pngOf("in rows"));
    await stored.writeImage("job.0", 1, pngOf("in a store"));
    await expect(journal.readImage("job.0", 1)).rejects.toThrow(/in a store: give the journal its/);
  });

  test.each([0, 1, 4 * 1024 * 1024 - 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 60 * 1024 * 1024])(
    "an image of %i bytes comes back as it was, in values of at most 4 MiB",
    async (size) => {
      const { pool, journal, count } = await open();
      const bytes = Buffer.alloc(size);
      for (let at = 0; at < size; at += 4_093) bytes[at] = at % 251;
      await journal.writeImage("job.0", 0, bytes);
      const read = await journal.readImage("job.0", 0);
      expect(read !== undefined && bytes.equals(read)).toBe(true);
      expect(await count("image_pieces")).toBe(Math.max(1, Math.ceil(size / 4 / 1024 / 1024)));
      const { rows } = await pool.query(
        "SELECT max(octet_length(bytes)) AS most FROM image_journal.image_pieces",
      );
      expect(Number(rows[0].most)).toBeLessThanOrEqual(4 * 1024 * 1024);
      await journal.delete("job.0");
      expect(await count("image_pieces")).toBe(0);
    },
  );

  test("an image is the old one until the new one is whole, and the old one then goes", async () => {
    const { pool, journal, count } = await open();
    const [old, young] = [5, 6].map((fill) => Buffer.alloc(9 * 1024 * 1024, fill));
    if (old === undefined || young === undefined) throw new Error("no images");
    await journal.writeImage("job.0", 0, old);
    let pieces = 0;
    const dying: PostgresPool = {
      query(text, values) {
        if (text.includes("image_pieces")) pieces += 1;
        return pieces > 2 ? new Promise(() => {}) : pool.query(text, values);
      },
    };
    void createPostgresJournal(dying).writeImage("job.0", 0, young);
    await expect.poll(() => count("image_pieces")).toBe(5);
    expect(old.equals((await journal.readImage("job.0", 0)) ?? none)).toBe(true);
    await journal.writeImage("job.0", 0, young);
    expect(young.equals((await journal.readImage("job.0", 0)) ?? none)).toBe(true);
    expect([await count("image_pieces"), await count("images")]).toEqual([3, 1]);
  });

  test("two processes that bring the same image at once leave it there once", async () => {
    const { pool, journal, count } = await open();
    const bytes = Buffer.alloc(9 * 1024 * 1024, 7);
    const journals = Array.from({ length: 6 }, () => createPostgresJournal(pool));
    await Promise.all(journals.map((each) => each.writeImage("job.0", 0, bytes)));
    expect(bytes.equals((await journal.readImage("job.0", 0)) ?? none)).toBe(true);
    expect([await count("image_pieces"), await count("images")]).toEqual([3, 1]);
  });
});
