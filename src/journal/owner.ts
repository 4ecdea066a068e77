import { hostname } from "node:os";
import { codeOf } from "../realm";
import type { JournalRecord } from "./record";

/** What is at work in this process on each record, across its clients. */
class Workers {
  readonly #byId = new Map<string, Set<object>>();

  begin(id: string, worker: object): void {
    const others = this.#byId.get(id);
    if (others === undefined) this.#byId.set(id, new Set([worker]));
    else others.add(worker);
  }

  end(id: string, worker: object): void {
    const all = this.#byId.get(id);
    all?.delete(worker);
    if (all?.size === 0) this.#byId.delete(id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }
}

/**
 * Those that send a create or are about to: until they end it, the record is not taken for one that a process
 * before this one has left.
 */
export const senders = new Workers();

/** Tasks of calls that are under way, until their create has ended: one that has no record yet may still get it. */
export const pending = new Workers();

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
  if (owner.pid === process.pid) return !senders.has(id);
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
