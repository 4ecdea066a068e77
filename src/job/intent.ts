import type { Call } from "../adapter/contract";
import { type AbortSignalLike, type Clock, sleep } from "../async/clock";
import { reasonOf } from "../errors";
import type { TaskEntry } from "../journal/entry";
import { isAbandoned } from "../journal/owner";
import type { JournalRecord } from "../journal/record";
import type { CreateEnd } from "./create-end";

/** How often a task looks whether another process has written what it waits for. */
export const followMs = 250;

/** What the journal already holds for a create that was about to be sent: its outcome, or unknown. */
export type Claimed = { readonly taken: JournalRecord } | { readonly lost: JournalRecord };

/** Whether a record says what came of its create. */
export function isAnswered({ state }: JournalRecord): boolean {
  return state !== "submitting" && state !== "unknown";
}

/**
 * Writes the intent record, which must be there before a create leaves. Gives `undefined` where it may
 * be sent. Where a record stands already the create was somebody's: it is sent again under its key
 * alone, and otherwise what came of it is waited for and given.
 */
export async function claim(
  entry: TaskEntry,
  call: Call,
  key: string | undefined,
  { clock, stop, deadlineAt }: { clock: Clock; stop: AbortSignalLike; deadlineAt: number },
): Promise<Claimed | undefined> {
  const restored = entry.record;
  let existing = restored ?? (await entry.begin(call, key));
  while (existing !== undefined) {
    if (isAnswered(existing)) return { taken: existing };
    const isRepeatable = entry.repeatable !== undefined;
    if (isRepeatable && (await entry.takeOver())) return undefined;
    // Without a key it cannot be taken over: its first sender may still be working on it.
    const isLost = !isRepeatable && (isAbandoned(existing) || existing.state === "unknown");
    const gone = isLost || clock.now() >= deadlineAt;
    if (!gone) await sleep(clock, followMs, stop);
    // Read once more after its end was seen: what it wrote last counts.
    existing = await entry.refresh();
    // Refused or released meanwhile: its caller may have ordered again, under another name.
    if (existing === undefined && restored !== undefined) return { lost: restored };
    existing ??= await entry.begin(call, key);
    if (gone && existing !== undefined && !isAnswered(existing)) return { lost: existing };
  }
  return undefined;
}

/** Tells the journal how a create ended that is no job. */
export async function recordEnd(
  entry: TaskEntry | undefined,
  { state, error, refused }: CreateEnd,
  reason: string,
  warnings: string[],
): Promise<void> {
  // Another process's record is left alone, unless this create was resent under its key.
  if (!entry?.isOwn) return;
  try {
    if (state === "refused") await entry.refused();
    else if (state === "unknown") await entry.unknown(reason);
    else if (refused !== undefined) await entry.failed(refused);
  } catch (failure) {
    // The intent record stands as it was, and says "unknown": no more than what is true. Under its key
    // nothing can be sent again.
    Object.assign(error, { retryable: false });
    warnings.push(reasonOf(failure));
  }
}
