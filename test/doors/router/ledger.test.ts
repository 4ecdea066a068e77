import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, memoryJournal } from "gpt-image-client";
import {
  createImageRouter,
  type ImageLedger,
  jsonLinesLedger,
  memoryLedger,
} from "gpt-image-client/router";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { LedgerEntry, LedgerLimit } from "../../../src/ledger/store";
import { trinetra } from "../../../src/providers/index";
import { startSandbox } from "../../../src/testing/sandbox";
import { listOf } from "./stage";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "ledger-"));
});
afterEach(() => rm(directory, { recursive: true }));

const at = (day: number, hour = 12) => new Date(Date.UTC(2026, 10, day, hour)).toISOString();

function entry(id: string, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    ...{ id, at: at(1), client: "a", provider: "a", operation: "generate", images: 1, tags: {} },
    ...{ state: "reserved", counted: { amount: 0.1, unit: "USD" } },
    ...more,
  };
}

const limit = (amount: number, more: Partial<LedgerLimit> = {}): LedgerLimit => ({
  ...{ amount, tags: {}, rates: { USD: 1 }, ...more },
});

const ledgers: Readonly<Record<string, () => ImageLedger>> = {
  memoryLedger,
  jsonLinesLedger: () => jsonLinesLedger(join(directory, "new", "ledger.jsonl")),
};

describe.each(Object.entries(ledgers))("%s", (_, make) => {
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
    await store.append(entry("3", { at: at(2), tags: { team: "web" }, images: 3 }));
    const { counted: _, ...priceless } = entry("4");
    await store.append(priceless);
    expect(await ledger.totals()).toMatchObject([
      { unit: "USD", orders: 3, images: 5, charged: 0.2, reserved: 0.1 },
      { orders: 1, charged: 0 },
    ]);
    const byTeam = await ledger.totals({ by: ["tag:team", "day"], from: "2026-11-01", to: at(3) });
    expect(byTeam.map(({ group }) => Object.values(group).join(" "))).toEqual([
      ...["web 2026-11-01", "print 2026-11-01", "web 2026-11-02", " 2026-11-01"],
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
});

test("a table for a spreadsheet holds no formula, whoever wrote it", async () => {
  const ledger = memoryLedger();
  for (const [index, client] of [
    "=1+1",
    "+1",
    "-1",
    "@a",
    "\tb",
    "\rc",
    'quo"te',
    "a,b",
  ].entries()) {
    await ledger.store.append(entry(`${index}`, { client }));
  }
  const rows = (await ledger.csv()).split("\r\n");
  const cells = rows.slice(1, -1).map((row) => row.slice(`0,${at(1)},,`.length));
  const begins = [
    '"\'=1+1",',
    '"\'+1",',
    '"\'-1",',
    '"\'@a",',
    '"\'\tb",',
    '"\'\rc",',
    '"quo""te",',
    '"a,b",',
  ];
  expect(cells.map((cell, index) => cell.startsWith(begins[index] ?? "?"))).toEqual(
    begins.map(() => true),
  );
  expect(rows[0]).toMatch(/^id,at,settled_at,client,/);
});

test("a file is read back, and a line that a crash has torn is passed over", async () => {
  const path = join(directory, "ledger.jsonl");
  const first = jsonLinesLedger(path);
  await first.store.append(entry("1"));
  await first.store.update("1", { state: "charged" });
  await appendFile(path, '{"v":1,"entry":{"id":"torn","at":"2026');
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const second = jsonLinesLedger(path);
  await second.store.append(entry("2"));
  expect((await listOf(second.entries())).map(({ id, state }) => [id, state])).toEqual([
    ["1", "charged"],
    ["2", "reserved"],
  ]);
  expect(warn).toHaveBeenCalledOnce();
  warn.mockRestore();
  // Whoever had it open sees the others' orders, too.
  expect(await first.store.append(entry("3"), [limit(0.2)])).toMatchObject({ used: 0.2 });
  const lines = (await readFile(path, "utf8")).trim().split("\n");
  expect(lines).toHaveLength(4);
});

test("a person's word ends the entry and the record of the client's journal", async () => {
  const sandbox = await startSandbox({ jobDurationMs: 20, plainImages: true });
  const journal = memoryJournal();
  const client = createImageClient({ provider: trinetra(sandbox.trinetra), journal, poll: 20 });
  const ledger = memoryLedger();
  const router = createImageRouter({ clients: [client], ledger, journal });
  sandbox.inject({
    provider: "trinetra",
    phase: "create",
    fault: "reset-before-acceptance",
    times: 1,
  });
  const key = { idempotencyKey: "order 1" };
  const order = () => router.generate({ prompt: "A fox", quality: "low" }, key);
  await expect(order()).rejects.toMatchObject({ charged: "unknown" });
  await expect(order()).rejects.toMatchObject({ charged: "unknown" });
  const open = (await listOf(ledger.entries())).filter(({ state }) => state === "unknown");
  expect(open).toHaveLength(1);
  await ledger.settle(open[0]?.id ?? "", { charged: "no" });
  const { cost } = await order();
  expect(cost).toMatchObject({ unit: "credits" });
  expect(sandbox.charges).toHaveLength(1);
  expect(await ledger.totals({ by: "state" })).toMatchObject([
    { group: { state: "refunded" }, orders: 1 },
    { group: { state: "charged" }, orders: 1 },
  ]);
  await router.close();
  await sandbox.close();
});
