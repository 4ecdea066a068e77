import { hostname } from "node:os";
import { codeOf } from "../realm";
import type { JournalRecord } from "./record";

/** Those in this process that send a create or are about to, across its clients, by record id. */
const sending = new Map<string, Set<object>>();

/** Until {@link endSending} the record is not taken for one that a process before this one has left. */
export function beginSending(id: string, sender: object): void {
  const others = sending.get(id);
  if (others === undefined) sending.set(id, new Set([sender]));
  else others.add(sender);
}

export function endSending(id: string, sender: object): void {
  const all = sending.get(id);
  all?.delete(sender);
  if (all?.size === 0) sending.delete(id);
}

/** This process, as a record names it. */
export function thisProcess(): NonNullable<JournalRecord["owner"]> {
  return { host: hostname(), pid: process.pid };
}

/** Whether a record was written by this process, or by one that had its number. */
export function isOwnedHere({ owner }: JournalRecord): boolean {
  return owner?.host === hostname() && owner.pid === process.pid;
}

/** Whether the process that wrote a record has ended; only its own machine can tell. */
export function isAbandoned({ id, owner }: JournalRecord): boolean {
  if (owner === undefined || owner.host !== hostname()) return false;
  // In a container the process before this one had the same number.
  if (owner.pid === process.pid) return !sending.has(id);
  try {
    process.kill(owner.pid, 0);
    return false;
  } catch (error) {
    // Not allowed to signal it means that it lives.
    return codeOf(error) !== "EPERM";
  }
}

/** The process that wrote a record lives, and is another. */
export function isOwnedElsewhere(record: JournalRecord): boolean {
  return record.owner !== undefined && !isOwnedHere(record) && !isAbandoned(record);
}
