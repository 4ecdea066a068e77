import type { Provider } from "../adapter/provider";
import { namesUnder } from "../request/fingerprint";
import { type Account, otherAccountError } from "./account";
import type { OwnRecords } from "./own-records";
import { isFree, isSettledRecord, type JournalRecord } from "./record";

/** Where the records of a call under a caller's key stand. */
export interface KeyedPlace {
  readonly jobId: string;
  /** The account that it was chosen for. */
  readonly account: string;
  /** Which try each task is at: those before it have failed without a charge, and left the key free. */
  readonly attempts: readonly number[];
  /** Whether a record stood there already, of a call before this one, by task. */
  readonly taken: readonly boolean[];
  /** The idempotency key that goes with a task. */
  taskKey(index: number): string;
}

/**
 * Finds the place of a call under a caller's key, so that the same call finds its job again.
 *
 * An account that was named is part of the id: two of them never meet. One that a key says is not,
 * so that a key that was replaced buys nothing twice: the call stops at an unsettled job of the old
 * one, passes over a settled one, and then stands under an id with its account.
 *
 * @throws {@link InvalidRequestError} naming `account`, at an unsettled job of another account.
 */
export async function placeUnder(
  idempotencyKey: string,
  tasks: number,
  { records, provider, account }: { records: OwnRecords; provider: Provider; account: Account },
): Promise<KeyedPlace> {
  const current = await account.current();
  const shared = namesUnder(idempotencyKey, provider);
  const apart = namesUnder(idempotencyKey, provider, current);
  const read = (id: string) => records.read(id);
  // Both at once: a journal over a network reads them in one round trip.
  const [own, common] = await Promise.all([
    records.tries(apart.jobId, tasks, read),
    records.tries(shared.jobId, tasks, read),
  ]);
  // A replaced key of the same account shall find its job at the provider, which knows it by this.
  const { taskKey } = account.isNamed ? apart : shared;
  if (own.some((tries) => tries.length > 0)) return placed({ ...apart, taskKey }, own);

  const all = common.flat();
  const isOther = (each: JournalRecord) => each.account !== undefined && each.account !== current;
  const others = all.filter(isOther);
  if (account.isNamed) {
    // Records written before accounts existed match every account.
    if (others.length < all.length) return placed(shared, common);
    await stopAtOwnKey(others, provider, account);
    return placed({ ...apart, taskKey }, own);
  }
  const open = others.find((each) => !isSettledRecord(each));
  if (open !== undefined) throw otherAccountError(provider.name, open.id);
  // What is found is not bought again; whatever else leads to a create is looked for everywhere.
  if (all.length > 0 && all.every((each) => isOther(each) || isFree(each))) {
    await stopAtThirdKey(idempotencyKey, current, records, provider);
  }
  return others.length > 0 ? placed({ ...apart, taskKey }, own) : placed(shared, common);

  function placed(
    names: Pick<KeyedPlace, "jobId"> & { taskKey(index: number, attempt: number): string },
    tries: readonly (readonly JournalRecord[])[],
  ): KeyedPlace {
    const attempts = tries.map((each) => each.filter(isFree).length);
    return {
      ...{ jobId: names.jobId, account: current, attempts },
      taken: tries.map((each) => !each.every(isFree)),
      taskKey: (index) => names.taskKey(index, attempts[index] ?? 0),
    };
  }
}

/**
 * A job that one of several replaced keys began under an id of its own: nobody but the journal's list knows
 * those ids. It is read only where a call comes again under another key than before.
 */
async function stopAtThirdKey(
  idempotencyKey: string,
  current: string,
  records: OwnRecords,
  provider: Provider,
): Promise<void> {
  for await (const record of records.unsettledOfOthers(current)) {
    const { jobId } = namesUnder(idempotencyKey, provider, record.account);
    if (record.id.startsWith(jobId)) throw otherAccountError(provider.name, record.id);
  }
}

/** A job that this very key began before its account was given a name: it must not be bought again. */
async function stopAtOwnKey(
  others: readonly JournalRecord[],
  provider: Provider,
  account: Account,
): Promise<void> {
  const open = others.filter((each) => !isSettledRecord(each));
  if (open.length === 0) return;
  const derived = await account.derived();
  const [own] = open.filter((each) => each.account === derived);
  if (own !== undefined) throw otherAccountError(provider.name, own.id);
}
