import type { Call, Refused, Succeeded } from "../adapter/contract";
import type { Clock } from "../async/clock";
import type { Charged, Cost } from "../cost";
import { InvalidRequestError } from "../errors";
import type { Journal } from "./journal";
import { isAbandoned, isOwnedHere, senders } from "./owner";
import { isFree, type JournalRecord, recordId } from "./record";
import { changed, delivered, reopened, takenOver } from "./record-changes";
import { repeatableCall } from "./repeatable";
import { StoredRecord } from "./stored-record";
import { intentRecord, type LedgerFacts, recordOf } from "./task-record";

/** The first task's marker while it is being written: the other tasks of the call wait for it. */
const firstMarkers = new WeakMap<LedgerFacts, Promise<unknown>>();

/** What is known of a task's record when its entry is made. */
export interface EntrySeed {
  readonly record?: JournalRecord | undefined;
  /** Which try it is under a caller's key; absent without one. */
  readonly attempt?: number | undefined;
  /** Another call's record stands there. */
  readonly isTaken?: boolean;
}

/** One task's page in the journal: written ahead of what it tells of. */
export class TaskEntry {
  /** The name of its record. */
  readonly id: string;
  readonly #clock: Clock;
  readonly #facts: LedgerFacts;
  readonly #index: number;
  readonly #attempt: number | undefined;
  #account: string | undefined;
  #record: JournalRecord | undefined;
  readonly #stored: StoredRecord;
  #released = false;
  #begun = false;
  /** Another call's record stood there when it was last looked at. */
  #isTaken: boolean;
  #isTakenOver = false;

  constructor(
    journal: Journal,
    clock: Clock,
    facts: LedgerFacts,
    index: number,
    { record, attempt = record?.attempt, isTaken = record !== undefined }: EntrySeed = {},
  ) {
    this.#clock = clock;
    this.#facts = facts;
    this.#index = index;
    this.#record = record;
    this.#attempt = attempt;
    this.#isTaken = isTaken;
    this.#account = record?.account;
    this.id = recordId(facts.jobId, index, attempt);
    this.#stored = new StoredRecord(journal, facts.provider, this.id);
  }

  get record(): JournalRecord | undefined {
    return this.#record;
  }

  /** The marker is this process's own. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Another call's record stands there, as far as is known: what it sent may have been charged. */
  get isTaken(): boolean {
    return this.#isTaken && !this.#begun;
  }

  /** The record tells of a create of this process: it began it, or took it over. */
  get isOwn(): boolean {
    return this.#begun || this.#isTakenOver;
  }

