import type { ListingNotes } from "../journal/own-records";
import type { JournalRecord } from "../journal/record";

/** What `recover` leaves where it is, told once. */
export class SkippedRecords implements ListingNotes {
  readonly unreadableIds = new Set<string>();
  readonly #foreign = new Map<string, string>();
  readonly #tell: (id: string, reason: string) => unknown;

  constructor(tell: ((id: string, reason: string) => unknown) | undefined = warnOfSkipped) {
    this.#tell = tell;
  }

  unreadable(id: string): void {
    if (this.unreadableIds.has(id)) return;
    this.unreadableIds.add(id);
    this.#tell(id, "it is no record of this version");
  }

  foreign({ jobId, id }: JournalRecord): void {
    if (!this.#foreign.has(jobId)) this.#foreign.set(jobId, id);
  }

  tellOfOthers(): void {
    const [id] = this.#foreign.values();
    if (id === undefined) return;
    const many = this.#foreign.size === 1 ? "1 job" : `${this.#foreign.size} jobs`;
    this.#tell(id, `${many} of other accounts were left to them`);
  }
}

function warnOfSkipped(id: string, reason: string): void {
  process.emitWarning(`The journal's ${id} was skipped: ${reason}`);
}
