import { hostname } from "node:os";
import {
  directoryJournal,
  type Journal,
  type JournalRecord,
  memoryJournal,
} from "gpt-image-client";
import { expect, test } from "vitest";
import { type Fate, fates, type ModelOptions, ok, refusals } from "./model-client";
import { die, failureOf, prompt, refused, stage } from "./stage";

const key = { idempotencyKey: "order 1" };
/** One that has a journal, or whose provider honours keys; and one that has neither. */
const kinds: Readonly<Record<string, Partial<ModelOptions>>> = {
  "clients that honour keys": { honoursKeys: true },
  "clients that honour none": { honoursKeys: false },
  "clients that answer with the images, and honour keys": { hasJobs: false, honoursKeys: true },
};

async function claimsIn(journal: Journal): Promise<JournalRecord[]> {
  const all: JournalRecord[] = [];
  for await (const { record } of journal.list()) all.push(record as JournalRecord);
  return all;
}

test("a key without a journal is refused", async () => {
  const { clock, another, a } = stage({ a: {} }, { journal: undefined as never });
  const error = await clock.run(failureOf(another().generate({ prompt }, key)));
  expect(error).toMatchObject({ code: "invalid_request", field: "options.idempotencyKey" });
  expect(a.asked).toEqual([]);
});

test("the claim stands in the journal before the create leaves, and names its client", async () => {
  const seen: unknown[] = [];
  const journal = memoryJournal();
  const look = () => {
    void claimsIn(journal).then((all) => seen.push(...all.map(({ request }) => request)));
    return ok;
  };
  const { clock, router } = stage({ a: { cannot: () => "mask" }, b: { fate: look } }, { journal });
  await clock.run(router.generate({ prompt }, key));
  expect(seen).toMatchObject([{ client: "b", provider: "b" }]);
});

test.each(Object.entries(kinds))("%s: two processes at once buy once", async (_, kind) => {
  const { clock, router, another, clients } = stage({ a: kind, b: kind });
  const other = another({ sort: (all) => all.toReversed() });
  const works = [router, other, router, other].map((each) => each.generate({ prompt }, key));
  const ends = await clock.run(Promise.allSettled(works));
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(1);
  const given = ends.flatMap((end) => (end.status === "fulfilled" ? end.value.provider : []));
  expect(new Set(given).size).toBe(1);
  if (kind.honoursKeys || kind.hasJobs !== false) expect(given).toHaveLength(4);
});

test("whoever comes later goes where the claim says, whatever its own order and cooling", async () => {
  const { clock, router, another, a, b } = stage({
    a: kinds["clients that honour keys"] ?? {},
    b: {},
  });
  await clock.run(router.generate({ prompt }, key));
  const other = another({ sort: (all) => all.toReversed() });
  expect((await clock.run(other.generate({ prompt }, key))).provider).toBe("a");
  expect([a.purchases.length, b.asked.length]).toEqual([1, 0]);
});

test("each further create has a claim of its own before it leaves", async () => {
  const journal = memoryJournal();
  const seen: string[][] = [];
  const look = (end: Fate) => () => {
    void claimsIn(journal).then((all) =>
      seen.push(all.map(({ request }) => String((request as { client: string }).client))),
    );
    return end;
  };
  const models = {
    a: { fate: look(refused(refusals.empty("a"))) },
    b: { fate: look(refused(refusals.unavailable("b"))) },
    c: { fate: look(ok) },
  };
  const { clock, router } = stage(models, { journal });
  await clock.run(router.generate({ prompt }, key));
  expect(seen).toEqual([["a"], ["a", "b"], ["a", "b", "c"]]);
});

test("two that meet a refusal at once go on to one client together", async () => {
  const honoursKeys = true;
  const models = {
    a: { honoursKeys, fate: fates({ kind: "failed", durationMs: 5_000 }, ok) },
    b: { honoursKeys },
    c: { honoursKeys },
  };
  const { clock, router, another, clients } = stage(models);
  const other = another({
    sort: (all) =>
      all.toSorted((x, y) => (x.name === "a" ? -1 : y.name === "a" ? 1 : y.name < x.name ? -1 : 1)),
  });
  const works = [router, other].map((each) => each.generate({ prompt }, key));
  await clock.run(Promise.all(works));
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(1);
});

