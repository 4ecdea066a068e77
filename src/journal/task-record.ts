import type { Call } from "../adapter/contract";
import { InvalidRequestError, JournalError } from "../errors";
import type { Operation } from "../types/reference";
import { otherAccountError } from "./account";
import { thisProcess } from "./owner";
import { type JournalRecord, journalRecordSchema, packSplit } from "./record";

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

/** Which record it is, of whom, and when it is written. */
interface RecordPlace {
  readonly id: string;
  readonly index: number;
  readonly attempt: number | undefined;
  readonly account: string | undefined;
  /** In milliseconds since 1970. */
  readonly now: number;
}

/** The record that must be there before a create leaves. */
export function intentRecord(
  { jobId, provider, baseURL, operation, split, requestDigest }: LedgerFacts,
  { id, index, attempt, account, now }: RecordPlace,
  call: Call,
  key: string | undefined,
): JournalRecord {
  const json = call.body !== undefined && "json" in call.body ? call.body.json : undefined;
  return {
    ...{ v: 1, id, jobId, index, n: split[index] ?? 1 },
    ...{ ...packSplit(split), provider, baseURL, operation, requestDigest },
    ...(account !== undefined && { account }),
    ...(attempt !== undefined && { attempt }),
    submittedAt: new Date(now).toISOString(),
    owner: thisProcess(),
    request: json ?? textParts(call),
    state: "submitting",
    ...(key !== undefined && { key }),
    // Under a key anybody may finish what this process began.
    ...(key !== undefined &&
      json !== undefined && {
        call: { path: call.path, json, ...(call.headers && { headers: { ...call.headers } }) },
      }),
  };
}

/**
 * What stands under an id, for a call of this account and request.
 *
 * @throws {@link JournalError} if it is no record; {@link InvalidRequestError} if it is of another account or
 * request.
 */
export function recordOf(
  found: unknown,
  id: string,
  { provider, requestDigest }: LedgerFacts,
  account: string | undefined,
): JournalRecord {
  const { data: record } = journalRecordSchema.safeParse(found);
  if (record === undefined) {
    const detail = `What stands under ${id} is no record of this version`;
    throw new JournalError({ provider, charged: "no", detail });
  }
  if (record.account !== undefined && account !== undefined && account !== record.account) {
    throw otherAccountError(provider, id);
  }
  if (record.requestDigest !== requestDigest) {
    throw new InvalidRequestError({
      ...{ provider, charged: "no", field: "options.idempotencyKey" },
      given: "the key of another request",
      taken: "a key of its own for each request, or the very same request again",
    });
  }
  return record;
}

/** The fields of a multipart body; the images in it stay out of the journal. */
function textParts(call: Call): unknown {
  if (call.body === undefined || !("parts" in call.body)) return undefined;
  const texts = call.body.parts.filter((part) => typeof part.value === "string");
  return Object.fromEntries(texts.map(({ name, value }) => [name, value]));
}
