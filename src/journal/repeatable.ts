import type { Call } from "../adapter/contract";
import type { JournalRecord } from "./record";

const longestSkewMs = 5 * 60 * 1000;

/** How long a create may be sent again under its key: no provider documents how long it remembers a key. */
const keyLifetimeMs = 60 * 60 * 1000;

/** The create of a record as it may be sent again: under its key, while that is young. */
export function repeatableCall(record: JournalRecord, wallTime: number): Call | undefined {
  if (record.call === undefined) return undefined;
  if (record.state !== "submitting" && record.state !== "unknown") return undefined;
  const ageMs = wallTime - Date.parse(record.submittedAt);
  // A clock that was ahead tells nothing of how old the key is.
  if (ageMs > keyLifetimeMs || ageMs < -longestSkewMs) return undefined;
  const { path, headers, json } = record.call;
  return { method: "POST", path, body: { json }, ...(headers !== undefined && { headers }) };
}
