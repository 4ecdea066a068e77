import type {
  ImageEvent,
  ImageJob,
  ImageResult,
  JobReference,
  LedgerEntry,
  LedgerStore,
} from "gpt-image-client";
import { memoryLedger } from "gpt-image-client/router";
import { describe, expect, test } from "vitest";
import { Accounting } from "../../../src/doors/router/accounting";
import { Rates } from "../../../src/doors/router/money";
import { fates, refusals } from "./model-client";
import { SimClock } from "./sim-clock";
import { failureOf, listOf, prompt, stage } from "./stage";

const key = { idempotencyKey: "order 1" };
const price = { amount: 0.1, unit: "USD", basis: "list" } as const;

test("a job that failed unbilled stays given back, and what is bought after it is held anew", async () => {
  const ledger = memoryLedger();
  const fate = fates({ kind: "failed", durationMs: 30_000 }, { kind: "ok", durationMs: 400_000 });
  const { clock, router, another, a } = stage(
    { a: { honoursKeys: true, fate, price } },
    { ledger },
  );
  await clock.run(router.submit({ prompt }, key));
  // It waits at the job, and cannot know that its client bought nothing beside it.
  expect((await clock.run(failureOf(another().generate({ prompt }, key)))).charged).toBe("unknown");
  const states = async () =>
    (await listOf(ledger.entries())).map(({ state, counted }) => [state, counted?.amount]);
  expect(await states()).toEqual([["refunded", 0]]);
  const late = another().generate({ prompt }, { ...key, timeoutMs: 60_000 });
  expect((await clock.run(failureOf(late))).code).toBe("timeout");
  expect(a.purchases).toHaveLength(1);
  expect(await states()).toEqual([
    ["refunded", 0],
    ["unknown", 0.1],
  ]);
});

describe("one entry, which a second call has taken up", () => {
  /** Under one key both jobs have the same name; their tasks have not. */
  const jobOf = (attempt: string) => {
    const tasks: JobReference["tasks"] = [
      { index: 0, n: 1, id: `task-${attempt}`, state: "running" },
    ];
    return { id: "job", reference: { id: "job", tasks } } as unknown as ImageJob;
  };
  const event = (rest: object) =>
    ({ provider: "a", jobId: "job", task: 0, at: 0, ...rest }) as unknown as ImageEvent;
  const submitting = event({ type: "submitting" });
  const succeeded = event({ type: "succeeded", images: 1 });
  const failed = event({ type: "failed", error: refusals.failed("a") });
  const held = { state: "reserved", counted: { amount: 0.1 } };

  async function takenUp(store: LedgerStore) {
    const entry: LedgerEntry = {
      ...{ id: "1", at: new Date(0).toISOString(), client: "a", provider: "a", images: 1 },
      ...{ operation: "generate", tags: {}, state: "reserved" },
      ...{ estimate: { amount: 0.1, unit: "USD" }, counted: { amount: 0.1, unit: "USD" } },
    };
    await store.append(entry);
    const clock = new SimClock();
    const accounting = new Accounting({
      ...{ store, budgets: [], rates: new Rates(), margin: 1, trustReported: false },
      ...{ clock, tell: () => {} },
    });
    const take = async () => {
      const order = await accounting.reopen("1");
      if (order === undefined) throw new Error("no order");
      return order;
    };
    const first = await take();
    first.hear(submitting);
    first.accepted(jobOf("first"));
    first.submitted();
    await first.written();
    await clock.pass(1_000);
    return { accounting, first, second: await take() };
  }

  test("is the second one's once that has sent again: the end of the first gives nothing back", async () => {
    const { store } = memoryLedger();
    const { first, second } = await takenUp(store);
    second.hear(submitting);
    await second.written();
    first.hear(failed);
    await first.written();
    expect(await store.read("1")).toMatchObject(held);
    second.accepted(jobOf("second"));
    second.submitted();
    second.hear(succeeded);
    await second.written();
    expect(await store.read("1")).toMatchObject({ state: "charged", counted: { amount: 0.1 } });
  });

  test("is not given back by who takes the first job up again after the second was accepted", async () => {
    const { store } = memoryLedger();
    const { accounting, second } = await takenUp(store);
    second.hear(submitting);
    second.accepted(jobOf("second"));
    await second.written();
    const refund = async (attempt: string) => {
      const order = await accounting.orderOf(jobOf(attempt).reference, false);
      order.failed(refusals.failed("a"));
      await order.written();
    };
    await refund("first");
    expect(await store.read("1")).toMatchObject(held);
    await refund("second");
    expect(await store.read("1")).toMatchObject({ state: "refunded", counted: { amount: 0 } });
  });

  test("is held again where the second sends after the first was given back", async () => {
    const { store } = memoryLedger();
    const { first, second } = await takenUp(store);
    first.hear(failed);
    await first.written();
    expect(await store.read("1")).toMatchObject({ state: "refunded", counted: { amount: 0 } });
    second.hear(submitting);
    second.left();
    await second.written();
    expect(await store.read("1")).toMatchObject({ state: "unknown", counted: { amount: 0.1 } });
  });

  test("stays settled where the second sent nothing and cannot tell", async () => {
    const { store } = memoryLedger();
    const { first, second } = await takenUp(store);
    first.hear(succeeded);
    await first.written();
    second.left();
    await second.written();
    expect(await store.read("1")).toMatchObject({ state: "charged", counted: { amount: 0.1 } });
  });

  test("knows the first job's tasks while the second is sent, and is charged by who recovers the second", async () => {
    const { store } = memoryLedger();
    const { accounting, second } = await takenUp(store);
    second.hear(submitting);
    await second.written();
    // Its process is killed here.
    expect(await store.read("1")).toMatchObject({ reference: { tasks: [{ id: "task-first" }] } });
    const order = await accounting.orderOf(jobOf("second").reference, true);
    order.succeeded({ images: [{}], failures: [] } as unknown as ImageResult);
    await order.written();
    expect(await store.read("1")).toMatchObject({ state: "charged" });
  });

  test("keeps what the first cost where the second sends all the same, and is refused", async () => {
    const { store } = memoryLedger();
    const { first, second } = await takenUp(store);
    const cost = { amount: 0.3, unit: "USD", basis: "reported" };
    first.hear(event({ type: "succeeded", images: 1, cost }));
    await first.written();
    second.hear(submitting);
    second.failed(refusals.rateLimited("a"));
    await second.written();
    expect(await store.read("1")).toMatchObject({ state: "charged", counted: { amount: 0.3 } });
  });
});

