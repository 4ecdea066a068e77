import type { Amount, LedgerEntry } from "../../index";

const money = (amount: Amount | undefined) =>
  amount === undefined ? [undefined, undefined] : [amount.amount, amount.unit];

const columns = [
  ...["id", "at", "settled_at", "client", "provider", "account", "operation", "images", "state"],
  ...["counted", "counted_unit", "estimate", "estimate_unit", "reported", "reported_unit"],
  ...["computed", "computed_unit", "job", "tags", "bought_again_for"],
];

function cellsOf(entry: LedgerEntry): readonly (string | number | undefined)[] {
  const { id, at, settledAt, client, provider, account, operation, images, state } = entry;
  const { counted, estimate, reported, computed, job, tags, again } = entry;
  return [
    ...[id, at, settledAt, client, provider, account, operation, images, state],
    ...[...money(counted), ...money(estimate), ...money(reported), ...money(computed)],
    ...[job, Object.keys(tags).length > 0 ? JSON.stringify(tags) : undefined, again],
  ];
}

/** A table for a spreadsheet: RFC 4180, with a head. */
export async function csvOf(entries: AsyncIterable<LedgerEntry>): Promise<string> {
  const lines = [columns.join(",")];
  for await (const entry of entries) lines.push(cellsOf(entry).map(cell).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/**
 * One cell. A text that begins like a formula is one to a spreadsheet, though it be in quotes: what a
 * caller wrote into a tag could fetch a URL there. An apostrophe makes it text.
 */
function cell(value: string | number | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "number") return String(value);
  const isFormula = /^[=+\-@\t\r]/.test(value);
  const text = isFormula ? `'${value}` : value;
  return isFormula || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
