import { type RefusalKind, type Refused, refusalKinds } from "../adapter/contract";
import { errorOf } from "../api/outcome-error";
import type { TaskEntry } from "../journal/entry";
import type { JournalRecord } from "../journal/record";
import type { ErrorFacts } from "../types";
import type { TaskStage } from "./task-state";

const unsaidFailure: NonNullable<JournalRecord["failure"]> = {
  ...{ kind: "generation_failed", message: "The job failed", charged: "unknown" },
};

/** Whose record it is. */
interface TakenTask {
  readonly entry: TaskEntry | undefined;
  facts(facts: ErrorFacts): ErrorFacts;
}

/** What a record tells of a task that was begun by another process, or in another life of this one. */
export function stageIn(record: JournalRecord, task: TakenTask): TaskStage {
  const { entry } = task;
  const { cost, taskId: id } = record;
  switch (record.state) {
    case "submitting":
    case "unknown": {
      const isOpen = entry?.repeatable !== undefined || entry?.isElsewhere;
      return { is: "elsewhere", state: isOpen ? "submitting" : "unknown", cost };
    }
    case "submitted":
      return id === undefined
        ? { is: "elsewhere", state: "unknown", cost }
        : { is: "accepted", id, state: "queued", cost };
    case "succeeded": {
      const { images = [], usage, model } = record;
      const outcome = { state: "succeeded", outputs: images, usage, model, cost } as const;
      const settled = { succeeded: outcome, raw: undefined };
      return { is: "settled", state: "succeeded", id, cost, settled };
    }
    case "failed": {
      const { kind, message, charged, code } = record.failure ?? unsaidFailure;
      const refused: Refused = {
        ...{ state: "failed", kind: kindOf(kind), resend: "never", message, charged, code },
      };
      const error = errorOf(refused, task.facts({ charged, cost }));
      return { is: "settled", state: "failed", id, cost, settled: { error } };
    }
  }
}

/** A kind from a record, which a later version may have written. */
function kindOf(kind: string): RefusalKind {
  return refusalKinds.find((each) => each === kind) ?? "generation_failed";
}
