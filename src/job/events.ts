import { withSafeJson } from "../api/event-json";
import type { Clock } from "../async/clock";
import type { ImageEvent } from "../types";
import type { CallOptions } from "../types/call-options";

type Distribute<Event> = Event extends ImageEvent
  ? Omit<Event, "provider" | "jobId" | "task" | "at" | "metadata">
  : never;

/** An event, before it says whose it is. */
export type TaskEvent = Distribute<ImageEvent>;

/** Whose events they are. */
interface EventJob {
  readonly provider: string;
  /** Made when it is first asked for. */
  readonly id: string;
}

/** The call that the job is of, as far as its events go. */
interface EventCall {
  readonly onEvent?: CallOptions["onEvent"];
  /** Given along with each event. */
  readonly metadata?: unknown;
}

/** The client that the job is of, as far as its events go. */
interface EventClient {
  readonly clock: Clock;
  readonly onEvent: CallOptions["onEvent"];
}

/** Hears of a task, by its index, after the caller's listeners; `isEnd` says that nothing of it runs any more. */
export type Subscriber = (task: number, event: TaskEvent, isEnd: boolean) => void;

interface Happening {
  readonly event: TaskEvent;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What happens to the tasks of a job, and those who hear of it. */
export class JobEvents {
  readonly #job: EventJob;
  readonly #call: EventCall;
  readonly #client: EventClient;
  /** Iterators over the events; absent until there is one. */
  #listeners: Set<(event: ImageEvent) => void> | undefined;
  #subscribers: readonly Subscriber[] = [];
  /** The newest of each task, by its index. As long as there are tasks: a list that grows has room for 16 more. */
  readonly #newest: (Happening | undefined)[];

  constructor(job: EventJob, taskCount: number, call: EventCall, client: EventClient) {
    this.#job = job;
    this.#newest = Array.from({ length: taskCount });
    this.#call = call;
    this.#client = client;
  }

  subscribe(subscriber: Subscriber): void {
    // As in the poller, by `concat`.
    this.#subscribers = this.#subscribers.concat(subscriber);
  }

  /** Notifies all listeners. */
  emit(task: number, event: TaskEvent, isEnd = false): void {
    // Most polls say what the one before said.
    if (isSameStatus(this.#newest[task]?.event, event)) return;
    const happening = { event, at: this.#client.clock.wallTime() };
    this.#newest[task] = happening;
    const { onEvent } = this.#client;
    const { onEvent: onCallEvent } = this.#call;
    if ((this.#listeners ?? onEvent ?? onCallEvent) !== undefined) {
      const told = this.#told(task, happening);
      for (const listener of this.#listeners ?? []) listener(told);
      notify(onEvent, told);
      notify(onCallEvent, told);
    }
    for (const subscriber of this.#subscribers) subscriber(task, event, isEnd);
  }

  /** How far the tasks are on average, 0 to 1, as far as the provider says. */
  get progress(): number | undefined {
    const known = this.#newest.flatMap((each) =>
      each?.event.type === "status" ? (each.event.progress ?? []) : [],
    );
    if (known.length === 0) return undefined;
    return known.reduce((sum, each) => sum + each, 0) / known.length;
  }

  /** The newest event of each task, and all that follow until what is waited for has settled. */
  async *iterate(wait: () => Promise<unknown>): AsyncGenerator<ImageEvent, void> {
    const queue = this.#newest.flatMap((each, task) => (each ? this.#told(task, each) : []));
    let wake: () => void = () => {};
    let hasEnded = false;
    const listener = (event: ImageEvent) => {
      queue.push(event);
      wake();
    };
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    const onEnd = () => {
      hasEnded = true;
      wake();
    };
    wait().then(onEnd, onEnd);
    try {
      for (;;) {
        const event = queue.shift();
        if (event !== undefined) yield event;
        else if (hasEnded) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** As it is told to others. */
  #told(task: number, { event, at }: Happening): ImageEvent {
    const { provider, id: jobId } = this.#job;
    const { metadata } = this.#call;
    // What is spread comes last, in all that is made for each poll: before other properties it gives
    // every object a hidden class of its own, at 300 bytes and 2 µs.
    return withSafeJson(
      metadata === undefined
        ? { provider, jobId, task, at, ...event }
        : { provider, jobId, task, at, metadata, ...event },
    );
  }
}

function isSameStatus(before: TaskEvent | undefined, event: TaskEvent): boolean {
  return (
    before?.type === "status" &&
    event.type === "status" &&
    before.state === event.state &&
    before.word === event.word &&
    before.progress === event.progress
  );
}

/** A callback's own errors are its own: they must not touch what was paid for. */
function notify(callback: CallOptions["onEvent"], event: ImageEvent): void {
  if (callback === undefined) return;
  try {
    Promise.resolve(callback(event)).catch(() => {});
  } catch {
    // A listener must not be able to fail the call.
  }
}