test("the same key for another request is refused, and nothing is sent", async () => {
  const { clock, router, a } = stage({ a: { honoursKeys: true } });
  await clock.run(router.generate({ prompt }, key));
  const error = await clock.run(failureOf(router.generate({ prompt: "another" }, key)));
  expect(error).toMatchObject({ code: "invalid_request", field: "options.idempotencyKey" });
  expect(a.asked).toHaveLength(1);
});

test("a key that was refused without a charge is free: the call can be made again", async () => {
  const fate = fates(refused(refusals.moderated("a")), ok);
  const { clock, router, a } = stage({ a: { fate } });
  await clock.run(failureOf(router.generate({ prompt }, key)));
  await clock.run(router.generate({ prompt }, key));
  expect(a.purchases).toHaveLength(1);
});

test("a process that died while the job ran: the next one takes it up, and nothing is bought", async () => {
  for (const kind of [kinds["clients that honour keys"], kinds["clients that honour none"]]) {
    const { clock, router, another, a } = stage({ a: kind ?? {}, b: {} });
    void router.generate({ prompt }, key).catch(() => {});
    await clock.pass(5_000);
    die();
    const result = await clock.run(another().generate({ prompt }, key));
    expect(result.provider).toBe("a");
    expect(a.purchases).toHaveLength(1);
  }
});

test("a process that died with its create on the way: nobody buys again where no key is honoured", async () => {
  const lost: Fate = { kind: "lost", isTaken: true, delayMs: 60_000 };
  const { clock, router, another, a, b } = stage({ a: { fate: () => lost }, b: {} });
  void router.generate({ prompt }, key).catch(() => {});
  await clock.pass(10);
  die();
  const error = await clock.run(failureOf(another().generate({ prompt }, key)));
  expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown", provider: "a" });
  expect([a.asked.length, b.asked.length]).toEqual([1, 0]);
  const bold = { ...key, onUnknown: "buy-again" } as const;
  await clock.run(another().generate({ prompt }, bold));
  await clock.run(failureOf(another().generate({ prompt }, bold)).catch(() => {}));
  expect([a.purchases.length, b.purchases.length]).toEqual([1, 1]);
});

test("a key buys once more at most, whoever comes with it and however often", async () => {
  const lost = () => ({ kind: "lost", isTaken: true }) as const;
  const models = { a: { fate: lost }, b: { fate: lost }, c: { fate: lost } };
  const { clock, another, clients } = stage(models);
  const bold = { ...key, onUnknown: "buy-again" } as const;
  for (let times = 0; times < 5; times += 1) {
    await clock.run(failureOf(another().generate({ prompt }, bold)));
  }
  expect(clients.flatMap(({ purchases }) => purchases)).toHaveLength(2);
});

test("another machine's claim is waited for, and believed to be dead only after its time", async () => {
  const { clock, router, another, a, journal } = stage({ a: { honoursKeys: true } });
  void router.generate({ prompt }, key).catch(() => {});
  await clock.pass(10);
  const [claim] = await claimsIn(journal);
  if (claim === undefined) throw new Error("no claim");
  await journal.update({ ...claim, owner: { host: `not-${hostname()}`, pid: 1 } });
  die();
  const error = await clock.run(
    failureOf(another().generate({ prompt }, { ...key, timeoutMs: 5 })),
  );
  expect(error).toMatchObject({ code: "timeout", charged: "unknown" });
  expect(a.asked).toHaveLength(1);
});

test("an order that waits for longer than its claim said keeps it", async () => {
  const journal = memoryJournal();
  const fate = fates(refused(refusals.rateLimited("a", 100 * 60_000)), ok);
  const { clock, another, a } = stage({ a: { fate, honoursKeys: true } }, { journal });
  const patient = another({ timeoutMs: 3 * 60 * 60_000 });
  await clock.run(patient.generate({ prompt }, key));
  expect(a.purchases).toHaveLength(1);
});