  /**
   * Writes the marker that must be there before a create leaves the machine. Gives the record that
   * stood there already, if there was one: then this task is somebody's, and must not be sent anew.
   *
   * @throws {@link JournalError} if it cannot be written; {@link InvalidRequestError} if the same
   * idempotency key was used for another request, or by another account; {@link AuthenticationError}
   * where the API key says whose it is, and there is none.
   */
  async begin(call: Call, key: string | undefined): Promise<JournalRecord | undefined> {
    if (this.#index === 0) {
      const beginning = this.#begin(call, key);
      firstMarkers.set(this.#facts, beginning);
      return beginning;
    }
    // What stands under the first task's id tells of which request the key is: nothing of another
    // one may be sent, though it be split into more tasks.
    await firstMarkers.get(this.#facts)?.catch(() => {});
    const { firstId } = this.#facts;
    this.#account = (await this.#facts.account?.()) ?? this.#account;
    if (firstId !== undefined) this.#checked(await this.#stored.readOther(firstId), firstId);
    return this.#begin(call, key);
  }

  async #begin(call: Call, key: string | undefined): Promise<JournalRecord | undefined> {
    this.#account = (await this.#facts.account?.()) ?? this.#account;
    const { id } = this;
    const place = { id, index: this.#index, attempt: this.#attempt };
    const whose = { ...place, account: this.#account, now: this.#clock.wallTime() };
    const record = intentRecord(this.#facts, whose, call, key);
    for (;;) {
      // Before others can see the marker.
      senders.begin(id, this);
      try {
        this.#begun = await this.#stored.create(record);
        this.#isTaken = !this.#begun;
      } finally {
        if (!this.#begun) this.sent();
      }
      if (this.#begun) {
        this.#record = record;
        return undefined;
      }
      const existing = await this.refresh();
      if (existing !== undefined) return existing;
      // Released between the two: the place is free again.
    }
  }

  /** Reads the record anew, as another process may have written it. */
  async refresh(): Promise<JournalRecord | undefined> {
    const found = this.#checked(await this.#stored.read(), this.id);
    this.#isTaken = found !== undefined;
    if (found !== undefined) this.#record = found;
    return found;
  }

  #checked(found: unknown, id: string): JournalRecord | undefined {
    if (found === undefined) return undefined;
    try {
      return recordOf(found, id, this.#facts, this.#account);
    } catch (error) {
      // Of another request: nothing of this one was sent. What cannot be read may be of this one.
      this.#isTaken = !(error instanceof InvalidRequestError);
      throw error;
    }
  }

  /** Whether a create of unknown fate may be sent again: under its key, while that is young. */
  get repeatable(): Call | undefined {
    return this.#record && repeatableCall(this.#record, this.#clock.wallTime());
  }

  /**
   * Puts this process's name on the intent record of another, before its create is sent again under its key:
   * from then on a refusal of the first create does not take the record back. False where something else
   * stands there by now, which is to be looked at anew.
   */
  async takeOver(): Promise<boolean> {
    this.#isTakenOver = !this.#stored.canSwap;
    if (this.#isTakenOver) return true;
    const found = await this.refresh();
    if (found === undefined || this.repeatable === undefined) return false;
    senders.begin(this.id, this);
    try {
      this.#isTakenOver = await this.#swap("no", takenOver(found, this.#clock));
    } finally {
      if (!this.#isTakenOver) this.sent();
    }
    return this.#isTakenOver;
  }

  /** False where another process has written since. */
  async #swap(charged: Charged, next?: JournalRecord): Promise<boolean> {
    if (!(await this.#stored.swap(charged, next))) return false;
    this.#record = next;
    return true;
  }

  /** The create has ended, however it did. */
  sent(): void {
    senders.end(this.id, this);
  }

  /** The record was released from the journal. */
  get released(): boolean {
    return this.#released;
  }

  /** A create that cannot be taken over, and that another process may still be sending. */
  get isElsewhere(): boolean {
    if (this.#begun || this.#record?.state !== "submitting") return false;
    return this.repeatable === undefined && !isAbandoned(this.#record);
  }

  async accepted(taskId: string, cost: Cost | undefined): Promise<void> {
    if (this.#record?.key !== undefined) {
      // Under the same key another process may be further already: what it wrote stands.
      const current = await this.refresh();
      // A person has said that it was never accepted, and it was.
      if (current?.released) this.#record = reopened(current);
      else if (current?.state === "succeeded" || current?.state === "failed") return;
    }
    return this.#update({ state: "submitted", taskId, ...(cost !== undefined && { cost }) });
  }

  /** The create's outcome is unknown, unless another process has recorded it since. */
  async unknown(message: string): Promise<void> {
    const current = await this.refresh();
    if (current?.state !== "submitting") return;
    const failure = { kind: "submission_unknown", message, charged: "unknown" } as const;
    const record = changed(current, { state: "unknown", failure }, this.#clock);
    // What another process has written since tells more.
    if (!this.#stored.canSwap) await this.#update(record);
    else await this.#swap("unknown", record);
  }

  failed({ kind, message, charged, code }: Refused): Promise<void> {
    const failure = { kind, message, charged, ...(code !== undefined && { code }) };
    return this.#update({ state: "failed", failure });
  }

  async writeImage(position: number, bytes: Uint8Array): Promise<void> {
    if (!this.#released) await this.#stored.writeImage(position, bytes);
  }

  /** An image that the journal keeps; `undefined` before it does. */
  async readImage(position: number): Promise<Uint8Array | undefined> {
    if (this.#record?.state !== "succeeded" || this.#released) return undefined;
    return this.#stored.readImage(position);
  }

  /** Written last, so that a reader of the record always finds its images. */
  succeeded(success: Succeeded, cost: Cost | undefined): Promise<void> {
    return this.#update(delivered(success, cost), "yes");
  }

  /**
   * There is nothing to keep, and the key is free again, unless another process has taken the record over,
   * or is further under it.
   */
  async refused(): Promise<void> {
    if (!this.#begun) return;
    if (this.#stored.canSwap) this.#released = await this.#swap("unknown");
    else {
      const current = await this.refresh();
      if (current?.state === "submitting" && isOwnedHere(current)) await this.forget();
    }
  }

  /** Lets go of the record and its images. */
  async forget(): Promise<void> {
    this.#released = true;
    await this.#stored.delete();
  }

  /** The same at the caller's word, and of the tries before this one, too. */
  async release(): Promise<void> {
    const record = this.#record;
    if (record === undefined && this.#released) return; // A refusal left nothing: what is there is another's.
    if (record?.attempt !== undefined && isFree(record)) {
      // Another process may be at the next try: without this one the key would lead past it.
      this.#released = true;
      const { request: _, ...rest } = record;
      return this.#stored.free({ ...rest, released: true });
    }
    await this.forget();
    for (let attempt = (this.#attempt ?? 0) - 1; attempt >= 0; attempt -= 1) {
      await this.#stored.deleteOther(recordId(this.#facts.jobId, this.#index, attempt));
    }
  }

  async #update(change: Partial<JournalRecord>, charged: Charged = "unknown"): Promise<void> {
    if (this.#record === undefined || this.#released) return;
    this.#record = changed(this.#record, change, this.#clock);
    await this.#stored.update(this.#record, charged);
  }
}
