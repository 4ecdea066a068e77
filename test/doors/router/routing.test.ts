import type { ImageError } from "gpt-image-client";
import { expect, test } from "vitest";
import { routerOn } from "../../../src/doors/router/router";
import { type Fate, fates, ModelClient, type ModelOptions, ok, refusals } from "./model-client";
import { SimClock } from "./sim-clock";
import { failureOf, prompt, refused, stage, typesOf } from "./stage";

test("the first client that can do it is asked, and no other", async () => {
  const { clock, router, a, b } = stage({ a: {}, b: {} });
  const { provider, warnings } = await clock.run(router.generate({ prompt }));
  expect([provider, warnings]).toEqual(["a", []]);
  expect([a.purchases.length, b.asked.length]).toEqual([1, 0]);
});

test("one that cannot do it is skipped before anything is sent, and said so", async () => {
  const { clock, router, a, events } = stage({ a: { cannot: () => "mask" }, b: {} });
  const { provider, warnings } = await clock.run(router.generate({ prompt }));
  expect(provider).toBe("b");
  expect(a.asked).toEqual([]);
  expect(warnings).toEqual([expect.stringMatching(/^a was not asked: .*`mask`/)]);
  expect(events).toEqual([
    { type: "skipped", client: "a", reason: expect.stringContaining("mask") },
  ]);
});

test("where none can, one error lists for each what it lacks", async () => {
  const { clock, router } = stage({ a: { cannot: () => "mask" }, b: { cannot: () => "size" } });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "unsupported", charged: "no", provider: "router" });
  expect(error.message).toMatch(/a: .*`mask`.*b: .*`size`/);
  expect(error.failures.map(({ field }) => field)).toEqual(["mask", "size"]);
  expect(router.check({ prompt })).toMatchObject([{ code: "unsupported" }]);
});

test.each(["rateLimited", "unavailable", "empty", "locked", "failed"] as const)(
  "%s, and nothing charged: the next one is asked",
  async (kind) => {
    const { clock, router, b, events } = stage({
      a: { fate: () => refused(refusals[kind]("a")) },
      b: {},
    });
    const { warnings } = await clock.run(router.generate({ prompt }));
    expect(b.purchases).toHaveLength(1);
    expect(warnings).toEqual([expect.stringMatching(/^a could not: /)]);
    expect(typesOf(events)).toContain("fallback");
  },
);

const endings: Readonly<Record<string, Fate>> = {
  moderation: refused(refusals.moderated("a")),
  "an invalid request": refused(refusals.invalid("a")),
  "a lost create that was not taken": { kind: "lost", isTaken: false },
  "a lost create that was taken": { kind: "lost", isTaken: true },
  "a time-out": { kind: "ok", durationMs: 900_000 },
};

test.each(Object.entries(endings))("%s ends the call", async (_, fate) => {
  const { clock, router, b } = stage({ a: { fate: () => fate }, b: {} });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error.provider).toBe("a");
  expect(b.asked).toEqual([]);
});

test("a task that may be charged keeps a call from going on, whatever the first one says", async () => {
  const error = Object.assign(refusals.rateLimited("a"), {
    failures: [Object.assign(refusals.unavailable("a"), { charged: "unknown" })],
  });
  const { clock, router, b } = stage({ a: { fate: () => refused(error) }, b: {} });
  await clock.run(failureOf(router.generate({ prompt })));
  expect(b.asked).toEqual([]);
});

test("`fallback` narrows what is passed on, and never widens it", async () => {
  const asked: string[] = [];
  const fallback = ({ code }: ImageError) => {
    asked.push(code);
    return code !== "authentication";
  };
  for (const kind of ["locked", "moderated", "unavailable"] as const) {
    const fate = () => refused(refusals[kind]("a"));
    const { clock, router, b } = stage({ a: { fate }, b: {} }, { fallback });
    await clock.run(router.generate({ prompt }).catch(() => {}));
    expect(b.asked).toHaveLength(kind === "unavailable" ? 1 : 0);
  }
  expect(asked).toEqual(["authentication", "provider_unavailable"]);
});

test("a `fallback` that throws is told as what it is", async () => {
  const fallback = () => {
    throw new Error("mine");
  };
  const fate = () => refused(refusals.empty("a"));
  const { clock, router } = stage({ a: { fate }, b: {} }, { fallback });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "callback_failed", callback: "fallback", charged: "no" });
});

test("where all have said no, one error has what each said", async () => {
  const { clock, router } = stage({
    a: { fate: () => refused(refusals.empty("a")) },
    b: { fate: () => refused(refusals.locked("b")) },
  });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "provider_unavailable", charged: "no", provider: "router" });
  expect(error.failures.map(({ code }) => code)).toEqual([
    "insufficient_credits",
    "authentication",
  ]);
  expect(error.message).toContain("a: insufficient_credits, b: authentication");
  expect(error.retryAfterMs).toBe(299_950);
});

test("the only client's own error is what a router over one says", async () => {
  const { clock, router } = stage({ a: { fate: () => refused(refusals.empty("a")) } });
  const error = await clock.run(failureOf(router.generate({ prompt })));
  expect(error).toMatchObject({ code: "insufficient_credits", provider: "a", failures: [] });
});

