import { hostname } from "node:os";
import type { JournalRecord } from "gpt-image-client";
import { memoryLedger } from "gpt-image-client/router";
import { expect, test } from "vitest";
import type { ImageRouterOptions } from "../../../src/doors/router/types";
import { type Fate, fates, ok, refusals } from "./model-client";
import { failureOf, listOf, prompt, refused, stage } from "./stage";

const key = { idempotencyKey: "order 1" };
const bold = { ...key, onUnknown: "buy-again" } as const;
const lost: Fate = { kind: "lost", isTaken: true };
const inDoubt = { code: "submission_unknown", charged: "unknown", provider: "a" };

/** The first order is lost, and its second purchase is refused: after that, everything works. */
async function refusedAgain(
  first: { readonly fate?: Fate; readonly honoursKeys?: boolean } = {},
  options: Partial<ImageRouterOptions> = {},
) {
  const { fate = lost, ...kind } = first;
  const models = {
    a: { ...kind, fate: fates(fate, ok) },
    b: { fate: fates(refused(refusals.moderated("b")), ok) },
  };
  const staged = stage(models, options);
  const { clock, router } = staged;
  expect(await clock.run(failureOf(router.generate({ prompt }, bold)))).toMatchObject(inDoubt);
  return staged;
}

test("a refused second purchase leaves the first in doubt: nobody buys who did not ask for it", async () => {
  const { clock, router, another, clients } = await refusedAgain();
  for (const each of [router, another()]) {
    expect(await clock.run(failureOf(each.generate({ prompt }, key)))).toMatchObject(inDoubt);
    expect(await clock.run(failureOf(each.submit({ prompt }, key)))).toMatchObject(inDoubt);
  }
  expect(clients.map(({ asked }) => asked.length)).toEqual([1, 1]);
});

test("whoever asks for it buys once more after a refused second purchase, and not a third time", async () => {
  const { clock, another, clients } = await refusedAgain();
  const { warnings, provider } = await clock.run(another().generate({ prompt }, bold));
  expect([provider, warnings.join()]).toEqual(["b", expect.stringMatching(/paid for twice/)]);
  for (const options of [key, bold]) await clock.run(another().generate({ prompt }, options));
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(2);
});

test("a lost order whose client honours keys is asked for again there, whatever was refused since", async () => {
  const fate = { kind: "lost", isTaken: false } as const;
  const { clock, another, clients } = await refusedAgain({ fate, honoursKeys: true });
  const other: Partial<ImageRouterOptions> = { sort: (all) => all.toReversed() };
  expect((await clock.run(another(other).generate({ prompt }, key))).provider).toBe("a");
  expect(clients.map(({ purchases }) => purchases.length)).toEqual([1, 0]);
});

test("an order in doubt keeps its claims, however long ago its second purchase was refused", async () => {
  const { clock, router, journal, clients } = await refusedAgain();
  await clock.pass(31 * 24 * 60 * 60_000);
  for await (const _ of router.recover());
  expect(await listOf(journal.list())).toMatchObject([
    { record: { state: "unknown" } },
    { record: { state: "failed" } },
  ]);
  expect(await clock.run(failureOf(router.generate({ prompt }, key)))).toMatchObject(inDoubt);
  expect(clients.map(({ asked }) => asked.length)).toEqual([1, 1]);
});

test("a person's word on the first order frees its key, whatever was refused since", async () => {
  const ledger = memoryLedger();
  const { clock, router, clients } = await refusedAgain({}, { ledger });
  const open = (await listOf(ledger.entries())).filter(({ state }) => state === "unknown");
  expect(open.map(({ client }) => client)).toEqual(["a"]);
  await ledger.settle(open[0]?.id ?? "", { charged: "no" });
  // The first client still cools.
  expect((await clock.run(router.generate({ prompt }, key))).provider).toBe("b");
  expect(clients.map(({ asked }) => asked.length)).toEqual([1, 2]);
});

