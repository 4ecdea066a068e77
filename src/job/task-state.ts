import type { Succeeded } from "../adapter/contract";
import type { Charged, Cost } from "../cost";
import type { ImageError } from "../types";
import type { TaskReference, TaskState } from "../types/reference";
import type { Create, Sending } from "./create";
import { isSettled } from "./job";

/** How a task ended. */
export type Settled =
  | { readonly succeeded: Succeeded; readonly raw: unknown }
  | { readonly error: ImageError };

/** What each stage tells. */
interface Stage {
  /** As it is told to others. */
  readonly state: TaskState;
  /** The provider's id of the job, once it is known. */
  readonly id?: string | undefined;
  readonly cost?: Cost | undefined;
}

/** Nothing of it has been sent. It holds what is to be sent, from when that is known until then. */
interface Draft extends Stage {
  readonly is: "draft";
  readonly sending?: Sending | undefined;
}

/** The provider took it, and this is what it is called there. */
interface Accepted extends Stage {
  readonly is: "accepted";
  readonly id: string;
}

/**
 * It was begun elsewhere, by another process or in another life of this one, and no id of it is known:
 * a reference or a record says how it stood.
 */
interface Elsewhere extends Stage {
  readonly is: "elsewhere";
  readonly id?: undefined;
}

/** Its pictures are here, and not yet where they outlive the process. */
export interface Unkept extends Stage {
  readonly is: "unkept";
  readonly outcome: Succeeded;
  readonly raw: unknown;
  /** A waiter received them with the error that they could not be stored. */
  readonly isTold: boolean;
}

/** Nothing of it runs any more. */
interface Ended extends Stage {
  readonly is: "settled";
  readonly settled: Settled;
}

/**
 * All that is known of a task: one value, which another replaces as more is learnt. While its create is
 * under way here, the create is that value.
 */
export type TaskStage = Draft | Create | Accepted | Elsewhere | Unkept | Ended;

/** Whether money was spent, as far as that is known by now. */
export function chargedOf(stage: TaskStage): Charged {
  switch (stage.is) {
    case "draft":
      return "no";
    case "creating":
      return stage.hasLeft ? "unknown" : "no";
    case "accepted":
    case "elsewhere":
      return "unknown";
    case "unkept":
      return "yes";
    case "settled":
      return "error" in stage.settled ? stage.settled.error.charged : "yes";
  }
}

/** Whether the provider has said that it took it. */
export function isAccepted({ id, state }: TaskStage): boolean {
  return id !== undefined || state === "succeeded" || state === "failed";
}

/** Nothing of it runs any more; also where all that is known of it is that it was not accepted. */
export function hasEnded(stage: TaskStage): boolean {
  return stage.is === "settled" || (stage.is === "elsewhere" && isSettled(stage.state));
}

/** The task as a reference has it. */
export function referenceOf(
  { state, id, cost }: TaskStage,
  { index, n, key }: { index: number; n: number; key: string | undefined },
): TaskReference {
  return {
    index,
    n,
    state,
    ...(id !== undefined && { id }),
    ...(key !== undefined && { key }),
    ...(cost !== undefined && { cost }),
  };
}
