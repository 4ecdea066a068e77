import type { Succeeded } from "../adapter/contract";
import { type AbortSignalLike, LightAbortSignal } from "../async/clock";
import type { Charged, Cost } from "../cost";
import { GenerationFailedError, isImageError, reasonOf, SubmissionUnknownError } from "../errors";
import type { TaskEntry } from "../journal/entry";
import type { JournalRecord } from "../journal/record";
import type { ErrorFacts, ImageError } from "../types";
import type { PartialImage } from "../types/image";
import type { TaskReference, TaskState } from "../types/reference";
import type { TaskEvent } from "./events";
import { isSettled } from "./job";
import { TaskPictures } from "./pictures";
import type { TaskServices } from "./services";
import { stageIn } from "./takeover";
import {
  chargedOf,
  hasEnded,
  isAccepted,
  referenceOf,
  type Settled,
  type TaskStage,
  type Unkept,
} from "./task-state";

/** What is known of a task when it is made: new ones have no id, resumed ones may. */
export interface TaskSeed {
  readonly index: number;
  readonly n: number;
  readonly state: TaskState;
  readonly id?: string | undefined;
  readonly key?: string | undefined;
  readonly cost?: Cost | undefined;
  /** When its create was sent, in milliseconds since 1970; a new task has not been sent. */
  readonly sentAt?: number;
  /** Its entry in the journal, where there is one. */
  readonly entry?: TaskEntry | undefined;
}

/** How far a task is: its stage, what that says of it, and the ways from one stage to the next. */
export class TaskProgress {
  readonly index: number;
  readonly n: number;
  readonly key: string | undefined;
  readonly entry: TaskEntry | undefined;
  /** Whether this process made it: what another one has sent may be done by now. */
  readonly isNew: boolean;
  readonly #services: TaskServices;
  #stage: TaskStage;
  /** When its create was sent: a date for others, and by the monotonic clock for its age. */
  #sentAt: number | undefined;
  #startedAt: number | undefined;
  /** When it was known to have settled, by the monotonic clock. */
  #endedAt: number | undefined;
  #pictures: TaskPictures | undefined;
  /** How far its picture had come, until it has settled. */
  #partialImage: PartialImage | undefined;
  /** Made for those who ask for it alone. */
  #end: LightAbortSignal | undefined;

  constructor(seed: TaskSeed, services: TaskServices) {
    const { index, n, key, entry, id, state, cost, sentAt } = seed;
    this.index = index;
    this.n = n;
    this.key = key;
    this.entry = entry;
    this.isNew = sentAt === undefined;
    this.#services = services;
    if (sentAt === undefined) this.#stage = { is: "draft", state: "waiting" };
    else {
      this.#stage =
        id === undefined ? { is: "elsewhere", state, cost } : { is: "accepted", id, state, cost };
      this.#sentBefore(sentAt);
    }
  }

  get stage(): TaskStage {
    return this.#stage;
  }

  get state(): TaskState {
    return this.#stage.state;
  }

  /** The provider's id of the job. */
  get id(): string | undefined {
    return this.#stage.id;
  }

  get cost(): Cost | undefined {
    return this.#stage.cost;
  }