test("an abort ends the call with the caller's own reason, and asks nobody else", async () => {
  const { clock, router, b } = stage({ a: {}, b: {} });
  const controller = new AbortController();
  clock.after(5_000, () => controller.abort("the tab was closed"));
  const work = router.generate({ prompt }, { signal: controller.signal });
  await expect(clock.run(work)).rejects.toBe("the tab was closed");
  expect(b.asked).toEqual([]);
});

test("one purchase more, and only where the call says so", async () => {
  const lost: Fate = { kind: "lost", isTaken: true };
  const models = { a: { fate: () => lost }, b: { fate: () => lost }, c: {} };
  const { clock, router, a, b, c, events } = stage(models);
  const error = await clock.run(failureOf(router.generate({ prompt }, { onUnknown: "buy-again" })));
  expect(error).toMatchObject({ charged: "unknown", provider: "b" });
  expect(error.failures).toMatchObject([{ charged: "unknown", provider: "a" }]);
  expect([a, b, c].map(({ asked }) => asked.length)).toEqual([1, 1, 0]);
  expect(typesOf(events).filter((type) => type === "bought-again")).toHaveLength(1);
});

test("what was bought again and delivered says that it may be paid for twice", async () => {
  const { clock, router } = stage({ a: { fate: () => ({ kind: "lost", isTaken: true }) }, b: {} });
  const result = await clock.run(router.generate({ prompt }, { onUnknown: "buy-again" }));
  expect(result.provider).toBe("b");
  expect(result.warnings).toEqual([expect.stringMatching(/^It was bought again.*twice/)]);
});

test("an order of unknown fate stays unknown where nobody else can be asked", async () => {
  const models: Readonly<Record<string, Partial<ModelOptions>>> = {
    a: { fate: fates({ kind: "lost", isTaken: true }, refused(refusals.moderated("a"))) },
    b: { fate: () => refused(refusals.empty("b")) },
  };
  const { clock, router } = stage(models);
  const error = await clock.run(failureOf(router.generate({ prompt }, { onUnknown: "buy-again" })));
  expect(error).toMatchObject({ code: "submission_unknown", charged: "unknown", provider: "a" });
});

test("each client is given its own options alone, and a name that none knows is refused", async () => {
  const { clock, router, a } = stage({ a: {}, b: {} });
  const providerOptions = { a: { model: "x" }, b: { model: "y" } };
  await clock.run(router.generate({ prompt, providerOptions }));
  expect(a.requests[0]?.providerOptions).toEqual({ a: { model: "x" } });
  const stray = { prompt, providerOptions: { c: {} } };
  const error = await clock.run(failureOf(router.generate(stray)));
  expect(error).toMatchObject({ code: "invalid_request", field: "providerOptions.c" });
  expect(router.check(stray)).toMatchObject([{ field: "providerOptions.c" }]);
});

test("the price decides under `sort: price`, in one currency, the unknown last", async () => {
  const cost = (amount: number, unit: string) => ({ amount, unit, basis: "list" as const });
  const models = {
    a: {},
    b: { price: cost(0.06, "USD") },
    c: { price: cost(3, "credits") },
  };
  const rates = { USD: 1, credits: 0.012 };
  const { clock, router } = stage(models, { sort: "price", rates });
  expect((await clock.run(router.generate({ prompt }))).provider).toBe("c");
  const apart = stage(models, { sort: "price" });
  expect((await apart.clock.run(apart.router.generate({ prompt }))).provider).toBe("b");
});

test("a function sorts, and leaves out whom it does not name", async () => {
  const { clock, router } = stage(
    { a: {}, b: { fate: () => refused(refusals.empty("b")) }, c: {} },
    { sort: (all) => all.filter(({ name }) => name !== "a").reverse() },
  );
  expect((await clock.run(router.generate({ prompt }))).provider).toBe("c");
});

test("weights say how often each is first, and `when` which requests it is for", async () => {
  const clock = new SimClock();
  const [a, b, c] = ["a", "b", "c"].map((name) => new ModelClient({ name, clock, fate: () => ok }));
  if (a === undefined || b === undefined || c === undefined) throw new Error("no client");
  let seed = 1;
  // A generator that gives the same on every machine.
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const clients = [
    { client: a, weight: 3 },
    { client: b, weight: 1 },
    { client: c, weight: 0, when: ({ n = 1 }) => n < 3 },
  ];
  const router = routerOn({ clients }, { clock, random });
  const all = Array.from({ length: 400 }, () => router.generate({ prompt }));
  await clock.run(Promise.all(all));
  expect(a.asked.length).toBeGreaterThan(270);
  expect(b.asked.length).toBeGreaterThan(70);
  expect(c.asked.length).toBe(0);
});

test("two clients of one name are refused: a claim leads back to one alone", () => {
  const clock = new SimClock();
  const clients = ["a", "a"].map((name) => new ModelClient({ name, clock }));
  const make = () => routerOn({ clients }, { clock, random: Math.random });
  expect(make).toThrow(/clients\[1\]\.name/);
});

test("a job is given back as soon as it is accepted, and resumed at its own client", async () => {
  const { clock, router, b } = stage({ a: { fate: () => refused(refusals.empty("a")) }, b: {} });
  const job = await clock.run(router.submit({ prompt }));
  expect(job.provider).toBe("b");
  const result = await clock.run(router.resume(job.reference).result());
  expect(result.images).toHaveLength(1);
  expect(b.purchases).toHaveLength(1);
});
