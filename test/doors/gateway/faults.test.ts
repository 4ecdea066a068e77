import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { clients } from "./clients";
import { cases, measure } from "./table";

const page = readFileSync(new URL("../../../docs/gateway.md", import.meta.url), "utf8");
const rows = page.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
const names = rows.find(([, title]) => title === "while it lasts") ?? [];

// What is loaded on first use takes seconds on a busy machine, and a client that gives up would wait for it.
beforeAll(async () => {
  for (const client of clients) await measure(client, { title: "none" });
}, 180_000);

describe.each(clients)("through the gateway $name", (client) => {
  test.concurrent.each(cases)(
    "$title: buys no order twice, and has what anything can deliver",
    async (given) => {
      const { purchases, delivered } = await measure(client, given);
      expect(purchases).toBeLessThanOrEqual(given.most ?? 1);
      expect(delivered).toBeGreaterThanOrEqual(given.delivered ?? 0);
      const documented = rows.find(([, title]) => title === given.title);
      expect(documented?.[names.indexOf(client.name)]).toBe(`${purchases} / ${delivered}`);
    },
    180_000,
  );
});
