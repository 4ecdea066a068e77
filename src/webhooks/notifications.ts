import type { WebhookDescription } from "../adapter/contract";
import type { AbortSignalLike } from "../async/clock";
import type { ClientOptions } from "../client-options";
import { hint } from "../job/hints";
import type { LiveJobs, WebhookTarget } from "../job/registry";
import type { RunningJob } from "../job/running-job";
import type { ImageJob } from "../types";
import { WebhookReceiver } from "./receiver";

/** A longer name is no provider's. */
const longestName = 256;

/** How many unknown names are remembered while creates are on their way. */
const mostEarly = 1_000;

type HintOptions = NonNullable<ClientOptions["webhooks"]>;

/** What the hints need of their client. */
export interface HintContext {
  readonly live: LiveJobs;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignalLike;
  /** Whether creates are on their way. */
  isCreating(): boolean;
  /** The jobs in the journal that a call is about. */
  find(target: WebhookTarget): Promise<readonly RunningJob[]>;
}

/** Where the provider shall post the outcome of a job. */
export interface Hook {
  /** The caller's own, or an address of ours, with a token for each task. */
  addressFor(jobId: string, index: number): string;
  /** Whether it comes here. */
  readonly isOurs: boolean;
}

/** What a client does with its webhooks. Anybody can call one: it says where to look, and nothing else. */
export class WebhookNotifications {
  readonly receiver: WebhookReceiver;
  readonly #options: HintOptions;
  readonly #context: HintContext;
  /** Names that webhooks gave, and that no job here had, while creates were on their way. */
  readonly #early = new Set<string>();
  /** The jobs that `onSettled` was told of, or did not have to be. */
  readonly #told = new WeakSet<RunningJob>();

  constructor(description: WebhookDescription, options: HintOptions, context: HintContext) {
    this.#options = options;
    this.#context = context;
    this.receiver = new WebhookReceiver(description, options.secret, (target) =>
      this.#notice(target),
    );
    // A webhook may have given the name before the response to the create does: a quick job calls first.
    context.live.onAccepted((taskId) => {
      if (this.#early.delete(taskId)) this.#notice({ taskId });
    });
  }

  /** Where to post to, by the address that a request names. */
  hookFor(given: string | undefined): Hook | undefined {
    const { url } = this.#options;
    const address = given ?? url;
    if (address === undefined) return undefined;
    // A token is for our own receiver only.
    const isOurs = url !== undefined && new URL(address).origin === new URL(url).origin;
    const addressFor = (jobId: string, index: number) =>
      isOurs ? this.receiver.addressFor(address, jobId, index) : address;
    return { addressFor, isOurs };
  }

  #notice(target: WebhookTarget): void {
    this.#settleNoticed(target).catch(() => {
      // The query failed or the journal could not be read: the polling, or `recover`, comes by later.
    });
  }

  async #settleNoticed(target: WebhookTarget): Promise<void> {
    const live = this.#context.live.find(target);
    if (live.length === 0 && "taskId" in target) this.#rememberEarly(target.taskId);
    const jobs = live.length > 0 ? live : await this.#context.find(target);
    const concerned = jobs.flatMap((job) =>
      job.tasks.filter((task) =>
        "taskId" in target ? task.id === target.taskId : task.index === target.index,
      ),
    );
    await Promise.allSettled(concerned.map((task) => hint(task, this.#context.closing)));
    const settled = jobs.filter((job) => job.isSettled && !this.#told.has(job));
    for (const job of settled) this.#told.add(job);
    const [job] = settled;
    if (job !== undefined && settled.every((each) => each.endedUnattended)) this.#tell(job);
  }

  /** The response to a create that is on its way may bring this very name: a quick job calls first. */
  #rememberEarly(taskId: string): void {
    const isCreating = this.#context.isCreating();
    if (!isCreating) this.#early.clear();
    if (!isCreating || taskId.length > longestName) return;
    this.#early.add(taskId);
    // Anybody can call: the oldest goes.
    const [oldest] = this.#early;
    if (this.#early.size > mostEarly && oldest !== undefined) this.#early.delete(oldest);
  }

  #tell(job: ImageJob): void {
    try {
      Promise.resolve(this.#options.onSettled?.(job)).catch(() => {});
    } catch {
      // A listener must not be able to fail the webhook.
    }
  }
}
