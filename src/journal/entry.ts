import type { Call, Refused, Succeeded } from "../adapter/contract";
import type { Clock } from "../async/clock";
import type { Charged, Cost } from "../cost";
import { JournalError, reasonOf } from "../errors";
import type { Journal } from "./journal";
import {
  beginSending,
  endSending,
  isAbandoned,
  isOwnedElsewhere,
  isOwnedHere,
  thisProcess,
} from "./owner";
import { isFree, isSettledRecord, type JournalRecord, recordId } from "./record";
import { repeatableCall } from "./repeatable";
import { intentRecord, type LedgerFacts, recordOf } from "./task-record";
import { Writes } from "./writes";

/** The first task's marker while it is being written: the other tasks of the call wait for it. */
const firstMarkers = new WeakMap<LedgerFacts, Promise<unknown>>();

/** One task's page in the journal: written ahead of what it tells of. */
export class TaskEntry {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #canSwap: boolean;
  readonly #facts: LedgerFacts;
  readonly #index: number;
  /** Which try it is under a caller's key; absent without one. */
  readonly #attempt: number | undefined;
  #account: string | undefined;
  #record: JournalRecord | undefined;
  /** What stands in the journal, as it was last read or written. */
  #stored: unknown;
  #released = false;
  #begun = false;
  readonly #writes = new Writes();

  constructor(
    journal: Journal,
    clock: Clock,
    facts: LedgerFacts,
    index: number,
    record?: JournalRecord,
    attempt = record?.attempt,
  ) {
    this.#journal = journal;
    this.#canSwap = journal.compareAndSwap !== undefined;
    this.#clock = clock;
    this.#facts = facts;
    this.#index = index;
    this.#record = record;
    this.#attempt = attempt;
    this.#account = record?.account;
  }

  get record(): JournalRecord | undefined {
    return this.#record;
  }

  /** The marker is this process's own. */
  get begun(): boolean {
    return this.#begun;
  }

  get #id(): string {
    return recordId(this.#facts.jobId, this.#index, this.#attempt);
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
    if (firstId !== undefined) await this.#find(firstId);
    return this.#begin(call, key);
  }

