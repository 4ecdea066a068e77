import type {
  ImageEvent,
  ImageJob,
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
      const order = await accounting.orderOf(jobOf(attempt).reference);
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
});
