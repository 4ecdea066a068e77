import {
  createImageClient,
  memoryJournal,
  openaiCompatible,
  shortapi,
  trinetra,
} from "gpt-image-client";
import { createImageRouter, memoryLedger } from "gpt-image-client/router";
import { type Sandbox, startSandbox } from "gpt-image-client/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { directory, useDirectory } from "../../support/directory";
import { listOf, prompt } from "./stage";

useDirectory();

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
});
afterEach(() => sandbox.close());

const poll = 20;
const clients = (journal = memoryJournal()) => ({
  journal,
  first: createImageClient({ provider: trinetra(sandbox.trinetra), journal, poll }),
  second: createImageClient({ provider: shortapi(sandbox.shortapi), journal, poll }),
  third: createImageClient({ provider: openaiCompatible(sandbox.openaiCompatible), journal }),
});

test("a provider that asks for a minute is left at once, and the next one draws", async () => {
  const { first, second } = clients();
  const fault = { fault: "rate-limited", retryAfterSeconds: 60 } as const;
  sandbox.inject({ provider: "trinetra", phase: "create", ...fault, times: 1 });
  await using router = createImageRouter({ clients: [first, second] });
  const begun = performance.now();
  const { image, provider } = await router.generate({ prompt, size: "1024x1024" });
  expect(provider).toBe("shortapi");
  expect(performance.now() - begun).toBeLessThan(10_000);
  expect((await image.info()).width).toBe(1024);
  expect(sandbox.charges).toHaveLength(1);
});

test("a lost create at each provider ends the call, and nobody else is paid", async () => {
  const { first, second, third } = clients();
  for (const provider of ["trinetra", "shortapi", "openaiCompatible"] as const) {
    sandbox.inject({ provider, phase: "create", fault: "reset-after-acceptance", times: 1 });
  }
  await using router = createImageRouter({ clients: [first, second, third] });
  await expect(router.generate({ prompt })).rejects.toMatchObject({ charged: "unknown" });
  // It bills the job once it has succeeded.
  await expect.poll(() => sandbox.charges.length).toBe(1);
});

test("an order in two tasks that were paid for, and gave no picture, is booked with what both cost", async () => {
  const { first } = clients();
  sandbox.inject({ provider: "trinetra", phase: "download", fault: "not-an-image", times: 500 });
  const ledger = memoryLedger();
  await using router = createImageRouter({ clients: [first], ledger });
  const failed = router.generate({ prompt, n: 8 }, { saveTo: directory });
  await expect(failed).rejects.toMatchObject({ code: "download_failed", charged: "yes" });
  expect(await listOf(ledger.entries())).toMatchObject([
    { state: "charged", reported: { amount: 56, unit: "credits" } },
  ]);
  expect(sandbox.charges.map(({ amount }) => amount)).toEqual([28, 28]);
});

test("two processes with one key and one journal buy one picture, and both have it", async () => {
  const { first, third, journal } = clients();
  const make = () => createImageRouter({ clients: [third, first], journal });
  const key = { idempotencyKey: "order 1" };
  const all = await Promise.all(
    [make(), make(), make()].map((each) => each.generate({ prompt }, key)),
  );
  const [one, ...others] = await Promise.all(all.map(({ image }) => image.bytes()));
  for (const other of others) expect(other).toEqual(one);
  expect(sandbox.charges).toHaveLength(1);
});

test("of two accounts the one whose journal has the job takes it up, and no key is tried", async () => {
  const journal = memoryJournal();
  const [a, b] = ["a", "b"].map((account) =>
    createImageClient({ provider: trinetra(sandbox.trinetra), journal, account, poll }),
  );
  if (a === undefined || b === undefined) throw new Error("no client");
  const job = await b.submit({ prompt });
  await using router = createImageRouter({ clients: [a, b] });
  const { images } = await router.resume(job.reference).result();
  expect(images).toHaveLength(1);
  const plain = ["a", "b"].map((account) =>
    createImageClient({ provider: trinetra(sandbox.trinetra), account, poll }),
  );
  const polls = sandbox.requests.length;
  await using unsure = createImageRouter({ clients: plain });
  await expect(unsure.resume(job.reference).result()).rejects.toThrow(/trinetra\/a, trinetra\/b/);
  expect(sandbox.requests).toHaveLength(polls);
  const stranger = { ...job.reference, provider: "shortapi" };
  expect(() => router.resume(stranger)).toThrow(/shortapi/);
});

test("`recover` gives the jobs of all clients, each once, and no claim among them", async () => {
  const { first, second, journal } = clients();
  const jobs = [await first.submit({ prompt }), await second.submit({ prompt })];
  const again = clients(journal);
  await using router = createImageRouter({ clients: [again.first, again.second], journal });
  await router.generate({ prompt }, { idempotencyKey: "order 1" });
  const found = await listOf(router.recover());
  expect(found.map(({ id }) => id)).toEqual(expect.arrayContaining(jobs.map(({ id }) => id)));
  expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
  for (const job of found) expect((await job.result()).images).toHaveLength(1);
});

test("`recover` passes a client without a journal, and says so where none has one", async () => {
  const { first } = clients();
  const job = await first.submit({ prompt });
  const bare = createImageClient({ provider: shortapi(sandbox.shortapi), poll });
  await using mixed = createImageRouter({ clients: [bare, clients(memoryJournal()).first] });
  expect(await listOf(mixed.recover())).toEqual([]);
  await job.result();
  await using router = createImageRouter({ clients: [bare] });
  await expect(listOf(router.recover())).rejects.toMatchObject({ field: "options.journal" });
});
