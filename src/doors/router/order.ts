import type {
  Amount,
  Charged,
  Cost,
  ImageError,
  ImageEvent,
  ImageJob,
  ImageResult,
  LedgerChange,
  LedgerEntry,
  LedgerStore,
} from "../../index";
import type { Clock } from "./clock";
import { exactly, type Rates } from "./money";
import { isUncharged, withOthers } from "./rules";

/** What an order needs of its router. */
export interface OrderContext {
  readonly store: LedgerStore | undefined;
  readonly rates: Rates;
  readonly trustReported: boolean;
  readonly clock: Clock;
  /** Tells of the budgets that a settled order has exceeded. */
  tellOvershoot(entry: LedgerEntry): Promise<void>;
}

/** How the money of an order ended, as far as that is known. */
interface End {
  readonly charged: Charged;
  readonly cost?: Cost | undefined;
  /** Which part of the images has to be paid for, from 0 to 1. */
  readonly share: number;
}

/** What one task of an order came to. */
interface TaskEnd {
  readonly charged: Charged;
  readonly cost?: Cost | undefined;
}

/** One entry of the ledger, while its order is under way. */
export class Order {
  readonly #context: OrderContext;
  #entry: LedgerEntry | undefined;
  #job: ImageJob | undefined;
  /** What the job's events have told of its tasks, for a call that ends before its job does. */
  readonly #tasks = new Map<number, TaskEnd>();
  /** The call is over: events are all that is heard of its job. */
  #isOver = false;
  /** One change after another. */
  #writing: Promise<void> = Promise.resolve();
  /** Its create may have left. */
  isBegun: boolean;
  /** The call has sent it itself. */
  #hasLeft = false;
  /** An earlier call may have sent it, too. */
  readonly #isReopened: boolean;
  readonly warnings: string[] = [];

  /** @param isBegun for an order of another call, which may have sent it. */
  constructor(context: OrderContext, entry: LedgerEntry | undefined, isBegun = false) {
    this.#context = context;
    this.#entry = entry;
    this.isBegun = isBegun;
    this.#isReopened = isBegun;
  }

  /** The id of its entry, where there is a ledger. */
  get id(): string | undefined {
    return this.#entry?.id;
  }

  /** The provider has it. */
  accepted(job: ImageJob): void {
    this.#job = job;
    this.#change({ job: job.id, reference: job.reference });
  }

  /** Hears of its tasks: also long after the call, from whoever waits for the job. */
  hear(event: ImageEvent): void {
    if (event.type === "submitting") this.#leaves(event.jobId);
    else if (event.type === "succeeded") {
      this.#tasks.set(event.task, { charged: "yes", cost: event.cost });
    } else if (event.type === "failed" && event.error.charged !== "unknown") {
      // A poll that was given up is told as a failure too, and is unknown.
      const { charged, cost } = event.error;
      this.#tasks.set(event.task, { charged, cost });
    } else return;
    if (this.#isOver) this.#endByTasks();
  }

  /**
   * Its create leaves. A process that is killed at it never hears of a job: who takes the job up again
   * finds the entry by its name.
   */
  #leaves(job: string): void {
    this.isBegun = true;
    const entry = this.#entry;
    // The other tasks of a split order leave later.
    if (entry === undefined || this.#hasLeft) return;
    this.#hasLeft = true;
    const sentAt = new Date(this.#context.clock.wallTime()).toISOString();
    this.#change({ job, sentAt });
    if (this.#isReopened) this.#holdAgain(entry);
  }

  /** An earlier job under the entry has come to nothing, and what was held for it may have been given back. */
  #holdAgain({ id, state, counted }: LedgerEntry): void {
    const { store } = this.#context;
    this.#write(async () => {
      if ((await store?.read(id))?.state !== "refunded") return;
      await store?.update(id, { state, ...(counted !== undefined && { counted }) });
    });
  }

  /** The call gave its job away before the job ended. */
  submitted(): void {
    this.#isOver = true;
    this.#endByTasks();
  }

  succeeded(result: ImageResult): void {
    const { images, failures, cost } = result;
    const isPartial = failures.length > 0 && failures.every(({ charged }) => charged === "no");
    const ordered = this.#entry?.images ?? images.length;
    const share = isPartial ? Math.min(1, images.length / ordered) : 1;
    this.#end({ charged: "yes", cost, share });
  }

  failed(error: ImageError): void {
    // Where it was never told that it was accepted: whoever settles it needs to name it.
    if (error.job !== undefined && !isUncharged(error) && this.#job === undefined) {
      this.accepted(error.job);
    }
    const charges = withOthers(error).map(({ charged }) => charged);
    if (isUncharged(error)) this.#end({ charged: "no", share: 0 });
    else if (charges.includes("unknown")) this.#end({ charged: "unknown", share: 1 });
    // An error has the cost of its own task: of a split order the tasks have told theirs.
    else this.#end(this.#endOfTasks() ?? { charged: "yes", cost: error.cost, share: 1 });
  }

