import { createHash } from "node:crypto";
import { hostname } from "node:os";
import {
  type Charged,
  InvalidRequestError,
  type Journal,
  JournalError,
  type JournalRecord,
  type LedgerEntry,
  type Operation,
} from "../../index";
import { type Claim, type ClaimFacts, factsIn, idOf, isFree, isRecord } from "./claim";
import type { Clock } from "./clock";

/** No client is called so: those that share the journal leave claims alone. */
const claimProvider = "gpt-image-client/router";
const claimAddress = "claim:";

/** How far clocks of two machines may be apart. */
const longestSkewMs = 5 * 60_000;

/**
 * The links that calls of this process are at, or are just making, and how many calls: one that comes too
 * late to make a link must not take the mark of the one that made it.
 */
const ownName = Symbol.for("gpt-image-client.router.claims");
// A symbol of the registry is the same in every copy of this package, and nobody else has this one.
const shared = globalThis as { [ownName]?: Map<string, number> };
shared[ownName] ??= new Map();
const own = shared[ownName];

function mark(id: string, by: 1 | -1): void {
  const count = (own.get(id) ?? 0) + by;
  if (count > 0) own.set(id, count);
  else own.delete(id);
}

/** The claims of keys in a router's journal. */
export class Claims {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #router: string;

  constructor(journal: Journal, clock: Clock, router: string) {
    this.#journal = journal;
    this.#clock = clock;
    this.#router = router;
  }

  /** What a caller's key is called in the journal. */
  keyFor(idempotencyKey: string): string {
    const digest = createHash("sha256").update(JSON.stringify([this.#router, idempotencyKey]));
    return `route-${digest.digest("hex").slice(0, 32)}`;
  }

  /** The last link of a key's chain, at or after the one at `from`. */
  async last(key: string, from = 0): Promise<Claim | undefined> {
    let last: Claim | undefined;
    for (let index = from; ; index += 1) {
      const next = await this.#read(key, index);
      if (next === undefined) return last;
      last = next;
    }
  }

  /**
   * The link that tells of a key's order, where one does: the key is free otherwise. Where an order of unknown
   * fate was bought again, and that ended without a charge, it is the one of the first: whoever took its key
   * for free would buy beside it.
   */
  async standing(last: Claim | undefined): Promise<Claim | undefined> {
    if (last === undefined || !isFree(last)) return last;
    const first = await this.#firstOf(last);
    return first !== undefined && isFree(first) ? undefined : first;
  }

  /** The link that a key is kept for: the one that tells of its order, or the last one of a free key. */
  async #toldBy(last: Claim | undefined): Promise<Claim | undefined> {
    return (await this.standing(last)) ?? last;
  }

  /** The link of the order that a second purchase was made for; of any other link, itself. */
  async #firstOf(link: Claim): Promise<Claim | undefined> {
    let first: Claim | undefined = link;
    while (first?.facts.again === true) first = await this.#before(first);
    return first;
  }

  async #before({ key, index }: Claim): Promise<Claim | undefined> {
    return index === 0 ? undefined : this.#read(key, index - 1);
  }

