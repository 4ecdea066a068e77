import { createHash } from "node:crypto";
import type { JournalRecord } from "../../index";

/** The columns of a record, in the order of {@link valuesOf}. */
export const columns =
  "id, job_id, provider, base_url, account, state, task_id, submitted_at, settled_at, record";

/** The places of their values. */
export const values = "$1, $2, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10";

/** Each but the id, as it was to be inserted. */
export const replaced = columns
  .split(", ")
  .slice(1)
  .map((name) => `${name} = excluded.${name}`)
  .join(", ");

/** The values of a record's columns. */
export function valuesOf(record: JournalRecord): unknown[] {
  const { id, jobId, provider, baseURL, account = "", state, taskId, submittedAt } = record;
  const { settledAt = submittedAt } = record;
  const task = taskId === undefined ? null : indexed(taskId);
  const names = [id, jobId, provider, baseURL, account, state, task];
  return [...names, submittedAt, settledAt, JSON.stringify(record)];
}

/** A provider's id as an index takes it, which has at most 2,704 bytes of it, and no NUL. */
export function indexed(taskId: string): string {
  if (/^[\x20-\x7e]{1,200}$/.test(taskId)) return taskId;
  return `sha256:${createHash("sha256").update(taskId).digest("hex")}`;
}
