import { sleep } from "../async/clock";
import type { OwnRecords } from "../journal/own-records";
import type { WebhookTarget } from "./registry";
import type { ClientServices } from "./services";

/** How often the journal may be listed because of webhooks. Anybody can call one, with any name. */
const listingGapMs = 10_000;

/** How many calls may wait for a listing: the rest are left to the polling, or to `recover`. */
const mostWaiting = 1_000;

/** Finds the record of a task that a webhook names. */
export class TaskFinder {
  readonly #records: OwnRecords;
  readonly #jobs: Pick<ClientServices, "clock" | "closing" | "provider">;
  /** The ids of the records that waited for a response at the last listing, by the provider's ids. */
  #known: ReadonlyMap<string, string> = new Map();
  #listing: Promise<void> | undefined;
  #listedAt = Number.NEGATIVE_INFINITY;
  #waiting = 0;

  constructor(records: OwnRecords, jobs: Pick<ClientServices, "clock" | "closing" | "provider">) {
    this.#records = records;
    this.#jobs = jobs;
  }

  /** The id of the record, which may be out of date. */
  async find(target: WebhookTarget): Promise<string | undefined> {
    if ("taskId" in target) return this.#findTask(target.taskId);
    // A token names the record, of which there may be several tries.
    const { jobId, index } = target;
    const tries = await this.#records.triesOf(jobId, index, (id) => this.#records.own(id));
    return tries.at(-1)?.id;
  }

  async #findTask(taskId: string): Promise<string | undefined> {
    const { name: provider, baseURL } = this.#jobs.provider;
    const { journal } = this.#records;
    const task = { provider, baseURL, taskId };
    const known =
      this.#known.get(taskId) ??
      (await this.#records.guarded("no", async () => journal.findTask?.(task)));
    if (known !== undefined || this.#waiting >= mostWaiting) return known;
    this.#waiting += 1;
    try {
      await this.#list();
    } finally {
      this.#waiting -= 1;
    }
    return this.#known.get(taskId);
  }

  /** One listing for all who came before it. */
  #list(): Promise<void> {
    this.#listing ??= this.#listInTurn();
    return this.#listing;
  }

  async #listInTurn(): Promise<void> {
    const { clock, closing } = this.#jobs;
    const dueInMs = this.#listedAt + listingGapMs - clock.now();
    // No longer than the gap, though the system's clock was set back.
    await (dueInMs > 0 && sleep(clock, Math.min(dueInMs, listingGapMs), closing));
    // A webhook from here on may name a record that this listing misses.
    this.#listing = undefined;
    this.#listedAt = clock.now();
    await this.#read();
  }

  async #read(): Promise<void> {
    const known = new Map<string, string>();
    const notes = { unreadable: () => {}, foreign: () => {} };
    for await (const { id, state, taskId } of this.#records.list(notes, { settled: false })) {
      if (state === "submitted" && taskId !== undefined) known.set(taskId, id);
    }
    this.#known = known;
  }
}
