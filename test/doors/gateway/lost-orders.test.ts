import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capabilities, ProviderUnavailableError, RateLimitError } from "gpt-image-client";
import type { GatewayStore, OrderRecord } from "gpt-image-client/gateway";
import { describe, expect, test } from "vitest";
import { settled, TestClock } from "./clock";
import { Stage, started, unknown } from "./held";

/** A store that outlives the gateways over it. */
async function memoryStore() {
  const directory = await mkdtemp(join(tmpdir(), "gateway-lost-"));
  const records = new Map<string, OrderRecord>();
  const store: GatewayStore = {
    directory,
    put: async (record) => void records.set(record.id, record),
    delete: async (id) => void records.delete(id),
    async *list() {
      yield* records.values();
    },
  };
  return {
    store,
    records,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true, maxRetries: 10 }),
  };
}

/** A gateway whose process died while its order was at the provider, and the one that follows it. */
async function afterCrash(
  store: GatewayStore,
  { idempotent = true, keepsJournal = false }: Partial<Capabilities> = {},
  key?: string,
) {
  const clock = new TestClock();
  const dead = new Stage({ store }, { idempotent, keepsJournal }, clock);
  void dead.ask(key === undefined ? {} : { key });
  await started(dead, 1);
  const next = new Stage({ store, maxOrdersPerCaller: 1 }, { idempotent, keepsJournal }, clock);
  await settled();
  return { id: dead.held.idOf(0), stage: next, clock };
}

describe("an order that a dead process had sent", () => {
  test.each([
    ["a refusal that passes", () => new RateLimitError({ charged: "no" })],
    ["a provider that is busy", () => new ProviderUnavailableError({ charged: "no" })],
  ])("and that ends in %s when it is sent again may have been charged", async (_, refusal) => {
    await using kept = await memoryStore();
    const { stage, id } = await afterCrash(kept.store);
    const second = stage.ask();
    await started(stage, 1);
    expect(stage.held.idOf(0)).toBe(id);
    stage.held.calls[0]?.end(refusal());
    const { status, body } = await second.received();
    expect({ status, body }).toMatchObject({
      status: 424,
      body: { error: { charged: "unknown", job: id } },
    });
    expect(kept.records.get(id)?.end).toMatchObject({ charged: "unknown" });
  });

  test("and whose store is full when it is sent again may have been charged", async () => {
    await using kept = await memoryStore();
    const { stage, id } = await afterCrash(kept.store, {}, "k");
    kept.store.put = () => Promise.reject(new Error("No space left on device"));
    for (const _ of [1, 2]) {
      const { status, body } = await stage.ask({ key: "k" }).received();
      expect({ status, body }).toMatchObject({
        status: 424,
        body: { error: { charged: "unknown", job: id } },
      });
    }
    expect(stage.held.calls).toHaveLength(0);
  });

  test("is not sent again once the provider may have forgotten its key", async () => {
    await using kept = await memoryStore();
    const { stage, id, clock } = await afterCrash(kept.store);
    await clock.pass(11 * 60_000);
    const { status, body } = await stage.ask().received();
    expect({ status, body }).toMatchObject({
      status: 424,
      body: { error: { charged: "unknown", job: id } },
    });
    expect(stage.held.calls).toHaveLength(0);
  });

  test("nor where the machine slept, and its timers with it", async () => {
    await using kept = await memoryStore();
    const { stage, clock } = await afterCrash(kept.store);
    clock.sleep(11 * 60_000);
    const { status } = await stage.ask().received();
    expect(status).toBe(424);
    expect(stage.held.calls).toHaveLength(0);
  });

  test.each([
    ["a key that the provider honours", {}],
    ["a journal", { idempotent: false, keepsJournal: true }],
  ])("with %s counts against its caller for a time alone", async (_, capabilities) => {
    await using kept = await memoryStore();
    const { stage, clock } = await afterCrash(kept.store, { idempotent: true, ...capabilities });
    expect((await stage.ask({ prompt: "Another" }).received()).status).toBe(429);
    await clock.pass(21 * 60_000);
    void stage.ask({ prompt: "Another" });
    expect(await started(stage, 1)).toBe(1);
  });

  test("is sent again for a day under a caller's key where a journal knows of it", async () => {
    await using kept = await memoryStore();
    const capabilities = { idempotent: true, keepsJournal: true };
    const { stage, clock, id } = await afterCrash(kept.store, capabilities, "k");
    await clock.pass(23 * 3_600_000);
    const second = stage.ask({ key: "k" });
    await started(stage, 1);
    expect(stage.held.idOf(0)).toBe(id);
    await stage.end(0, unknown());
    expect((await second.received()).status).toBe(424);
  });
});