  /** The caller has left by a reason of its own: what has not begun never will, as far as is known. */
  left(): void {
    if (!this.isBegun) this.#end({ charged: "no", share: 0 });
    else this.#end({ charged: "unknown", share: 1 });
  }

  #endByTasks(): void {
    const end = this.#endOfTasks();
    if (end !== undefined) this.#end(end);
  }

  /** What the tasks have told, once all of them have. */
  #endOfTasks(): End | undefined {
    const tasks = this.#job?.reference.tasks;
    if (tasks === undefined || this.#tasks.size < tasks.length) return undefined;
    const ends = tasks.map(({ index, n }) => ({ n, ...this.#tasks.get(index) }));
    const paid = ends.filter(({ charged }) => charged !== "no");
    const images = (all: typeof ends) => all.reduce((sum, { n }) => sum + n, 0);
    const share = images(paid) / images(ends);
    return { charged: share > 0 ? "yes" : "no", cost: sumOf(paid), share };
  }

  #end(end: End): void {
    this.#isOver = true;
    const entry = this.#entry;
    if (entry === undefined || isSettled(entry)) return;
    const settledAt = new Date(this.#context.clock.wallTime()).toISOString();
    if (end.charged === "unknown") {
      if (entry.state !== "unknown") this.#changeOwn({ state: "unknown", settledAt });
      // What came in while the call was still waiting may say it all the same.
      this.#endByTasks();
      return;
    }
    const { cost } = end;
    const said: LedgerChange =
      cost === undefined
        ? {}
        : { [cost.basis === "reported" ? "reported" : "computed"]: amountOf(cost) };
    const actual = this.#actual(entry, end);
    const change = { settledAt, ...said, ...(actual !== undefined && { counted: actual }) };
    if (end.charged === "no") {
      this.#changeOwn({ state: "refunded", ...change });
      return;
    }
    this.#change({ state: "charged", ...change });
    const isDearer = (actual?.amount ?? 0) > (entry.counted?.amount ?? 0);
    if (isDearer) {
      const changed = { ...entry };
      this.#write(() => this.#context.tellOvershoot(changed));
    }
  }

  /** What an order that has ended takes of a budget. */
  #actual({ estimate, counted }: LedgerEntry, { charged, cost, share }: End): Amount | undefined {
    if (charged === "no") return counted && { amount: 0, unit: counted.unit };
    const { rates, trustReported } = this.#context;
    const listed = estimate && { amount: exactly(estimate.amount * share), unit: estimate.unit };
    const told = cost && (listed === undefined ? amountOf(cost) : rates.convert(cost, listed.unit));
    if (listed === undefined || told === undefined) return told ?? listed;
    // A reported figure may be of another model: ShortAPI's is a third of its list.
    return trustReported || told.amount > listed.amount ? told : listed;
  }

  #change(change: LedgerChange): void {
    const entry = this.#entry;
    const { store } = this.#context;
    if (entry === undefined || store === undefined) return;
    this.#entry = { ...entry, ...change };
    this.#write(() => store.update(entry.id, change));
  }

  /**
   * Says that nothing was charged, or that nobody can tell, unless another call knows more: one that has sent
   * again under the entry must not lose what is held for it, and what is settled stays.
   */
  #changeOwn(change: LedgerChange): void {
    const entry = this.#entry;
    const { store } = this.#context;
    if (entry === undefined || store === undefined) return;
    this.#entry = { ...entry, ...change };
    this.#write(async () => {
      const stored = (await store.read(entry.id)) ?? entry;
      const { sentAt = entry.sentAt } = stored;
      if (sentAt === entry.sentAt && !isSettled(stored)) await store.update(entry.id, change);
    });
  }

  /** What has been ordered must not be lost by a ledger that cannot be written. */
  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(work).catch((error: unknown) => {
      this.warnings.push(`The ledger could not be written: ${String(error)}`);
    });
  }

  /** Resolves when all that is known was written. */
  written(): Promise<void> {
    return this.#writing;
  }
}

/** Whether what became of the money is certain. */
export function isSettled({ state }: LedgerEntry): boolean {
  return state === "charged" || state === "refunded";
}

function amountOf({ amount, unit }: Cost): Amount {
  return { amount, unit };
}

/** The sum, where every one is known and in one unit. */
function sumOf(ends: readonly { readonly cost?: Cost | undefined }[]): Cost | undefined {
  const [first] = ends;
  const unit = first?.cost?.unit;
  if (first?.cost === undefined || ends.some(({ cost }) => cost?.unit !== unit)) return undefined;
  const amount = ends.reduce((sum, { cost }) => sum + (cost?.amount ?? 0), 0);
  return { ...first.cost, amount: exactly(amount) };
}
