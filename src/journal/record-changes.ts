import type { Succeeded } from "../adapter/contract";
import type { Clock } from "../async/clock";
import type { Cost } from "../cost";
import { thisProcess } from "./owner";
import { isSettledRecord, type JournalRecord } from "./record";

// What a record becomes as its task goes on.

/** On its way again, whatever it was: nobody may settle it meanwhile. */
export function takenOver({ failure: _, ...record }: JournalRecord, clock: Clock): JournalRecord {
  const takenOverAt = new Date(clock.wallTime()).toISOString();
  return { ...record, state: "submitting", owner: thisProcess(), takenOverAt };
}

/** Without what a settlement has put there. */
export function reopened(settled: JournalRecord): JournalRecord {
  const { failure: _, settledAt: __, released: ___, ...record } = settled;
  return record;
}

/** With what has become of it. */
export function changed(
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

/** What a record tells of a task that gave its images, without their bytes. */
export function delivered(
  { outputs, usage, model }: Succeeded,
  cost: Cost | undefined,
): Partial<JournalRecord> {
  return {
    state: "succeeded",
    images: outputs.map(({ url, revisedPrompt }) => ({
      ...(url !== undefined && { url }),
      ...(revisedPrompt !== undefined && { revisedPrompt }),
    })),
    ...(cost !== undefined && { cost }),
    ...(usage !== undefined && { usage: { ...usage } }),
    ...(model !== undefined && { model }),
  };
}
