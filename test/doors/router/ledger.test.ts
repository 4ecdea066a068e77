import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageClient, memoryJournal } from "gpt-image-client";
import { createImageRouter, jsonLinesLedger, memoryLedger } from "gpt-image-client/router";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { trinetra } from "../../../src/providers/index";
import { startSandbox } from "../../../src/testing/sandbox";
import { at, entry, ledgerContract, limit } from "./ledger-contract";
import { listOf } from "./stage";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "ledger-"));
});
afterEach(() => rm(directory, { recursive: true }));

ledgerContract("memoryLedger", () => {
  const { store } = memoryLedger();
  return { open: () => store };
});

ledgerContract("jsonLinesLedger", () => ({
  open: () => jsonLinesLedger(join(directory, "new", "ledger.jsonl")).store,
}));

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
