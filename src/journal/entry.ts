import { hostname } from "node:os";
import type { Call, Refused, Succeeded } from "../adapter/contract";
import type { Clock } from "../async/clock";
import type { Charged, Cost } from "../cost";
import { InvalidRequestError, JournalError, reasonOf } from "../errors";
import { codeOf } from "../realm";
import type { Operation } from "../types";
import { otherAccountError } from "./account";
import type { Journal } from "./journal";
import {
  isFree,
  isSettledRecord,
  type JournalRecord,
  journalRecordSchema,
  packSplit,
  recordId,
} from "./record";
import { repeatableCall } from "./repeatable";
import { Writes } from "./writes";

/** What the records of a job have in common. */
export interface LedgerFacts {
  readonly jobId: string;
  readonly provider: string;
  readonly baseURL: string;
  readonly operation: Operation;
  readonly split: readonly number[];
  readonly requestDigest: string;
  /** Whose money it is, as the marker is written; absent for a job that stands there already. */
  account?(): Promise<string>;
  /** The record of the first task, which tells of which request a caller's key is; absent without one. */
  readonly firstId?: string;
}

/** The first task's marker while it is being written: the other tasks of the call wait for it. */
const firstMarkers = new WeakMap<LedgerFacts, Promise<unknown>>();

/** Tasks whose create this process is sending or about to send, across its clients, by record id. */
const sending = new Map<string, Set<TaskEntry>>();

/** One task's page in the journal: written ahead of what it tells of. */
export class TaskEntry {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #facts: LedgerFacts;
  readonly #index: number;
  /** Which try it is under a caller's key; absent without one. */
  readonly #attempt: number | undefined;
  #account: string | undefined;
  #record: JournalRecord | undefined;
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
    this.#account = await this.#facts.account?.();
    if (firstId !== undefined) await this.#find(firstId);
    return this.#begin(call, key);
  }

  async #begin(call: Call, key: string | undefined): Promise<JournalRecord | undefined> {
    const { jobId, provider, baseURL, operation, split, requestDigest } = this.#facts;
    this.#account = await this.#facts.account?.();
    const account = this.#account;
    const attempt = this.#attempt;
    const json = call.body !== undefined && "json" in call.body ? call.body.json : undefined;
    const record: JournalRecord = {
      ...{ v: 1, id: this.#id, jobId, index: this.#index, n: split[this.#index] ?? 1 },
      ...{ ...packSplit(split), provider, baseURL, operation, requestDigest },
      ...(account !== undefined && { account }),
      ...(attempt !== undefined && { attempt }),
      submittedAt: new Date(this.#clock.wallTime()).toISOString(),
      owner: { host: hostname(), pid: process.pid },
      request: json ?? textParts(call),
      state: "submitting",
      ...(key !== undefined && { key }),
      // Under a key anybody may finish what this process began.
      ...(key !== undefined &&
        json !== undefined && {
          call: { path: call.path, json, ...(call.headers && { headers: { ...call.headers } }) },
        }),
    };
    for (;;) {
      // Before others can see the marker.
      this.#markSending();
      try {
        this.#begun = await this.#guarded("no", () => this.#journal.create(record));
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
    const found = await this.#find(this.#id);
    if (found !== undefined) this.#record = found;
    return found;
  }

  async #find(id: string): Promise<JournalRecord | undefined> {
    const found = await this.#guarded("no", () => this.#journal.read(id));
    if (found === undefined) return undefined;
    const parsed = journalRecordSchema.safeParse(found);
    if (!parsed.success) {
      const detail = `What stands under ${id} is no record of this version`;
      throw new JournalError({ provider: this.#facts.provider, charged: "no", detail });
    }
    const { account } = parsed.data;
    if (account !== undefined && this.#account !== undefined && account !== this.#account) {
      throw otherAccountError(this.#facts.provider, id);
    }
    if (parsed.data.requestDigest !== this.#facts.requestDigest) {
      throw new InvalidRequestError({
        ...{ provider: this.#facts.provider, charged: "no", field: "options.idempotencyKey" },
        given: "the key of another request",
        taken: "a key of its own for each request, or the very same request again",
      });
    }
    return parsed.data;
  }

  /** Whether a create of unknown fate may be sent again: under its key, while that is young. */
  get repeatable(): Call | undefined {
    return this.#record && repeatableCall(this.#record, this.#clock.wallTime());
  }

  /** Whether no process can still be working on it: the one that wrote it has exited. */
  get abandoned(): boolean {
    return this.#record !== undefined && isAbandoned(this.#record);
  }

  #markSending(): void {
    const others = sending.get(this.#id);
    if (others === undefined) sending.set(this.#id, new Set([this]));
    else others.add(this);
  }

  /** The create has ended, however it did. */
  sent(): void {
    const all = sending.get(this.#id);
    all?.delete(this);
    if (all?.size === 0) sending.delete(this.#id);
  }

  /** The process that wrote the record lives, and is another. */
  get isOwnedElsewhere(): boolean {
    const record = this.#record;
    return record?.owner !== undefined && !isOwnedHere(record) && !isAbandoned(record);
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
      if (current?.state === "succeeded" || current?.state === "failed") return;
    }
    return this.#update({ state: "submitted", taskId, ...(cost !== undefined && { cost }) });
  }

  /** The create's outcome is unknown, unless another process has recorded it since. */
  async unknown(message: string): Promise<void> {
    const current = await this.refresh();
    if (current?.state !== "submitting") return;
    return this.#update({
      state: "unknown",
      failure: { kind: "submission_unknown", message, charged: "unknown" },
    });
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

  /** There is nothing to keep, and the key is free again, unless another process is further under it. */
  async refused(): Promise<void> {
    const current = await this.refresh();
    if (current?.state === "submitting") await this.forget();
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
    const { call, ...record } = { ...this.#record, ...change };
    // Once accepted it is never sent again.
    if (isSettledRecord(record))
      record.settledAt ??= new Date(this.#clock.wallTime()).toISOString();
    const open = record.state === "submitting" || record.state === "unknown";
    this.#record = open && call !== undefined ? { ...record, call } : record;
    const written = this.#record;
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

/** The fields of a multipart body; the images in it stay out of the journal. */
function textParts(call: Call): unknown {
  if (call.body === undefined || !("parts" in call.body)) return undefined;
  const texts = call.body.parts.filter((part) => typeof part.value === "string");
  return Object.fromEntries(texts.map(({ name, value }) => [name, value]));
}