  get charged(): Charged {
    return chargedOf(this.#stage);
  }

  get isAccepted(): boolean {
    return isAccepted(this.#stage);
  }

  get hasEnded(): boolean {
    return hasEnded(this.#stage);
  }

  get settled(): Settled | undefined {
    return this.#stage.is === "settled" ? this.#stage.settled : undefined;
  }

  get reference(): TaskReference {
    return referenceOf(this.#stage, this);
  }

  get sentAt(): number | undefined {
    return this.#sentAt;
  }

  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  get endedAt(): number | undefined {
    return this.#endedAt;
  }

  get pictures(): TaskPictures {
    this.#pictures ??= new TaskPictures(this.#services, this);
    return this.#pictures;
  }

  /** Aborts when it settles. */
  get end(): AbortSignalLike {
    this.#end ??= new LightAbortSignal();
    if (this.#stage.is === "settled") this.#end.abort("it has settled");
    return this.#end;
  }

  /** What an error of it is made of. */
  facts(facts: ErrorFacts): ErrorFacts {
    const { provider } = this.#services.client;
    const { job } = this.#services;
    const partialImage = this.#partialImage;
    return { provider: provider.name, job, cost: this.cost, partialImage, ...facts };
  }

  /** The picture has come so far. */
  showPartial(image: PartialImage): void {
    // The stream was abandoned.
    if (this.#stage.is === "settled") return;
    this.#partialImage = image;
    this.emit({ type: "partial", ...image });
  }

  emit(event: TaskEvent, isEnd = false): void {
    this.#services.events.emit(this.index, event, isEnd);
  }

  /** Goes to a stage that is not the last. */
  become(stage: Exclude<TaskStage, { is: "settled" }>): void {
    // Two polls of one job may both see its end, and a third one an older state: the first counts.
    if (this.#stage.is !== "settled") this.#stage = stage;
  }

  /** Its create is about to be sent. Gives the time by the monotonic clock. */
  begin(): number {
    const { clock } = this.#services.client;
    this.#sentAt = clock.wallTime();
    this.#startedAt = clock.now();
    return this.#startedAt;
  }

  /** It was sent by another process, or in another life of this one: the date is all that tells its age. */
  #sentBefore(at: number): void {
    const { clock } = this.#services.client;
    this.#sentAt = at;
    // A clock that was ahead says nothing of how old it is.
    this.#startedAt = clock.now() - Math.max(0, clock.wallTime() - at);
  }

  /** Takes over what the journal knows; false where that is a create without a response. */
  adopt(record: JournalRecord): boolean {
    this.#sentBefore(Date.parse(record.submittedAt));
    const stage = stageIn(record, this);
    if (stage.is !== "settled") this.become(stage);
    else {
      this.become({ is: "elsewhere", state: stage.state, cost: stage.cost });
      this.settle(stage.state, stage.settled, stage.id);
    }
    return stage.is !== "elsewhere";
  }

  /** The images are announced only once they are stored where they survive the process. */
  succeed(outcome: Succeeded, raw: unknown): Settled | Promise<Settled> {
    const stage = this.#stage;
    if (stage.is === "settled") return stage.settled;
    const { id, state } = stage;
    const cost = outcome.cost ?? stage.cost;
    const isTold = stage.is === "unkept" && stage.isTold;
    this.#stage = { is: "unkept", state, id, cost, outcome, raw, isTold };
    const settled = { succeeded: outcome, raw };
    const keeping = this.pictures.keep(outcome);
    if (keeping === undefined) return this.settle("succeeded", settled);
    return keeping.then(
      () => this.settle("succeeded", settled),
      (error: unknown) => {
        throw this.#withPictures(error, outcome);
      },
    );
  }

  #withPictures(error: unknown, outcome: Succeeded): unknown {
    if (!isImageError(error)) return error;
    const { job } = this.#services;
    if (!isUnkept(error)) return Object.assign(error, { job });
    // The error carries what was paid for; the job can continue once there is disk space.
    const images = this.pictures.of(outcome);
    return Object.assign(error, { job, images, ...(this.cost && { cost: this.cost }) });
  }

  /** Records that a waiter was given an error of {@link succeed}, with its images where it has any. */
  tellUnkept(error: unknown): void {
    if (this.#stage.is !== "unkept" || !isUnkept(error)) return;
    this.#stage = { ...this.#stage, isTold: true };
  }

  /**
   * Tries once more to keep the pictures. Whoever hears for the first time that they cannot be kept
   * hears it as an error that has them; whoever comes back for the result is given them as they are.
   */
  async keepAgain({ outcome, raw, isTold }: Unkept): Promise<Settled> {
    try {
      return await this.succeed(outcome, raw);
    } catch (error) {
      this.tellUnkept(error);
      if (!isTold || !isUnkept(error)) throw error;
      this.#services.warnings.push(`It is in memory alone: ${reasonOf(error)}`);
      return { succeeded: outcome, raw };
    }
  }

  /** The first end counts. */
  settle(state: TaskState, settled: Settled, id = this.#stage.id): Settled {
    if (this.#stage.is === "settled") return this.#stage.settled;
    // What was taken and given back is not what it cost.
    const isFree = "error" in settled && settled.error.charged === "no";
    const cost = isFree ? settled.error.cost : this.#stage.cost;
    this.#stage = { is: "settled", state, id, cost, settled };
    this.#partialImage = undefined;
    this.#endedAt = this.#services.client.clock.now();
    const event: TaskEvent =
      "error" in settled
        ? { type: "failed", error: settled.error }
        : {
            type: "succeeded",
            images: settled.succeeded.outputs.length,
            ...(cost !== undefined && { cost }),
          };
    this.emit(event, true);
    this.#end?.abort("it has settled");
    return settled;
  }

  /** From now on the images own their base64 and drop it once it is on disk. */
  dropBase64(): void {
    const stage = this.#stage;
    if (stage.is !== "settled" || "error" in stage.settled) return;
    const { succeeded, raw } = stage.settled;
    const outputs = succeeded.outputs.map(({ url, revisedPrompt }) => ({ url, revisedPrompt }));
    const settled = { succeeded: Object.assign({}, succeeded, { outputs }), raw };
    this.#stage = Object.assign({}, stage, { settled });
    this.#pictures?.forgetOutcome();
  }

  /** A task without an id, or one that was refused elsewhere: what it was is all that is known. */
  unknownError(): ImageError {
    const { state } = this;
    if (state === "refused") {
      return new GenerationFailedError({ ...this.facts({ charged: "no" }), what: "untaken" });
    }
    const detail = isSettled(state)
      ? "No id of it is known, so that nobody can ask after it"
      : "It had not been accepted when this reference was written";
    return new SubmissionUnknownError(this.facts({ charged: "unknown", detail }));
  }
}

/** The pictures are here, and the journal did not take them. */
function isUnkept(error: unknown): boolean {
  return isImageError(error) && error.code === "journal_failed" && error.charged === "yes";
}
