import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GatewayStore, OrderRecord } from "gpt-image-client/gateway";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settled } from "./clock";
import { Stage, started, unknown } from "./held";

const capabilities = { idempotent: true, keepsJournal: true };

/** What gateways share: records, and a lease that ends when the test says so. */
class SharedStore {
  readonly records = new Map<string, OrderRecord>();
  holder: object | undefined;
  number = 0;
  /** What the database fails with. */
  fault: Error | undefined;

  constructor(readonly directory: string) {}

  open(): GatewayStore {
    const self = {};
    let term = 0;
    const check = () => {
      if (this.fault !== undefined) throw this.fault;
      if (this.holder !== self || this.number !== term) throw new Error("Another has it");
    };
    const { records } = this;
    const shared = this;
    return {
      directory: this.directory,
      async put(record) {
        check();
        records.set(record.id, record);
      },
      async delete(id) {
        check();
        records.delete(id);
      },
      async *list() {
        if (shared.fault !== undefined) throw shared.fault;
        yield* records.values();
      },
      lease: {
        renewEveryMs: 5_000,
        take: async () => {
          if (this.fault !== undefined) throw this.fault;
          if (this.holder !== undefined && this.holder !== self) return undefined;
          if (this.holder === undefined) this.number += 1;
          this.holder = self;
          term = this.number;
          return term;
        },
        release: async () => {
          if (this.holder === self) this.holder = undefined;
        },
      },
    };
  }
}

describe("of gateways that share a store", () => {
  let directory: string;
  let shared: SharedStore;
  /** Each has a clock of its own: of one that was killed nothing happens any more. */
  const gateway = () => new Stage({ store: shared.open() }, capabilities);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "gateway-lease-"));
    shared = new SharedStore(directory);
  });

  afterEach(() => rm(directory, { recursive: true, force: true, maxRetries: 10 }));

  test("one orders, and the others say that nothing was ordered", async () => {
    const [first, second] = [gateway(), gateway()];
    void first.ask();
    await started(first, 1);
    const { status, body, headers } = await second.ask().received();
    expect({ status, body }).toMatchObject({
      status: 503,
      body: { error: { charged: "no", code: "standby" } },
    });
    expect(headers.get("retry-after")).toBe("2");
    expect((await second.job(first.held.idOf(0))).status).toBe(503);
    expect(second.held.calls).toHaveLength(0);
  });

  test("another takes over what the first has left, and orders nothing twice", async () => {
    const [first, second] = [gateway(), gateway()];
    void first.ask({ key: "k" });
    await started(first, 1);
    const id = first.held.idOf(0);
    // It was killed.
    shared.holder = undefined;
    await second.clock.pass(5_000);
    const again = second.ask({ key: "k" });
    await started(second, 1);
    expect(second.held.idOf(0)).toBe(id);
    second.held.calls[0]?.end(unknown());
    expect(await again.received()).toMatchObject({ status: 424, body: { error: { job: id } } });
  });

  test("one that was taken from orders nothing more, before and after it knows", async () => {
    const first = gateway();
    void first.ask();
    await started(first, 1);
    // It slept for longer than its lease.
    shared.holder = undefined;
    const second = gateway();
    await settled();
    const late = await first.ask({ prompt: "Another" }).received();
    expect(late).toMatchObject({ status: 503, body: { error: { charged: "no" } } });
    expect(first.held.calls).toHaveLength(1);
    await first.clock.pass(5_000);
    expect((await first.ask().received()).body.error?.code).toBe("standby");
    // What it had under way ends for whoever still waits there, and is the other's to keep.
    const before = JSON.stringify([...shared.records]);
    first.held.calls[0]?.end();
    await settled();
    await first.clock.pass(5_000);
    expect(second.errors).toEqual([]);
    expect(JSON.stringify([...shared.records])).not.toContain('"facts"');
    expect(before).toContain(first.held.idOf(0));
  });

  test("one that has it again reads anew what another has ordered meanwhile", async () => {
    const first = gateway();
    await settled();
    shared.holder = undefined;
    const second = gateway();
    void second.ask({ key: "k" });
    await started(second, 1);
    // Now the second was killed.
    shared.holder = undefined;
    await first.clock.pass(5_000);
    const again = first.ask({ key: "k" });
    await started(first, 1);
    expect(first.held.idOf(0)).toBe(second.held.idOf(0));
    first.held.calls[0]?.end(unknown());
    await again.received();
  });

  test("a lease that cannot be renewed is kept for as long as nobody takes it", async () => {
    const first = gateway();
    await settled();
    shared.fault = new Error("The database restarts");
    await first.clock.pass(15_000);
    expect(first.errors).toHaveLength(3);
    expect((await first.ask().received()).body.error).toMatchObject({ code: "store_failed" });
    shared.fault = undefined;
    void first.ask();
    await started(first, 1);
  });

  test("a store that cannot be read is read again", async () => {
    shared.fault = new Error("The database restarts");
    const first = gateway();
    expect((await first.ask().received()).status).toBe(503);
    shared.fault = undefined;
    await first.clock.pass(5_000);
    void first.ask();
    await started(first, 1);
  });

  test("one that closes lets the next have it at once", async () => {
    const [first, second] = [gateway(), gateway()];
    await settled();
    expect((await second.ask().received()).status).toBe(503);
    await first.gateway.close();
    await second.clock.pass(5_000);
    void second.ask();
    await started(second, 1);
    expect((await first.ask().received()).status).toBe(503);
  });
});