  async #begin(call: Call, key: string | undefined): Promise<JournalRecord | undefined> {
    this.#account = (await this.#facts.account?.()) ?? this.#account;
    const place = { id: this.#id, index: this.#index, attempt: this.#attempt };
    const whose = { ...place, account: this.#account, now: this.#clock.wallTime() };
    const record = intentRecord(this.#facts, whose, call, key);
    for (;;) {
      // Before others can see the marker.
      beginSending(this.#id, this);
      try {
        this.#begun = await this.#guarded("no", () => this.#journal.create(record));
      } finally {
        if (!this.#begun) this.sent();
      }
      if (this.#begun) {
        this.#record = record;
        this.#stored = record;
        return undefined;
      }
      const existing = await this.refresh();
      if (existing !== undefined) return existing;
      // Released between the two: the place is free again.
    }
  }

  /** Reads the record anew, as another process may have written it. */
  async refresh(): Promise<JournalRecord | undefined> {
    const found = await this.#find(this.#id);
    if (found !== undefined) this.#record = found;
    return found;
  }

  async #find(id: string): Promise<JournalRecord | undefined> {
    const found = await this.#guarded("no", () => this.#journal.read(id));
    if (id === this.#id) this.#stored = found;
    return found === undefined ? undefined : recordOf(found, id, this.#facts, this.#account);
  }

  /** Whether a create of unknown fate may be sent again: under its key, while that is young. */
  get repeatable(): Call | undefined {
    return this.#record && repeatableCall(this.#record, this.#clock.wallTime());
  }

  /** Whether no process can still be working on it: the one that wrote it has exited. */
  get abandoned(): boolean {
    return this.#record !== undefined && isAbandoned(this.#record);
  }

  /**
   * Puts this process's name on the intent record of another, before its create is sent again under its key:
   * from then on a refusal of the first create does not take the record back. False where something else
   * stands there by now, which is to be looked at anew.
   */
  async takeOver(): Promise<boolean> {
    if (!this.#canSwap) return true;
    const found = await this.refresh();
    if (found === undefined || this.repeatable === undefined) return false;
    const record = takenOver(found, this.#clock);
    beginSending(this.#id, this);
    const isTaken = await this.#swap("no", record).catch((error: unknown) => {
      this.sent();
      throw error;
    });
    if (!isTaken) this.sent();
    return isTaken;
  }

  /** False where another process has written since. */
  async #swap(charged: Charged, next?: JournalRecord): Promise<boolean> {
    const isSwapped = await this.#guarded(charged, async () =>
      this.#journal.compareAndSwap?.(this.#id, this.#stored, next),
    );
    if (!isSwapped) return false;
    this.#stored = next;
    this.#record = next ?? this.#record;
    return true;
  }

  /** The create has ended, however it did. */
  sent(): void {
    endSending(this.#id, this);
  }

  /** The process that wrote the record lives, and is another. */
  get isOwnedElsewhere(): boolean {
    return this.#record !== undefined && isOwnedElsewhere(this.#record);
  }

  /** The record was released from the journal. */
  get released(): boolean {
    return this.#released;
  }

  /** A create that cannot be taken over, and that another process may still be sending. */
  get isElsewhere(): boolean {
    if (this.#begun || this.#record?.state !== "submitting") return false;
    return this.repeatable === undefined && !this.abandoned;
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
    if (!this.#canSwap) await this.#update(record);
    else await this.#swap("unknown", record);
  }

  failed({ kind, message, charged, code }: Refused): Promise<void> {
    const failure = { kind, message, charged, ...(code !== undefined && { code }) };
    return this.#update({ state: "failed", failure });
  }

  async writeImage(position: number, bytes: Uint8Array): Promise<void> {
    if (this.#released) return;
    const write = () => this.#journal.writeImage(this.#id, position, bytes);
    await this.#writes.add(this.#guarded("yes", write));
  }

  /** An image that the journal keeps; `undefined` before it does. */
  async readImage(position: number): Promise<Uint8Array | undefined> {
    if (this.#record?.state !== "succeeded" || this.#released) return undefined;
    return this.#guarded("yes", () => this.#journal.readImage(this.#id, position));
  }

  /** Written last, so that a reader of the record always finds its images. */
  succeeded({ outputs, usage, model }: Succeeded, cost: Cost | undefined): Promise<void> {
    const change: Partial<JournalRecord> = {
      state: "succeeded",
      images: outputs.map(({ url, revisedPrompt }) => ({
        ...(url !== undefined && { url }),
        ...(revisedPrompt !== undefined && { revisedPrompt }),
      })),
      ...(cost !== undefined && { cost }),
      ...(usage !== undefined && { usage: { ...usage } }),
      ...(model !== undefined && { model }),
    };
    return this.#update(change, "yes");
  }

  /**
   * There is nothing to keep, and the key is free again, unless another process has taken the record over,
   * or is further under it.
   */
  async refused(): Promise<void> {
    if (!this.#begun) return;
    if (this.#canSwap) {
      this.#released = await this.#swap("unknown");
      return;
    }
    const current = await this.refresh();
    if (current?.state === "submitting" && isOwnedHere(current)) await this.forget();
  }

  /** Lets go of the record and its images. */
  async forget(): Promise<void> {
    this.#released = true;
    await this.#writes.settled();
    await this.#guarded("unknown", () => this.#journal.delete(this.#id));
  }

  /** The same at the caller's word, and of the tries before this one, too. */
  async release(): Promise<void> {
    const record = this.#record;
    if (record?.attempt !== undefined && isFree(record)) {
      // Another process may be at the next try: without this one the key would lead past it.
      this.#released = true;
      await this.#writes.settled();
      const { request: _, ...rest } = record;
      return this.#guarded("no", () => this.#journal.update({ ...rest, released: true }));
    }
    await this.forget();
    for (let attempt = (this.#attempt ?? 0) - 1; attempt >= 0; attempt -= 1) {
      const id = recordId(this.#facts.jobId, this.#index, attempt);
      await this.#guarded("unknown", () => this.#journal.delete(id));
    }
  }

  async #update(change: Partial<JournalRecord>, charged: Charged = "unknown"): Promise<void> {
    if (this.#record === undefined || this.#released) return;
    const written = changed(this.#record, change, this.#clock);
    this.#record = written;
    this.#stored = written;
    await this.#writes.add(this.#guarded(charged, () => this.#journal.update(written)));
  }

  async #guarded<Value>(charged: Charged, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (cause) {
      const detail = reasonOf(cause);
      throw new JournalError({ provider: this.#facts.provider, charged, detail, cause });
    }
  }
}

/** On its way again, whatever it was: nobody may settle it meanwhile. */
function takenOver({ failure: _, ...record }: JournalRecord, clock: Clock): JournalRecord {
  const takenOverAt = new Date(clock.wallTime()).toISOString();
  return { ...record, state: "submitting", owner: thisProcess(), takenOverAt };
}

/** Without what a settlement has put there. */
function reopened(settled: JournalRecord): JournalRecord {
  const { failure: _, settledAt: __, released: ___, ...record } = settled;
  return record;
}

function changed(
  before: JournalRecord,
  change: Partial<JournalRecord>,
  clock: Clock,
): JournalRecord {
  const { call, ...record } = { ...before, ...change };
  if (isSettledRecord(record)) record.settledAt ??= new Date(clock.wallTime()).toISOString();
  // Once accepted it is never sent again.
  const open = record.state === "submitting" || record.state === "unknown";
  return open && call !== undefined ? { ...record, call } : record;
}
