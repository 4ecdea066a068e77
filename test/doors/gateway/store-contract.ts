import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GatewayStore, OrderRecord } from "gpt-image-client/gateway";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settled } from "./clock";
import { Stage, started, unknown } from "./held";

/** A place for stores, in which each test has one of its own. */
export interface StorePlace {
  /** The store, as a process that starts has it. */
  open(directory: string): GatewayStore;
  end?(): Promise<unknown>;
}

export function orderRecord(index: number, more: Partial<OrderRecord> = {}): OrderRecord {
  return {
    ...{ v: 1, id: index.toString(16).padStart(32, "0"), caller: "c", digest: "d" },
    ...{ ordinal: index, model: "m", orderedAt: Date.parse("2026-11-01T00:00:00Z") },
    ...more,
  };
}

export async function recordsIn(store: GatewayStore): Promise<OrderRecord[]> {
  const records: OrderRecord[] = [];
  // What this test has put there.
  for await (const record of store.list()) records.push(record as OrderRecord);
  return records.sort((one, other) => one.ordinal - other.ordinal);
}

/** What every store of a gateway promises. */
export function storeContract(name: string, setUp: () => StorePlace | Promise<StorePlace>): void {
  describe(name, () => {
    let place: StorePlace;
    let directory: string;
    /** One that has the lease, if there is one, as its gateway would. */
    const opened = async () => {
      const store = place.open(directory);
      await store.lease?.take();
      return store;
    };

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), "gateway-store-"));
      place = await setUp();
    });

    afterEach(async () => {
      await place.end?.();
      await rm(directory, { recursive: true, force: true, maxRetries: 10 });
    });

    test("holds the last state of each order, whole", async () => {
      const store = await opened();
      expect(await recordsIn(store)).toEqual([]);
      const first = orderRecord(1, { digest: 'ü "\u0000\ud83d\ude00', key: "k" });
      await store.put(first);
      await store.put(orderRecord(2));
      // What a provider calls its jobs is its own matter.
      const reference = { v: 1, id: "j", provider: "p", tasks: [] } as never;
      const end = { charged: "unknown", status: 424, headers: {}, error: { code: "x" } } as const;
      await store.put({ ...first, reference });
      await store.put({ ...first, reference, end, endedAt: 7 });
      expect(await recordsIn(store)).toEqual([
        { ...first, reference, end, endedAt: 7 },
        orderRecord(2),
      ]);
    });

    test("forgets what is deleted, also twice", async () => {
      const store = await opened();
      await store.put(orderRecord(1));
      await store.put(orderRecord(2));
      for (let times = 0; times < 2; times += 1) await store.delete(orderRecord(1).id);
      expect(await recordsIn(store)).toEqual([orderRecord(2)]);
    });

    test("lists more than a page", async () => {
      const store = await opened();
      const all = Array.from({ length: 521 }, (_, index) => orderRecord(index));
      for (const record of all) await store.put(record);
      expect(await recordsIn(store)).toEqual(all);
    });

    test("says where the pictures are", () => {
      expect(place.open(directory).directory).toBe(directory);
    });

    test("holds an order before it is sent, and gives it to the gateway that comes next", async () => {
      const store = place.open(directory);
      const capabilities = { idempotent: true, keepsJournal: true };
      const dead = new Stage({ store }, capabilities);
      const asked = dead.ask({ key: "k" });
      await started(dead, 1);
      const [record] = await recordsIn(store);
      expect(record).toMatchObject({ id: dead.held.idOf(0), ordinal: 1, model: "gpt-image-2" });
      expect(record?.digest).toMatch(/^\S{20,}$/);
      expect(JSON.stringify(record)).not.toMatch(/A web|key-of-anna/);
      // Nothing more is heard of it.
      asked.leave();
      await store.lease?.release();
      const next = new Stage({ store: place.open(directory) }, capabilities);
      const again = next.ask({ key: "k" });
      await started(next, 1);
      expect(next.held.idOf(0)).toBe(record?.id);
      next.held.calls[0]?.end(unknown());
      expect((await again.received()).status).toBe(424);
      await settled();
    });
  });
}
