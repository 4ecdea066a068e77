import { readFileSync } from "node:fs";
import { isImageError } from "gpt-image-client";
import type { SandboxFault } from "gpt-image-client/testing";
import { describe, expect, test } from "vitest";
import { everyFault, measureOurs, providers } from "./ai-sdk/faults";
import { majors } from "./ai-sdk/majors";
import { cellsOf, compare } from "./ai-sdk/table";

const faults = await everyFault();

const nameOf = ({ provider, phase, fault, times, ...told }: SandboxFault) =>
  `${provider}, ${phase}: ${[fault, ...Object.values(told)].join(" ")}`;

/** So many tasks of one image each, or one of both. */
const ordersOf = ({ provider, fault }: SandboxFault) =>
  fault === "fewer-images" && ["shortapi", "aigptimage"].includes(provider) ? 2 : 1;

const passing = [
  ...["reset-before-acceptance", "reset-after-acceptance", "slow", "hang", "unavailable"],
  ...["malformed", "truncated", "missing", "unknown-state", "not-an-image", "expired"],
];

/** What a provider that is asked again no longer has: asking is free, once a job was paid for. */
const passes = (fault: SandboxFault) =>
  fault.phase !== "create" &&
  // Only a job can be asked for another URL.
  !(fault.fault === "expired" && fault.provider === "openaiCompatible") &&
  (fault.fault === "rate-limited"
    ? fault.retryAfterSeconds === undefined
    : passing.includes(fault.fault));

test("there are faults at every provider", () => {
  expect(new Set(faults.map(({ provider }) => provider))).toEqual(new Set(providers));
  expect(faults.length).toBeGreaterThan(150);
});

describe.each(majors)(
  "a fault under $name is bought once, and said to cost what it did",
  (major) => {
    test.concurrent.each(faults.map((fault) => [nameOf(fault), fault] as const))(
      "%s",
      async (_, fault) => {
        const { purchases, delivered, error, charged, calls } = await measureOurs(major, fault);

        expect(calls).toBe(1);
        if (passes(fault)) expect(error).toBeUndefined();
        expect(purchases).toBeLessThanOrEqual(ordersOf(fault));
        if (error === undefined) {
          expect(delivered).toBeGreaterThan(0);
          expect(purchases).toBe(ordersOf(fault));
        } else {
          expect(isImageError(error), String(error)).toBe(true);
          expect(delivered).toBe(0);
          if (charged === "no") expect(purchases).toBe(0);
          if (charged === "yes") expect(purchases).toBe(1);
        }
      },
      30_000,
    );
  },
);

const page = readFileSync(new URL("../../docs/ai-sdk.md", import.meta.url), "utf8");

describe.each(majors)("beside the SDK's own provider in $name", (major) => {
  test.concurrent("the table in the docs is what is measured", { timeout: 60_000 }, async () => {
    const rows = await compare(major);
    const documented = page.split("\n").map((line) => line.split(" | ").map((cell) => cell.trim()));
    for (const row of rows) {
      const found = documented.find(([title]) => title === `| ${row.title}`);
      const [, purchases, error, six, seven] = found ?? [];
      const own = major.name === "ai 6" ? six : seven?.replace(/ \|$/, "");
      expect({ ours: `${purchases} | ${error}`, own }, row.title).toEqual(cellsOf(row));
    }
    expect(Math.max(...rows.map(({ own }) => own.purchases))).toBe(3);
    expect(Math.max(...rows.map(({ ours }) => ours.purchases))).toBe(1);
  });
});
