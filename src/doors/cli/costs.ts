import type { LedgerEntry, LedgerRange } from "../../index";
import type { ImageLedger, LedgerGroup, LedgerTotal } from "../router/index";
import { exitCodes } from "./exit-codes";
import { amountText } from "./money";
import { stateDirectory } from "./places";
import { type SettleFlags, settle } from "./settle";
import type { Shell } from "./shell";
import { tableOf } from "./table";
import { clean, count, jsonOf } from "./text";
import { UsageError } from "./usage-error";
import { openRecords } from "./workspace";

/** The options of `costs`. */
export interface CostsFlags extends SettleFlags {
  readonly by?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly csv?: boolean | undefined;
  readonly json?: boolean | undefined;
}

const groups: readonly LedgerGroup[] = ["client", "operation", "state", "hour", "day", "month"];

/** `costs`: the ledger as a table with bars, as CSV or JSON; and `costs settle`. */
export async function costs(
  words: readonly string[],
  flags: CostsFlags,
  shell: Shell,
): Promise<number> {
  const [action, ...rest] = words;
  if (action === "settle") return settle(rest, flags, shell);
  if (action !== undefined)
    throw new UsageError(`Unexpected argument "${action}": costs takes settle, or options alone`);
  const by = groupOf(flags.by ?? "client");
  const range = rangeOf(flags);
  const { ledger } = await openRecords(stateDirectory(flags.state, shell.platform.env));
  if (flags.csv) {
    await shell.write(await ledger.csv(range));
    return exitCodes.allCame;
  }
  const totals = await totalsOf(ledger, by, range);
  if (flags.json) await shell.print(jsonOf(totals, 2));
  else if (totals.length === 0)
    shell.say("Nothing was ordered that costs. --by state has what failed, too.");
  else for (const line of chartOf(totals, by, shell.stdoutColumns)) await shell.print(line);
  if (!flags.json) await sayOpen(ledger, range, shell);
  return exitCodes.allCame;
}

/** An order that was refused, or failed without a charge, has bought no picture: only its state tells of it. */
async function totalsOf(
  ledger: ImageLedger,
  by: LedgerGroup,
  range: LedgerRange,
): Promise<readonly LedgerTotal[]> {
  if (by === "state") return ledger.totals({ by: [by, "client"], ...range });
  const sums = new Map<string, LedgerTotal>();
  for (const total of await ledger.totals({ by: [by, "client", "state"], ...range })) {
    const { state, ...group } = total.group;
    if (state === "refunded") continue;
    const name = JSON.stringify([group, total.unit]);
    const sum = sums.get(name);
    sums.set(name, sum === undefined ? { ...total, group } : added(sum, total));
  }
  return [...sums.values()];
}

function added(sum: LedgerTotal, more: LedgerTotal): LedgerTotal {
  // As the ledger does it: 0.1 and 0.2 are 0.3.
  const plus = (of: "charged" | "reserved" | "unknown") =>
    Number((sum[of] + more[of]).toPrecision(12));
  return {
    ...sum,
    orders: sum.orders + more.orders,
    images: sum.images + more.images,
    charged: plus("charged"),
    reserved: plus("reserved"),
    unknown: plus("unknown"),
  };
}

function groupOf(given: string): LedgerGroup {
  const found = groups.find((group) => group === given);
  if (found !== undefined) return found;
  throw new UsageError(`--by takes ${groups.join(", ")}, and was given "${given}"`);
}

function rangeOf({ from, to }: CostsFlags): LedgerRange {
  return {
    ...(from !== undefined && { from: dateOf("--from", from) }),
    ...(to !== undefined && { to: dateOf("--to", to) }),
  };
}

function dateOf(option: string, text: string): string {
  const date = new Date(text);
  if (/^\d{4}-\d{2}/.test(text) && !Number.isNaN(date.getTime())) return date.toISOString();
  throw new UsageError(`${option} takes a date such as 2026-11-01, and was given "${text}"`);
}

/** The rows, each with a bar beside the largest of its unit, and a sum for each unit. */
function chartOf(
  totals: readonly LedgerTotal[],
  by: LedgerGroup,
  columns: number | undefined,
): readonly string[] {
  const largest = new Map<string, number>();
  const sums = new Map<string, { orders: number; images: number; spent: number; open: number }>();
  for (const total of totals) {
    const { unit = "", charged, reserved, unknown, orders, images, group } = total;
    const open = reserved + unknown;
    largest.set(unit, Math.max(largest.get(unit) ?? 0, charged + open));
    // What the sandbox has played is nobody's money.
    if (group.client === "sandbox") continue;
    const sum = sums.get(unit) ?? { orders: 0, images: 0, spent: 0, open: 0 };
    sum.orders += orders;
    sum.images += images;
    sum.spent += charged;
    sum.open += open;
    sums.set(unit, sum);
  }
  const rows = totals.map((total) => rowOf(total, by, largest.get(total.unit ?? "") ?? 0));
  const ends = [...sums].map(([unit, { orders, images, spent, open }]) => [
    ...["in all", String(orders), String(images)],
    ...[moneyOf(spent, unit), moneyOf(open, unit), ""],
  ]);
  return tableOf([[by, "orders", "pictures", "charged", "open", ""], ...rows, ...ends], columns);
}

function rowOf(total: LedgerTotal, by: LedgerGroup, largest: number): readonly string[] {
  const { unit = "", charged, reserved, unknown, orders, images, group } = total;
  const open = reserved + unknown;
  const { client = "" } = group;
  const own = clean(by === "client" ? client : `${group[by] ?? ""} ${client}`);
  const name = client === "sandbox" ? `${own} (not billed)` : own;
  const money = [moneyOf(charged, unit), moneyOf(open, unit)];
  return [name, String(orders), String(images), ...money, barOf(charged, open, largest)];
}

function moneyOf(amount: number, unit: string): string {
  if (unit === "") return "not known";
  return amount === 0 ? "-" : amountText({ amount: Number(amount.toPrecision(12)), unit });
}

const barLength = 24;

/** What was charged in full blocks, and what is open in shaded ones. */
function barOf(charged: number, open: number, largest: number): string {
  if (largest === 0) return "";
  const blocks = (amount: number) => Math.round((amount / largest) * barLength);
  const full = blocks(charged);
  return "█".repeat(full) + "░".repeat(Math.max(0, blocks(charged + open) - full));
}

const oldMs = 24 * 60 * 60 * 1000;

/** Also what is still reserved after a day: its process was killed before it could say more. */
function isUnknown({ state, client, at }: LedgerEntry): boolean {
  const isLeft = state === "reserved" && Date.now() - Date.parse(at) > oldMs;
  return (state === "unknown" || isLeft) && client !== "sandbox";
}

/** What a person has to look up. */
async function sayOpen(ledger: ImageLedger, range: LedgerRange, shell: Shell): Promise<void> {
  const open: LedgerEntry[] = [];
  for await (const entry of ledger.entries(range)) if (isUnknown(entry)) open.push(entry);
  if (open.length === 0) return;
  shell.say("");
  shell.say(`Of ${count(open.length, "order")} nobody knows whether it was charged:`);
  for (const { id, job, at, client } of open) {
    shell.say(`  ${at.slice(0, 16)}  ${clean(client)}  ${job ?? id}`);
  }
  shell.say(
    `${shell.command} resume JOB asks after it where that can be. Else look in the provider's`,
  );
  shell.say(`console, and type: ${shell.command} costs settle JOB --charged no   (or yes)`);
}
