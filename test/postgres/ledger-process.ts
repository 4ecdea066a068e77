/** One of many processes that order over one ledger: says how many orders were let in, and how many not. */
import type { LedgerEntry, LedgerStore } from "gpt-image-client";
import { createPostgresLedgerStore } from "gpt-image-client/postgres";
import { Pool } from "pg";
import { windowAt } from "../../src/doors/router/budget";
import { Rates } from "../../src/doors/router/money";
import { seededRandom } from "../support/random";
import { budgetsFor, isAbout, type LedgerWork, rates } from "./ledger-orders";

const { url, worker, orders, ofAll, seed }: LedgerWork = JSON.parse(process.argv[2] ?? "{}");
const pool = new Pool({ connectionString: url, max: 4 });
const store: LedgerStore = createPostgresLedgerStore(pool);
const random = seededRandom(seed + worker);
const budgets = budgetsFor(ofAll);
const hourMs = 3_600_000;
/** Around the end of a month, so that hours, days and months all begin anew. */
const hours = [-1, 0, 1, 24].map((hour) => Date.UTC(2026, 11, 1, hour));

const one = <Value>(values: readonly Value[]): Value => {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new Error("no values");
  return value;
};

let granted = 0;
let refused = 0;

async function order(index: number): Promise<void> {
  const now = one(hours) + Math.floor(random() * hourMs);
  const tags = one([{ team: "web" }, { team: "web", page: "home" }, { team: "print" }, {}]);
  const price = one([1, 2, 3, 5, 10]);
  const entry: LedgerEntry = {
    ...{ id: `${worker}-${index}`, at: new Date(now).toISOString(), client: "a", provider: "a" },
    ...{ operation: "generate", images: 1, tags, state: "reserved" },
    counted: one([
      { amount: price / 100, unit: "USD" },
      { amount: price, unit: "credits" },
    ]),
  };
  const limits = budgets
    .filter((budget) => isAbout(budget, tags))
    .map((budget) => windowAt(budget, now, new Rates(rates)).limit);
  if ((await store.append(entry, limits)) !== undefined) {
    refused += 1;
    return;
  }
  granted += 1;
  const state = one(["charged", "charged", "refunded", "unknown", "reserved"] as const);
  if (state === "reserved") return;
  const unit = entry.counted?.unit ?? "USD";
  const refund = state === "refunded" && { counted: { amount: 0, unit } };
  await store.update(entry.id, { state, job: `job-${entry.id}`, ...refund });
}

let next = 0;
async function work(): Promise<void> {
  while (next < orders) {
    next += 1;
    await order(next);
  }
}

await Promise.all([work(), work(), work(), work()]);
await pool.end();
console.log(JSON.stringify({ granted, refused }));