test("a person's word on the second purchase alone leaves the first in doubt", async () => {
  const ledger = memoryLedger();
  const models = { a: { fate: fates(lost, ok) }, b: { fate: fates(lost, ok) } };
  const { clock, router, clients } = stage(models, { ledger });
  await clock.run(failureOf(router.generate({ prompt }, bold)));
  const entries = await listOf(ledger.entries());
  expect(entries.map(({ client, state }) => [client, state])).toEqual([
    ["a", "unknown"],
    ["b", "unknown"],
  ]);
  const idAt = (name: string) => entries.find(({ client }) => client === name)?.id ?? "";
  await ledger.settle(idAt("b"), { charged: "no" });
  expect(await clock.run(failureOf(router.generate({ prompt }, key)))).toMatchObject(inDoubt);
  await ledger.settle(idAt("a"), { charged: "no" });
  await clock.run(router.generate({ prompt }, key));
  expect(clients.map(({ asked }) => asked.length)).toEqual([2, 1]);
});

test("a person's word on both orders frees the key, the first one's first", async () => {
  const ledger = memoryLedger();
  const models = { a: { fate: fates(lost, ok) }, b: { fate: fates(lost, ok) } };
  const { clock, router, clients } = stage(models, { ledger });
  await clock.run(failureOf(router.generate({ prompt }, bold)));
  for (const { id } of await listOf(ledger.entries())) {
    expect((await clock.run(failureOf(router.generate({ prompt }, key)))).charged).toBe("unknown");
    await ledger.settle(id, { charged: "no" });
  }
  await clock.run(router.generate({ prompt }, key));
  expect(clients.map(({ asked }) => asked.length)).toEqual([2, 1]);
});

test("nobody's word ends an order that a call is at just now, and its key is not free meanwhile", async () => {
  const ledger = memoryLedger();
  const fate = fates({ kind: "lost", isTaken: false }, ok);
  const models = { a: { honoursKeys: true, fate }, b: {} };
  const { clock, router, another, clients } = stage(models, { ledger });
  await clock.run(failureOf(router.generate({ prompt }, key)));
  const [entry] = await listOf(ledger.entries());
  const second = router.generate({ prompt }, key);
  await clock.pass(5_000);
  const settled = ledger.settle(entry?.id ?? "", { charged: "no" });
  await expect(settled).rejects.toMatchObject({ code: "invalid_request", retryable: true });
  const third = another({ sort: (all) => all.toReversed() }).generate({ prompt }, key);
  await clock.run(Promise.all([second, third]));
  expect(clients.map(({ purchases }) => purchases.length)).toEqual([1, 0]);
  expect(await listOf(ledger.entries())).toMatchObject([{ state: "charged" }]);
});

test("a person's word counts for an order that was submitted, once it has had its time, though its process lives", async () => {
  const ledger = memoryLedger();
  const { clock, router, journal, another } = stage({ a: {} }, { ledger });
  await clock.run(router.submit({ prompt }, { ...key, timeoutMs: 1_000 }));
  const [claim] = (await listOf(journal.list())).map(({ record }) => record as JournalRecord);
  if (claim === undefined) return expect.fail("there is no claim");
  await journal.update({ ...claim, owner: { host: hostname(), pid: process.ppid } });
  const [entry] = await listOf(ledger.entries());
  if (entry === undefined) return expect.fail("there is no entry");
  // As one has it whose process never heard of the end.
  const other = memoryLedger();
  await other.store.append({ ...entry, state: "unknown" });
  another({ ledger: other });
  const settle = () => other.settle(entry.id, { charged: "yes" });
  await expect(settle()).rejects.toMatchObject({ retryable: true });
  await clock.pass(24 * 3_600_000);
  await settle();
  expect(await listOf(other.entries())).toMatchObject([{ state: "charged" }]);
});

test("a second purchase that is released leaves the first in doubt", async () => {
  const failing: Fate = { kind: "failed", durationMs: 1_000 };
  const models = { a: { fate: fates(lost, ok) }, b: { fate: fates(failing, ok) } };
  const { clock, router, another, clients } = stage(models);
  await clock.run(failureOf(router.generate({ prompt }, key)));
  const job = await clock.run(router.submit({ prompt }, bold));
  await clock.run(failureOf(job.result()));
  await job.release();
  expect(await clock.run(failureOf(another().generate({ prompt }, key)))).toMatchObject(inDoubt);
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(1);
});

test("the claim of an order in doubt outlives that of its second purchase, which was delivered", async () => {
  const { clock, router, another, clients } = stage({ a: { fate: fates(lost, ok) }, b: {} });
  await clock.run(router.generate({ prompt }, bold));
  await clock.pass(31 * 24 * 60 * 60_000);
  for await (const _ of router.recover());
  expect(await clock.run(failureOf(another().generate({ prompt }, key)))).toMatchObject(inDoubt);
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(2);
});
