import { PGlite } from "@electric-sql/pglite";
import type { GatewayStore } from "gpt-image-client/gateway";
import { createPostgresGatewayStore, migrate } from "gpt-image-client/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { orderRecord, recordsIn, storeContract } from "./gateway/store-contract";

// On a bare machine; what needs a real server is `npm run test:postgres`.

let database: PGlite;
let schemas = 0;

beforeAll(async () => {
  database = await PGlite.create();
}, 180_000);

afterAll(() => database.close());

async function newSchema(): Promise<string> {
  schemas += 1;
  const schema = `gateway_${schemas}`;
  await migrate(database, { schema });
  return schema;
}

storeContract("PostgreSQL, on PGlite", async () => {
  const schema = await newSchema();
  return {
    open: (directory): GatewayStore =>
      createPostgresGatewayStore(database, { schema, directory, leaseMs: 60_000 }),
    end: () => database.exec(`DROP SCHEMA ${schema} CASCADE`),
  };
});

test("what is no pool, directory, schema or time is refused, and an option that there is not", () => {
  // As JavaScript may give it.
  const create = (...given: unknown[]) =>
    Reflect.apply(createPostgresGatewayStore, undefined, given);
  expect(() => create({}, { directory: "d" })).toThrow(/npm install pg/);
  expect(() => create(database)).toThrow(/directory/);
  expect(() => create(database, { directory: "d", schema: "Mine" })).toThrow(/schema/);
  expect(() => create(database, { directory: "d", timeoutMs: 0 })).toThrow(/timeoutMs/);
  for (const leaseMs of [999, Number.NaN, "5"]) {
    expect(() => create(database, { directory: "d", leaseMs })).toThrow(/leaseMs/);
  }
  expect(() => create(database, { directory: "d", path: "d" })).toThrow(/path/);
});

test("whoever has the lease alone can write, and has another number after another had it", async () => {
  const schema = await newSchema();
  const open = () => createPostgresGatewayStore(database, { schema, directory: "d" });
  const [first, second] = [open(), open()];
  const number = await first.lease.take();
  expect(await first.lease.take()).toBe(number);
  expect(await second.lease.take()).toBeUndefined();
  await first.put(orderRecord(1));
  await expect(second.put(orderRecord(2))).rejects.toThrow(/Another gateway/);
  // It ran out.
  await database.query(`UPDATE ${schema}.gateway_lease SET expires_at = now() - interval '1 s'`);
  await first.put(orderRecord(3));
  expect(await second.lease.take()).toBeTypeOf("number");
  await expect(first.put(orderRecord(4))).rejects.toThrow(/Another gateway/);
  await expect(first.delete(orderRecord(1).id)).rejects.toThrow(/Another gateway/);
  // Only its own is ended.
  await first.lease.release();
  expect(await first.lease.take()).toBeUndefined();
  await second.lease.release();
  expect(await first.lease.take()).not.toBe(number);
  await first.put(orderRecord(4));
  expect(await recordsIn(first)).toEqual([1, 3, 4].map((index) => orderRecord(index)));
});