  async #read(key: string, index: number): Promise<Claim | undefined> {
    const id = idOf(key, index);
    const found = await this.#guarded("no", () => this.#journal.read(id));
    if (found === undefined) return undefined;
    const facts = isRecord(found) ? factsIn(found.request) : undefined;
    if (isRecord(found) && facts !== undefined) return { key, index, record: found, facts };
    throw new JournalError({ charged: "no", detail: `What stands under ${id} is no claim` });
  }

  /** Makes a link, unless somebody has made that one: then `undefined`. */
  async open(
    key: string,
    index: number,
    order: { readonly operation: Operation; readonly n: number; readonly digest: string },
    facts: ClaimFacts,
  ): Promise<Claim | undefined> {
    const id = idOf(key, index);
    const record: JournalRecord = {
      ...{ v: 1, id, jobId: key, index: 0, n: order.n, split: [order.n] },
      ...{ provider: claimProvider, baseURL: claimAddress, operation: order.operation },
      ...(index > 0 && { attempt: index }),
      submittedAt: new Date(this.#clock.wallTime()).toISOString(),
      owner: { host: hostname(), pid: process.pid },
      requestDigest: order.digest,
      request: facts,
      state: "submitting",
    };
    // Before others can see it.
    mark(id, 1);
    const isOurs = await this.#guarded("no", () => this.#journal.create(record)).catch(
      (error: unknown) => {
        mark(id, -1);
        throw error;
      },
    );
    if (isOurs) return { key, index, record, facts };
    mark(id, -1);
    return undefined;
  }

  /** Replaces what a link says. */
  async update(
    { key, index, record, facts }: Claim,
    change: Partial<Pick<JournalRecord, "state" | "failure">>,
    more: Partial<Pick<ClaimFacts, "reference" | "until">> = {},
    charged: Charged = "unknown",
  ): Promise<Claim> {
    const changed = { ...facts, ...more };
    const ended = change.state === "succeeded" || change.state === "failed";
    const written: JournalRecord = {
      ...{ ...record, ...change, request: changed },
      ...(ended && { settledAt: new Date(this.#clock.wallTime()).toISOString() }),
    };
    await this.#guarded(charged, () => this.#journal.update(written));
    return { key, index, record: written, facts: changed };
  }

  /** Its owner is at it no longer. */
  leave({ key, index }: Claim): void {
    mark(idOf(key, index), -1);
  }

  /** Whether nobody can be about to send under an open link any more. */
  isAbandoned({ record, facts }: Claim): boolean {
    const { owner, id } = record;
    if (owner?.host === hostname()) {
      // In a container the process before this one had the same number.
      return owner.pid === process.pid ? !own.has(id) : !isAlive(owner.pid);
    }
    return this.#clock.wallTime() > facts.until;
  }

  /** Up to when the owner of a new link may send. */
  untilAfter(timeoutMs: number): number {
    return this.#clock.wallTime() + timeoutMs + longestSkewMs;
  }

  /**
   * Keeps a link while its order waits for longer than it said, as behind a client's `concurrency`.
   * `onLost` is called where somebody else has taken it over: nothing may be sent any more.
   */
  keep(claim: Claim, timeoutMs: number, onLost: () => void): () => void {
    let current = claim;
    let cancel = () => {};
    const wait = () => {
      const leftMs = current.facts.until - this.#clock.wallTime() - longestSkewMs / 5;
      cancel = this.#clock.after(Math.max(0, leftMs), () => void renew());
    };
    const renew = async () => {
      try {
        if ((await this.#read(claim.key, claim.index + 1)) !== undefined) return onLost();
        const until = this.untilAfter(timeoutMs);
        current = await this.update(current, {}, { until });
        wait();
      } catch {
        // Who cannot say that it is still at it must not send.
        onLost();
      }
    };
    wait();
    return () => cancel();
  }

  /**
   * Lets go of all that a key has, the newest link first: at no moment does it lead past one. Not where the
   * order that it tells of is another job's by now, or has no job yet: somebody has come with the key since.
   * Of a second purchase that is let go the first order's link stays, while that is in doubt.
   */
  async forget(key: string, jobId: string | undefined): Promise<void> {
    const last = await this.last(key);
    const told = await this.#toldBy(last);
    if (last === undefined || told?.facts.reference?.id !== jobId) return;
    if (jobId === undefined && told?.record.settledAt === undefined) return;
    const first = await this.#firstOf(last);
    const isInDoubt = first !== undefined && first.index !== told?.index && !isFree(first);
    const oldest = isInDoubt ? first.index + 1 : 0;
    for (let index = last.index; index >= oldest; index -= 1) {
      await this.#guarded("unknown", () => this.#journal.delete(idOf(key, index)));
    }
  }

  /**
   * Lets go of the chains that ended longer ago than this, and gives the keys of the others by the ids of
   * their jobs: whoever releases a job lets go of its chain too.
   */
  async clean(retentionMs: number): Promise<ReadonlyMap<string, string>> {
    const keys = new Set<string>();
    for await (const { record } of this.#journal.list()) {
      if (isRecord(record) && record.provider === claimProvider) keys.add(record.jobId);
    }
    const kept = new Map<string, string>();
    for (const key of keys) {
      const last = await this.last(key);
      const told = await this.#toldBy(last);
      const { settledAt } = told?.record ?? {};
      const jobId = told?.facts.reference?.id;
      if (settledAt !== undefined && this.#clock.wallTime() - Date.parse(settledAt) > retentionMs) {
        await this.forget(key, jobId);
      } else if (jobId !== undefined) kept.set(jobId, key);
    }
    return kept;
  }

  /**
   * Ends the claim of an order by a person's word.
   *
   * @throws {@link InvalidRequestError} where a call is at it just now: nobody can know what comes of that.
   */
  async settle({ id, claim = "" }: LedgerEntry, charged: "no" | "yes"): Promise<void> {
    const [, key] = /^(route-[\da-f]+)(?:-\d+)?\.0$/.exec(claim) ?? [];
    let link = key === undefined ? undefined : await this.last(key);
    // Whoever asked after the order since has made a later link of it, and of its second purchase others.
    while (link !== undefined && link.facts.entry !== id) link = await this.#before(link);
    if (link === undefined || link.record.state === "succeeded") return;
    const { record, facts } = link;
    // Whose process lives on may have submitted it, and be at it no longer: that has its time.
    const isInTime = this.#clock.wallTime() <= facts.until;
    if (record.state === "submitting" && isInTime && !this.isAbandoned(link)) {
      const given = `an order that may be on its way to ${facts.client}`;
      const taken = "one that nobody is at";
      const known = { provider: this.#router, charged: "no", field: "id" } as const;
      throw new InvalidRequestError({ ...known, given, taken, transient: true });
    }
    const message = "A person has found out what became of it";
    const failure = { kind: "generation_failed", message, charged };
    await this.update(link, { state: "failed", failure });
  }

  /** @throws {@link JournalError} in place of what the journal throws. */
  async #guarded<Value>(charged: Charged, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new JournalError({ charged, detail: `The router's: ${reason}`, cause });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Not allowed to signal it means that it lives.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
