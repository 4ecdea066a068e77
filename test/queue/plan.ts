import type { SandboxAccess, SandboxProvider } from "../../src/testing/sandbox";
import type { EngineAddress } from "./support/engines";

/** What a worker process is told to do, as JSON in its first argument. */
export interface QueueWorkerPlan {
  readonly address: EngineAddress;
  /** The URL of the database that has the journal. */
  readonly journalUrl: string;
  readonly access: Readonly<Record<SandboxProvider, SandboxAccess>>;
  /** The name of the machine that it plays. */
  readonly host: string;
  /** Where pictures are saved. */
  readonly directory: string;
  /** A line for each kill, written at once. */
  readonly trace: string;
  /** Where it kills itself: at the `nth` time that it comes to this point. */
  readonly kill?: { readonly point: string; readonly nth: number };
  /** A promise that is broken, to see that the harness finds out. */
  readonly mutation?: "no-key";
}

/** An order, whose tag is its number and stands in its prompt. */
export interface Order {
  readonly provider: SandboxProvider;
  readonly tag: string;
  readonly n: number;
}

export const orderProviders = ["shortapi", "aigptimage", "trinetra", "openaiCompatible"] as const;

export const queueNameOf = (provider: SandboxProvider) => `images-${provider}`;

/** Every named point at which a worker is killed. */
export const points = [
  ...["marker:before", "marker:after", "submit:after", "id:after", "succeeded:after"],
  ...["data:before", "data:after", "delay:before", "delay:after"],
  ...["save:before", "save:after", "return"],
] as const;
