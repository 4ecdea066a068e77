import type { ImageEvent } from "../../index";
import type { RouteEvent } from "../router/index";
import { durationText } from "./duration";
import type { Shell } from "./shell";
import { cleanUpTo } from "./text";

const frames = "|/-\\";
const redrawEveryMs = 125;
/** A CI system takes silence for a process that hangs. */
const repeatEveryMs = 30_000;

/** How far one task is, in the order in which tasks get there. */
const states = ["waiting", "sending", "queued", "running", "fetching", "failed"] as const;

type State = (typeof states)[number];

/** What is shown while pictures are on their way. */
export interface ProgressOptions {
  readonly provider: string;
  /** How long such orders took of late, where that is known. */
  readonly expectedMs?: number | undefined;
}

/** One line that is drawn again and again on a terminal; elsewhere a line for each change. */
export class Progress {
  readonly #shell: Shell;
  readonly #options: ProgressOptions;
  readonly #startedAt = performance.now();
  readonly #tasks = new Map<string, State>();
  readonly #timer: NodeJS.Timeout;
  #frame = 0;
  #said = "";
  #note = "";
  #why = "";
  #counted = "";

  constructor(shell: Shell, options: ProgressOptions) {
    this.#shell = shell;
    this.#options = options;
    const everyMs = shell.isInteractive ? redrawEveryMs : repeatEveryMs;
    this.#timer = setInterval(() => this.#show(true), everyMs);
    this.#show(true);
  }

  readonly onEvent = (event: ImageEvent): void => {
    const state = stateAfter(event);
    if (state !== undefined) {
      this.#tasks.set(`${event.jobId} ${event.task}`, state);
      this.#note = "";
    }
    if (event.type === "retry") {
      const wait = durationText(event.delayMs);
      this.#note = cleanUpTo(80, `${event.phase} again in ${wait}: ${event.reason}`);
    } else if (event.type === "status" && !event.known) {
      this.#note = cleanUpTo(80, `the provider says "${event.word}", which is new here`);
    }
    this.#show(false);
  };

  /** The router waits where its client was told no, or cannot be reached. */
  onRoute(event: RouteEvent): void {
    if (event.type === "fallback") this.#why = event.error.message;
    if (event.type === "waiting") {
      this.#note = cleanUpTo(120, `again in ${durationText(event.delayMs)}: ${this.#why}`);
    }
    this.#show(false);
  }

  /** How many of several orders are done. */
  count(text: string): void {
    this.#counted = text;
    this.#show(false);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#shell.erase();
  }

  #show(isDue: boolean): void {
    const { state, done, failed } = this.#summary();
    const lost = failed === 0 ? "" : `, ${failed} failed`;
    const tasks = this.#tasks.size > 1 ? `${done} of ${this.#tasks.size} done${lost}` : "";
    const counted = this.#counted === "" ? tasks : this.#counted;
    const many = counted === "" ? "" : ` · ${counted}`;
    const note = this.#note === "" ? "" : ` · ${this.#note}`;
    const ageMs = performance.now() - this.#startedAt;
    const line = `${this.#options.provider}: ${state}, ${this.#ageText(ageMs)}${many}${note}`;
    if (this.#shell.isInteractive) {
      if (isDue) this.#frame += 1;
      this.#shell.draw(`${frames[this.#frame % frames.length]} ${line}`);
      return;
    }
    const said = `${state}${many}${note}`;
    if (said === this.#said && !isDue) return;
    this.#said = said;
    this.#shell.say(line);
  }

  #ageText(ageMs: number): string {
    const { expectedMs } = this.#options;
    const age = durationText(ageMs);
    if (expectedMs === undefined) return age;
    const expected = durationText(expectedMs);
    return ageMs < expectedMs ? `${age} of about ${expected}` : `${age}, mostly ${expected}`;
  }

  /** The state that is the furthest behind, since that is what is waited for. */
  #summary(): { readonly state: State; readonly done: number; readonly failed: number } {
    const all = [...this.#tasks.values()];
    const isUnderWay = (state: State) => state !== "waiting" && all.includes(state);
    const state = states.find(isUnderWay) ?? all.at(-1) ?? "waiting";
    const numberOf = (wanted: State) => all.filter((each) => each === wanted).length;
    return { state, done: numberOf("fetching"), failed: numberOf("failed") };
  }
}

function stateAfter(event: ImageEvent): State | undefined {
  switch (event.type) {
    case "submitting":
      return "sending";
    case "submitted":
      return "queued";
    case "status":
      return event.state;
    case "succeeded":
      return "fetching";
    case "failed":
      return "failed";
    default:
      return undefined;
  }
}
