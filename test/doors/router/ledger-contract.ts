import { createLedger, type ImageLedger } from "gpt-image-client/router";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { LedgerEntry, LedgerLimit, LedgerStore } from "../../../src/ledger/store";
import { listOf } from "./stage";

export const at = (day: number, hour = 12) => new Date(Date.UTC(2026, 10, day, hour)).toISOString();

export function entry(id: string, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    ...{ id, at: at(1), client: "a", provider: "a", operation: "generate", images: 1, tags: {} },
    ...{ state: "reserved", counted: { amount: 0.1, unit: "USD" } },
    ...more,
  };
}

export const limit = (amount: number, more: Partial<LedgerLimit> = {}): LedgerLimit => ({
  ...{ amount, tags: {}, rates: { USD: 1 }, ...more },
});

/** A place for ledgers, in which each test has one of its own. */
export interface LedgerPlace {
  /** The ledger's store; called again it is as another process has it. */
  open(): LedgerStore;
  end?(): Promise<unknown>;
}

/** What every ledger promises, wherever it is kept. */
export function ledgerContract(
  name: string,
  setUp: () => LedgerPlace | Promise<LedgerPlace>,
): void {
  describe(name, () => {
    let place: LedgerPlace;
    const make = (): ImageLedger => createLedger(place.open());

    beforeEach(async () => {
      place = await setUp();
    });

    afterEach(() => place.end?.());

    test("lets in what has room, whatever comes at once, to the billionth", async () => {
      const { store } = make();
      const all = Array.from({ length: 40 }, (_, index) =>
        store.append(entry(`${index}`), [limit(1)]),
      );
      const refused = (await Promise.all(all)).filter((each) => each !== undefined);
      expect(refused).toHaveLength(30);
      expect(refused[0]).toEqual({ limit: 0, used: 1 });
      expect(await store.sums(limit(0))).toEqual({ charged: 0, reserved: 1, unknown: 0 });
    });

    test("counts the entries of a time, of tags and of units, also of before the limit was asked for", async () => {
      const { store } = make();
      await store.append(entry("1", { at: at(1), tags: { team: "web" } }));
      await store.append(entry("2", { at: at(2), state: "charged" }));
      await store.append(entry("3", { counted: { amount: 10, unit: "credits" } }));
      const sums = (more: Partial<LedgerLimit>) => store.sums(limit(0, more));
      expect(await sums({})).toMatchObject({ reserved: 0.1, charged: 0.1 });
      expect(await sums({ from: at(2), to: at(3) })).toMatchObject({ reserved: 0, charged: 0.1 });
      expect(await sums({ tags: { team: "web" } })).toMatchObject({ reserved: 0.1, charged: 0 });
      expect(await sums({ rates: { USD: 1, credits: 0.01 } })).toMatchObject({ reserved: 0.2 });
      await store.update("1", { state: "unknown", counted: { amount: 0.3, unit: "USD" } });
      expect(await sums({})).toMatchObject({ reserved: 0, unknown: 0.3 });
      await store.update("2", { state: "refunded", counted: { amount: 0, unit: "USD" } });
      expect(await sums({})).toMatchObject({ charged: 0 });
    });

    test("adds up by what is asked for", async () => {
      const ledger = make();
      const { store } = ledger;
      await store.append(entry("1", { state: "charged", tags: { team: "web" } }));
      await store.append(entry("2", { state: "charged", tags: { team: "print" }, provider: "b" }));
      const { counted: _, ...priceless } = entry("4");
      await store.append(priceless);
      await store.append(entry("3", { at: at(2), tags: { team: "web" }, images: 3 }));
      expect(await ledger.totals()).toMatchObject([
        { unit: "USD", orders: 3, images: 5, charged: 0.2, reserved: 0.1 },
        { orders: 1, charged: 0 },
      ]);
      const byTeam = await ledger.totals({
        by: ["tag:team", "day"],
        from: "2026-11-01",
        to: at(3),
      });
      expect(byTeam.map(({ group }) => Object.values(group).join(" "))).toEqual([
        ...["web 2026-11-01", "print 2026-11-01", " 2026-11-01", "web 2026-11-02"],
      ]);
      expect(await ledger.totals({ by: "provider", to: at(2) })).toHaveLength(3);
    });

    test("finds an entry by its id and by its job", async () => {
      const { store } = make();
      await store.append(entry("1"));
      await store.update("1", { job: "job-1" });
      await store.update("none", { job: "job-2" });
      expect((await store.read("1"))?.job).toBe("job-1");
      expect((await store.findJob("job-1"))?.id).toBe("1");
      expect(await store.findJob("job-2")).toBeUndefined();
    });

    test("holds an order against each of several limits, and names the first without room", async () => {
      const { store } = make();
      const web = { team: "web" };
      const limits = [
        limit(0.5, { from: at(1, 0), to: at(2, 0) }),
        limit(0.2, { tags: web }),
        limit(30, { rates: { USD: 100, credits: 1 } }),
      ];
      const order = (id: string, more: Partial<LedgerEntry> = {}) =>
        store.append(entry(id, { tags: web, ...more }), limits);
      expect(await order("1")).toBeUndefined();
      expect(await order("2")).toBeUndefined();
      expect(await order("3")).toEqual({ limit: 1, used: 0.2 });
      expect(await store.read("3")).toBeUndefined();
      await store.update("1", { state: "charged", counted: { amount: 0.05, unit: "USD" } });
      await store.update("2", { state: "refunded", counted: { amount: 0, unit: "USD" } });
      expect(await order("4", { counted: { amount: 0.15, unit: "USD" } })).toBeUndefined();
      const credits = { counted: { amount: 10.5, unit: "credits" } } as const;
      expect(await order("5", credits)).toEqual({ limit: 2, used: 20 });
      expect(await order("6", { counted: { amount: 10, unit: "credits" } })).toBeUndefined();
      expect(await order("7", { counted: { amount: 0, unit: "USD" } })).toBeUndefined();
    });

    test("begins anew with each hour, day and month in UTC", async () => {
      const { store } = make();
      const day = (on: number) => limit(0.1, { from: at(on, 0), to: at(on + 1, 0) });
      const last = { at: "2026-11-01T23:59:59.999Z" };
      expect(await store.append(entry("1", last), [day(1)])).toBeUndefined();
      expect(await store.append(entry("2", last), [day(1)])).toEqual({ limit: 0, used: 0.1 });
      expect(await store.append(entry("3", { at: at(2, 0) }), [day(2)])).toBeUndefined();
      expect(await store.append(entry("4", { at: at(2, 0) }), [day(2)])).toMatchObject({
        limit: 0,
      });
    });

    test("shares what is reserved with all who have it open", async () => {
      const [here, there] = [make().store, make().store];
      expect(await here.append(entry("1"), [limit(0.1)])).toBeUndefined();
      expect(await there.append(entry("2"), [limit(0.1)])).toEqual({ limit: 0, used: 0.1 });
      await there.update("1", { state: "unknown", job: "job-1" });
      expect(await here.read("1")).toMatchObject({ state: "unknown", job: "job-1" });
      expect(await here.append(entry("2"), [limit(0.1)])).toMatchObject({ used: 0.1 });
    });

    test("keeps what anybody wrote into an order as it was", async () => {
      const { store } = make();
      const odd = { "a\u0000b": "\ud800", '"': "'; DROP TABLE x; --", ü: "\n" };
      const given = entry("1", { tags: odd, account: "a\u0000" });
      expect(await store.append(given, [limit(1, { tags: odd })])).toBeUndefined();
      expect(await store.read("1")).toEqual(given);
      expect(await store.sums(limit(0, { tags: odd }))).toMatchObject({ reserved: 0.1 });
    });

    test("lists more than a page of orders as they were reserved", async () => {
      const { store } = make();
      const count = 1_203;
      for (let index = 0; index < count; index += 1) {
        await store.append(entry(`${count - index}`, { at: at(1 + Math.floor(index / 400)) }));
      }
      const ids = (await listOf(store.entries({ from: at(2), to: at(4) }))).map(({ id }) => id);
      expect(ids).toEqual(Array.from({ length: 800 }, (_, index) => `${count - 400 - index}`));
      expect(await listOf(store.entries())).toHaveLength(count);
    });

    test("ends an order of unknown fate by the word of a person", async () => {
      const ledger = make();
      await ledger.store.append(entry("1", { state: "unknown" }));
      await ledger.store.append(entry("2", { state: "unknown" }));
      await ledger.settle("1", { charged: "no" });
      await ledger.settle("2", { charged: "yes", cost: { amount: 0.2, unit: "USD" } });
      await expect(ledger.settle("2", { charged: "no" })).rejects.toThrow(/charged/);
      expect(await ledger.store.sums(limit(0))).toEqual({ charged: 0.2, reserved: 0, unknown: 0 });
      expect((await ledger.csv()).split("\r\n")).toHaveLength(4);
    });
  });
}
