import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ClaimPoint, faultsOf, killAtClaims, linesOf } from "./claims";

// All of the points over a real PostgreSQL: `npm run test:postgres`.
const points: readonly ClaimPoint[] = [
  "claim:after",
  "marker:after",
  "noted:before",
  "ended:before",
];

test("a process that is killed at any write under its key is followed, and nothing is bought twice", async () => {
  const directory = await mkdtemp(join(tmpdir(), "claims-"));
  try {
    const rows = await killAtClaims({ directory }, points);
    console.log(linesOf(rows));
    expect(rows).toHaveLength(points.length);
    expect(faultsOf(rows)).toEqual([]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}, 240_000);
