import type { GatewayStore } from "gpt-image-client/gateway";
import { createPostgresGatewayStore } from "gpt-image-client/postgres";
import { expect, test } from "vitest";
import { usePGlite } from "../support/pglite";
import { orderRecord, recordsIn, storeContract } from "./gateway/store-contract";

const pglite = usePGlite();

storeContract("PostgreSQL, on PGlite", async () => {
  const { schema, drop: end } = await pglite.newSchema();
  return {
    open: (directory): GatewayStore =>
      createPostgresGatewayStore(pglite.database, { schema, directory, leaseMs: 60_000 }),
    end,
  };
});

test("what is no pool, directory, schema or time is refused, and an option that there is not", () => {
  // As JavaScript may give it.
  const create = (...given: unknown[]) =>
    Reflect.apply(createPostgresGatewayStore, undefined, given);
  expect(() => create({}, { directory: "d" })).toThrow(/npm install pg/);
  expect(() => create(pglite.database)).toThrow(/directory/);
  expect(() => create(pglite.database, { directory: "d", schema: "Mine" })).toThrow(/schema/);
  expect(() => create(pglite.database, { directory: "d", timeoutMs: 0 })).toThrow(/timeoutMs/);
  for (const leaseMs of [999, Number.NaN, "5"]) {
    expect(() => create(pglite.database, { directory: "d", leaseMs })).toThrow(/leaseMs/);
  }
  expect(() => create(pglite.database, { directory: "d", path: "d" })).toThrow(/path/);
});

test("whoever has the lease alone can write, and has another number after another had it", async () => {
  const { schema } = await pglite.newSchema();
  const open = () => createPostgresGatewayStore(pglite.database, { schema, directory: "d" });
  const [first, second] = [open(), open()];
  const number = await first.lease.take();
  expect(await first.lease.take()).toBe(number);
  expect(await second.lease.take()).toBeUndefined();
  await first.put(orderRecord(1));
  await expect(second.put(orderRecord(2))).rejects.toThrow(/Another gateway/);
  // It ran out.
  await pglite.database.query(
    `UPDATE ${schema}.gateway_lease SET expires_at = now() - interval '1 s'`,
  );
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