test("an order in doubt is not said to be uncharged where no budget has room to ask after it", async () => {
  const { clock, another } = stage({ a: { honoursKeys: true, price } });
  const first = another({ ledger: memoryLedger() }).generate(
    { prompt },
    { ...key, timeoutMs: 1_000 },
  );
  expect((await clock.run(failureOf(first))).charged).toBe("unknown");
  const budget = [{ amount: 0.1, unit: "USD", per: "day" } as const];
  const next = another({ ledger: memoryLedger(), budget });
  await clock.run(next.generate({ prompt: "Another" }));
  const error = await clock.run(failureOf(next.generate({ prompt }, key)));
  expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown" });
  expect(error.failures).toMatchObject([{ code: "budget_exceeded", charged: "no" }]);
});

test("what is held to ask after an order is given back where its claim cannot be written", async () => {
  const ledger = memoryLedger();
  const fate = fates({ kind: "failed", durationMs: 1_000 }, { kind: "ok", durationMs: 1_000 });
  const models = { a: { honoursKeys: true, price, fate } };
  const { clock, router, journal, another } = stage(models, { ledger });
  await clock.run(router.submit({ prompt }, key));
  await clock.pass(60_000);
  const broken = {
    ...journal,
    create: async () => {
      throw new Error("EIO");
    },
  };
  const error = await clock.run(failureOf(another({ journal: broken }).generate({ prompt }, key)));
  expect(error).toMatchObject({ charged: "unknown", failures: [{ code: "journal_failed" }] });
  expect((await listOf(ledger.entries())).map(({ state }) => state)).toEqual([
    "refunded",
    "refunded",
  ]);
});

test("a key whose order never left, since its router was closed, is free", async () => {
  const { clock, journal, another, a } = stage({ a: { price } });
  const slow = {
    ...journal,
    create: async (record: Parameters<typeof journal.create>[0]) => {
      await clock.sleep(1_000);
      return journal.create(record);
    },
  };
  const closed = another({ journal: slow });
  const work = failureOf(closed.generate({ prompt }, key));
  await clock.pass(500);
  await closed.close();
  expect(await clock.run(work)).toMatchObject({ code: "client_closed", charged: "no" });
  expect(a.asked).toHaveLength(0);
  expect((await clock.run(another().generate({ prompt }, key))).provider).toBe("a");
});
