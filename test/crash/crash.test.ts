import { expect, test } from "vitest";
import { crash, faultsOf, providers } from "./harness";

// The short form; `npm run test:crash` is the long one, and prints the table.

test("workers that are killed anywhere lose nothing and pay nothing twice", async () => {
  const rows = await crash({ kills: 6, seed: 7 });
  expect(faultsOf(rows)).toEqual([]);
  expect(rows.map(({ provider }) => provider)).toEqual(providers);
  for (const { kills, charged, onDisk } of rows) {
    expect(kills).toBeGreaterThanOrEqual(6);
    expect(charged).toBeGreaterThanOrEqual(onDisk);
  }
  // What a keyless provider brings home depends on where its workers died; together they bring some.
  expect(rows.reduce((sum, { onDisk }) => sum + onDisk, 0)).toBeGreaterThan(0);
}, 300_000);

test("nor do they with resets, 5xx, slow answers and a full disk besides", async () => {
  const rows = await crash({ kills: 4, seed: 8, faults: true });
  expect(faultsOf(rows)).toEqual([]);
}, 300_000);

test("the harness finds out about a journal that keeps no markers", async () => {
  const rows = await crash({
    ...{ kills: 6, seed: 9, mutation: "no-marker" },
    providers: ["shortapi", "trinetra"],
  });
  expect(rows.reduce((sum, { lost, double }) => sum + lost + double, 0)).toBeGreaterThan(0);
}, 300_000);
