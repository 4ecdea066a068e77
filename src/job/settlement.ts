import * as z from "zod/mini";
import { once } from "../async/lazy";
import { InvalidRequestError } from "../errors";
import { otherAccountError } from "../journal/account";
import type { OwnRecords } from "../journal/own-records";
import { isAbandoned, isOwnedHere } from "../journal/owner";
import { isSettledRecord, type JournalRecord } from "../journal/record";
import { parseOptions } from "../request/options";
import type { ParsedReference } from "./job";
import type { ClientServices } from "./services";

/** What a person has found out, in the provider's console, of a create whose fate was unknown. */
export type Settlement = {
  /** Which task of a split request. Default: every task of unknown fate. */
  readonly task?: number;
} & (
  | {
      /** It was never accepted. The key is free again, where one was given. */
      readonly charged: "no";
    }
  | {
      /** It was accepted, and is paid for. */
      readonly charged: "yes";
      /** The provider's id of the job: its pictures are to be had by `recover`. Without it there are none. */
      readonly taskId?: string;
    }
);

const id = "the provider's id of the job";
const charged = '"no" or "yes"';

const settlementSchema = once(() =>
  z
    .strictObject(
      {
        charged: z.enum(["no", "yes"], charged),
        task: z.optional(z.int("the index of a task").check(z.minimum(0, "the index of a task"))),
        taskId: z.optional(z.string(id).check(z.minLength(1, id))),
      },
      "what was found out: { charged, taskId?, task? }",
    )
    .check(
      z.refine((given) => given.charged === "yes" || given.taskId === undefined, {
        path: ["taskId"],
        message: "none of what was never accepted",
      }),
    ),
);

type ParsedSettlement = z.output<ReturnType<typeof settlementSchema>>;

/** Checks what a person says. */
export function parseSettlement(given: unknown): ParsedSettlement {
  return parseOptions(settlementSchema(), given, "options");
}

/** What a settlement needs of its client. */
interface SettlementContext {
  readonly records: OwnRecords;
  readonly jobs: Pick<ClientServices, "clock" | "provider" | "timeoutMs">;
}

/** Ends what is unknown of a job by a person's word. */
export async function settle(
  reference: ParsedReference,
  settlement: ParsedSettlement,
  { records, jobs }: SettlementContext,
): Promise<void> {
  const { provider } = jobs;
  const open: JournalRecord[] = [];
  for (const { index } of reference.tasks) {
    if (settlement.task !== undefined && settlement.task !== index) continue;
    const read = (id: string) => records.read(id);
    const newest = (await records.triesOf(reference.id, index, read)).at(-1);
    if (newest === undefined || isSettledRecord(newest) || newest.state === "submitted") continue;
    // Whose it is, is not told to another account.
    if ((await records.own(newest.id)) === undefined) {
      throw otherAccountError(provider.name, newest.id);
    }
    open.push(newest);
  }
  const refusal = problemOf(open, settlement, jobs);
  if (refusal !== undefined) throw refusal;
  for (const record of open) await end(record, settlement, { records, jobs });
}

function problemOf(
  open: readonly JournalRecord[],
  { taskId, task }: ParsedSettlement,
  { clock, provider, timeoutMs }: SettlementContext["jobs"],
): InvalidRequestError | undefined {
  const facts = { provider: provider.name, charged: "no" } as const;
  if (open.length === 0) {
    const given = task === undefined ? "a job" : `task ${task} of a job`;
    const taken = "what is unknown: this has ended, runs under an id, or is not in the journal";
    return new InvalidRequestError({ ...facts, field: "reference", given, taken });
  }
  const field = "options.taskId";
  if (taskId !== undefined && provider.adapter.query === undefined) {
    const taken = "no id: its response is the image itself, and nothing can be asked afterwards";
    return new InvalidRequestError({ ...facts, field, given: `"${taskId}"`, taken });
  }
  if (taskId !== undefined && open.length > 1) {
    const given = `one id for ${open.length} tasks`;
    const taken = "one id for one task: say which, by `task`";
    return new InvalidRequestError({ ...facts, field, given, taken });
  }
  const busy = open.find((record) => isPerhapsBeingSent(record, clock.wallTime(), timeoutMs));
  if (busy === undefined) return undefined;
  const given = `a create that may be on its way: ${busy.id}, of process ${busy.owner?.pid}`;
  const taken = "one whose process has ended, or has had its time";
  return new InvalidRequestError({ ...facts, field: "reference", given, taken, transient: true });
}

/** A person cannot know yet what becomes of it. Whether a process lives is told on its own machine alone. */
function isPerhapsBeingSent(record: JournalRecord, now: number, timeoutMs: number): boolean {
  if (record.state !== "submitting" || record.owner === undefined) return false;
  const isYoung = now - Date.parse(record.takenOverAt ?? record.submittedAt) < timeoutMs;
  return !isAbandoned(record) && (isOwnedHere(record) || isYoung);
}

async function end(
  record: JournalRecord,
  settlement: ParsedSettlement,
  { records, jobs }: SettlementContext,
): Promise<void> {
  const ended = endOf(record, settlement, new Date(jobs.clock.wallTime()).toISOString());
  if (await records.replace(record, ended)) return;
  const given = `a create of which another process has just written what came: ${record.id}`;
  const taken = "what is still unknown: look at it again";
  const facts = { provider: jobs.provider.name, charged: "no", field: "reference" } as const;
  throw new InvalidRequestError({ ...facts, given, taken, transient: true });
}

/** What becomes of a record; `undefined` where nothing of it is worth keeping. */
function endOf(
  { call: _, failure: __, ...record }: JournalRecord,
  { charged, taskId }: ParsedSettlement,
  settledAt: string,
): JournalRecord | undefined {
  if (taskId !== undefined) return { ...record, state: "submitted", taskId };
  const failed = { state: "failed", settledAt } as const;
  const kind = "generation_failed";
  if (charged === "yes") {
    const message = "A person has found that it was accepted; its pictures are not to be had";
    return { ...record, ...failed, failure: { kind, message, charged } };
  }
  if (record.attempt === undefined) return undefined;
  // It stays, so that what a late process writes of this try cannot touch the next one.
  const { request: ___, ...rest } = record;
  const message = "A person has found that it was never accepted";
  return { ...rest, ...failed, failure: { kind, message, charged }, released: true };
}
