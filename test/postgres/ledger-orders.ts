import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createPostgresLedgerStore, migrate } from "gpt-image-client/postgres";
import { windowAt } from "../../src/doors/router/budget";
import { Rates, toParts } from "../../src/doors/router/money";
import type { Budget } from "../../src/doors/router/types";
import type { PostgresServer } from "./support/server";

const script = fileURLToPath(new URL("ledger-process.ts", import.meta.url));

/** What one process is given. */
export interface LedgerWork {
  readonly url: string;
  readonly worker: number;
  readonly orders: number;
  /** How many orders there are in all. */
  readonly ofAll: number;
  readonly seed: number;
}

export const rates = { USD: 1, credits: 0.012 };

/** Budgets of every kind, none of which has room for all that is asked: that is some 0.045 USD an order. */
export function budgetsFor(orders: number): readonly Budget[] {
  const share = (amount: number) => Math.round((amount * orders) / 10_000);
  return [
    { amount: share(140), unit: "USD", per: "forever" },
    { amount: share(110), unit: "USD", per: "month" },
    { amount: share(65), unit: "USD", per: "day" },
    { amount: share(33), unit: "USD", per: "hour" },
    { amount: share(15), unit: "USD", per: "hour", tags: { team: "web" } },
    { amount: share(900), unit: "credits", per: "hour", tags: { team: "print" } },
  ];
}

export function isAbout(budget: Budget, tags: Readonly<Record<string, string>>): boolean {
  return Object.entries(budget.tags ?? {}).every(([name, value]) => tags[name] === value);
}

export interface LedgerReport {
  readonly granted: number;
  readonly refused: number;
  /** For each budget the most that was ever seen of it, in any of its hours, days or months. */
  readonly highest: readonly { readonly budget: Budget; readonly seen: number }[];
  /** How often somebody looked. */
  readonly looks: number;
  readonly seconds: number;
}

/** Several processes order at once, while another adds up what stands in the table. */
export async function orderAtOnce(
  server: PostgresServer,
  { processes = 8, orders = 10_000, seed = 1 } = {},
): Promise<LedgerReport> {
  const database = await server.createDatabase();
  const pool = server.pool(database, { max: 2 });
  await migrate(pool);
  const budgets = budgetsFor(orders);
  const highest = budgets.map(() => 0);
  let looks = 0;
  const look = async () => {
    looks += 1;
    // Not what the ledger itself keeps of them.
    const { rows } = await pool.query(
      `SELECT left(reserved_at, 13) AS hour, unit, tags, sum(amount)::text AS amount
      FROM image_journal.ledger WHERE state <> 'refunded' GROUP BY 1, 2, 3`,
    );
    for (const [index, budget] of budgets.entries()) {
      const windows = new Map<string, number>();
      for (const { hour, unit, tags, amount } of rows) {
        const given = Object.fromEntries((tags as string[]).map((pair) => JSON.parse(pair)));
        if (!isAbout(budget, given)) continue;
        const { limit } = windowAt(budget, Date.parse(`${hour}:00:00Z`), new Rates(rates));
        const name = limit.from ?? "";
        const worth = toParts(Number(amount) * (limit.rates[unit] ?? 0));
        windows.set(name, (windows.get(name) ?? 0) + worth);
      }
      highest[index] = Math.max(highest[index] ?? 0, ...windows.values());
    }
  };
  const startedAt = performance.now();
  let isOver = false;
  const ends = Array.from({ length: processes }, (_, worker) =>
    run({
      ...{ url: server.url(database), worker, seed, ofAll: orders },
      orders: Math.ceil(orders / processes),
    }),
  );
  const all = Promise.all(ends).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await look();
    await Promise.race([pause(50), all]);
  }
  const counts = await all;
  const seconds = (performance.now() - startedAt) / 1_000;
  await look();
  // What the ledger itself says of a budget is what stands in it.
  const [forever] = budgets;
  if (forever !== undefined) {
    const { limit } = windowAt(forever, 0, new Rates(rates));
    const sums = await createPostgresLedgerStore(pool).sums(limit);
    const said = toParts(sums.charged + sums.reserved + sums.unknown);
    const { rows } = await pool.query(
      `SELECT sum(amount * CASE unit WHEN 'USD' THEN 1 ELSE 0.012 END)::text AS used
      FROM image_journal.ledger WHERE state <> 'refunded'`,
    );
    if (said !== toParts(Number(rows[0]?.used))) throw new Error(`${said} is not what it holds`);
  }
  return {
    granted: counts.reduce((sum, { granted }) => sum + granted, 0),
    refused: counts.reduce((sum, { refused }) => sum + refused, 0),
    highest: budgets.map((budget, index) => ({ budget, seen: (highest[index] ?? 0) / 1e9 })),
    ...{ looks, seconds },
  };
}

function run(work: LedgerWork): Promise<{ readonly granted: number; readonly refused: number }> {
  const child = spawn(process.execPath, ["--import", "tsx", script, JSON.stringify(work)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk));
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => {
      if (code === 0) resolve(JSON.parse(output));
      else reject(new Error(`A process ended with ${code}`));
    });
  });
}

export function linesOf({ granted, refused, highest, looks, seconds }: LedgerReport): string {
  const rows = highest.map(({ budget: { amount, unit, per, tags }, seen }) => {
    const about = tags === undefined ? "" : ` ${JSON.stringify(tags)}`;
    return `  ${amount} ${unit}, ${per}${about}: ${seen} at most`;
  });
  const head = `${granted} granted, ${refused} refused, in ${seconds.toFixed(1)} s; ${looks} looks`;
  return [head, ...rows].join("\n");
}
