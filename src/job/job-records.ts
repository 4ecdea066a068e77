import { isOwnedElsewhere, pending } from "../journal/owner";
import {
  isFree,
  isSettledRecord,
  type JournalRecord,
  recordId,
  unpackSplit,
} from "../journal/record";

/** What a journal holds of one job, for one request. */
export interface JobRecords {
  readonly first: JournalRecord;
  readonly rank: number;
  readonly records: readonly JournalRecord[];
  /** Whether a task will never be sent, if it has no record. */
  readonly isResting: (index: number) => boolean;
}

/** @param isResting as {@link restingTasks} had it before the records were read. */
export function jobRecords(
  first: JournalRecord,
  records: readonly JournalRecord[],
  isResting: JobRecords["isResting"],
): JobRecords {
  return { first, rank: rankOf(records), records, isResting };
}

/**
 * Which tasks of a job will never be sent if they have no record: the marker is there before anything leaves.
 * Not so where a client of this process has yet to come to them, or the process that wrote `first` is at it.
 *
 * Asked before the records are read that are to count: a task that is sent meanwhile may have none in them.
 */
export function restingTasks(first: JournalRecord): JobRecords["isResting"] {
  if (isOwnedElsewhere(first)) return () => false;
  const waiting = unpackSplit(first).map((_, index) => pending.has(recordId(first.jobId, index)));
  return (index) => waiting[index] !== true;
}

/** The newest try of each task. */
export function newestOf(records: readonly JournalRecord[]): readonly JournalRecord[] {
  const newest = new Map<number, JournalRecord>();
  for (const record of records) {
    const { index, attempt = 0 } = record;
    if (attempt >= (newest.get(index)?.attempt ?? 0)) newest.set(index, record);
  }
  return [...newest.values()];
}

/** Whether nothing else can belong to its job: no other task, and no other try. */
export function isOnlyRecord(record: JournalRecord): boolean {
  return record.attempt === undefined && unpackSplit(record).length === 1;
}

export function byRank(a: { readonly rank: number }, b: { readonly rank: number }): number {
  return a.rank - b.rank;
}

/** In which turn a job is handed out: those that run first, and from 2 on those that end in an error. */
function rankOf(records: readonly JournalRecord[]): number {
  const all = newestOf(records);
  const isOpen = (record: JournalRecord) =>
    record.state === "submitted" || (record.call !== undefined && !isSettledRecord(record));
  if (all.some(isOpen)) return 0;
  if (all.some(({ state }) => state === "succeeded")) return 1;
  return all.every(isFree) ? 2 : 3;
}