test("a client that is there no longer, or is another by now, is told and not guessed", async () => {
  const { clock, router, another, b } = stage({ a: { honoursKeys: true }, b: {} });
  await clock.run(router.generate({ prompt }, key));
  const error = await clock.run(failureOf(another({ clients: [b] }).generate({ prompt }, key)));
  expect(error).toMatchObject({ field: "options.idempotencyKey", charged: "unknown" });
  const renamed = another({ clients: [{ client: b, name: "a" }] });
  expect((await clock.run(failureOf(renamed.generate({ prompt }, key)))).message).toMatch(
    /provider/,
  );
  expect(b.asked).toEqual([]);
});

test("a job that was submitted under a key is the one that everybody gets", async () => {
  const { clock, router, another, a } = stage({ a: { honoursKeys: true } });
  const job = await clock.run(router.submit({ prompt }, key));
  const same = await clock.run(another().submit({ prompt }, key));
  expect(same.id).toBe(job.id);
  await clock.run(another().generate({ prompt }, key));
  expect(a.purchases).toHaveLength(1);
});

test("a job that is released lets its key go, in the router's journal too", async () => {
  const { clock, router, journal, a } = stage({ a: { honoursKeys: true } });
  const { job } = await clock.run(router.generate({ prompt }, key));
  await job.release();
  expect(await claimsIn(journal)).toEqual([]);
  await clock.run(router.generate({ prompt }, key));
  expect(a.purchases).toHaveLength(2);
});

test("claims that ended long ago are let go by `recover`, and open ones are not", async () => {
  const { clock, router, journal } = stage({
    a: { honoursKeys: true, fate: fates(ok, { kind: "lost", isTaken: false }) },
  });
  await clock.run(router.generate({ prompt }, key));
  await clock.run(
    failureOf(router.generate({ prompt }, { idempotencyKey: "order 2" })).catch(() => {}),
  );
  await clock.pass(31 * 24 * 60 * 60_000);
  for await (const _ of router.recover());
  expect((await claimsIn(journal)).map(({ state }) => state)).toEqual(["unknown"]);
});

test("a claim is a record like any other, so that every journal can keep it", async () => {
  const { journalRecordSchema } = await import("../../../src/journal/record");
  const models = { a: { fate: () => refused(refusals.empty("a")) }, b: {} };
  const { clock, router, journal } = stage(models);
  await clock.run(router.generate({ prompt, n: 3 }, key));
  const claims = await claimsIn(journal);
  expect(claims).toHaveLength(2);
  for (const claim of claims) expect(journalRecordSchema.safeParse(claim).success).toBe(true);
  expect(directoryJournal).toBeTypeOf("function");
});

test("a journal that cannot be written keeps a keyed order from being sent", async () => {
  const journal: Journal = {
    ...memoryJournal(),
    create: async () => {
      throw new Error("disk full");
    },
  };
  const { clock, router, a } = stage({ a: {} }, { journal });
  const error = await clock.run(failureOf(router.generate({ prompt }, key)));
  expect(error).toMatchObject({ code: "journal_failed", charged: "no" });
  expect(a.asked).toEqual([]);
});

test("releasing an earlier job of a key leaves the claim of a later one", async () => {
  const journal = memoryJournal();
  const kind = kinds["clients that honour keys"] ?? {};
  const { clock, router } = stage({ a: kind }, { journal });
  const { job } = await clock.run(router.generate({ prompt }, key));
  const [claim] = await claimsIn(journal);
  if (claim === undefined) return expect.fail("there is no claim");
  // Another call under the key has made a link since, whose order has a job of its own, or none yet.
  const later = { ...claim, id: claim.id.replace(/\.0$/, "-1.0"), attempt: 1 };
  for (const reference of [undefined, { ...Object(claim.request).reference, id: "another" }]) {
    await journal.update({ ...later, request: { ...Object(claim.request), reference } });
    await job.release();
    expect((await claimsIn(journal)).map(({ id }) => id).sort()).toEqual(
      [later.id, claim.id].sort(),
    );
  }
  await journal.delete(later.id);
  await job.release();
  expect(await claimsIn(journal)).toEqual([]);
});
