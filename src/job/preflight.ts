import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../async/clock";
import { InvalidRequestError, JournalError, reasonOf } from "../errors";
import { makeDirectory } from "../files/directories";
import type { Journal } from "../journal/journal";

/** A directory that could be written to is taken at that for so long. */
const triedForMs = 60_000;

/** Limits the cache: a caller may use one directory per job. */
const mostDirectories = 256;

/**
 * Tries the places that images go to, before any is paid for: a disk that cannot be written is found
 * out while it costs nothing. Where a create brings the image, it would be in this process alone.
 */
export class Preflight {
  readonly #provider: string;
  readonly #clock: Clock;
  readonly #journal: Journal | undefined;
  #journalTrial: Promise<void> | "passed" | undefined;
  /** When each directory passed, or its trial that is under way. */
  readonly #directories = new Map<string, Promise<void> | number>();

  constructor(provider: string, clock: Clock, journal: Journal | undefined) {
    this.#provider = provider;
    this.#clock = clock;
    this.#journal = journal;
  }

  /**
   * Gives `undefined` where nothing has to be tried.
   *
   * @throws {@link InvalidRequestError} for `saveTo`; {@link JournalError} for the journal.
   */
  check(saveTo: string | undefined): Promise<void> | undefined {
    const journal = this.#checkJournal();
    const directory = saveTo === undefined ? undefined : this.#checkDirectory(saveTo);
    if (journal === undefined || directory === undefined) return journal ?? directory;
    return Promise.all([journal, directory]).then(() => {});
  }

  #checkJournal(): Promise<void> | undefined {
    const journal = this.#journal;
    if (journal?.check === undefined || this.#journalTrial === "passed") return undefined;
    this.#journalTrial ??= this.#tryJournal(journal).then(
      () => {
        this.#journalTrial = "passed";
      },
      (error: unknown) => {
        // The next call tries again: there may be room by then.
        this.#journalTrial = undefined;
        throw error;
      },
    );
    return this.#journalTrial;
  }

  async #tryJournal(journal: Journal): Promise<void> {
    try {
      await journal.check?.();
    } catch (cause) {
      const detail = reasonOf(cause);
      throw new JournalError({ provider: this.#provider, charged: "no", detail, cause });
    }
  }

  #checkDirectory(directory: string): Promise<void> | undefined {
    const known = this.#directories.get(directory);
    if (known instanceof Promise) return known;
    if (known !== undefined && this.#clock.now() - known < triedForMs) return undefined;
    const trial = this.#tryDirectory(directory).then(
      () => this.#remember(directory, this.#clock.now()),
      (error: unknown) => {
        this.#directories.delete(directory);
        throw error;
      },
    );
    this.#remember(directory, trial);
    return trial;
  }

  #remember(directory: string, trial: Promise<void> | number): void {
    // Goes to the end: the one longest untried makes room.
    this.#directories.delete(directory);
    this.#directories.set(directory, trial);
    const [oldest] = this.#directories.keys();
    if (this.#directories.size > mostDirectories && oldest !== undefined) {
      this.#directories.delete(oldest);
    }
  }

  async #tryDirectory(directory: string): Promise<void> {
    try {
      await makeDirectory(directory);
      const file = join(directory, `.${randomUUID()}.part`);
      try {
        await writeFile(file, "a trial", { flag: "wx" });
      } finally {
        await rm(file, { force: true });
      }
    } catch (cause) {
      throw new InvalidRequestError({
        ...{ provider: this.#provider, charged: "no", field: "options.saveTo" },
        given: `${JSON.stringify(directory)} (${reasonOf(cause)})`,
        taken: "a directory that can be made and written to",
        cause,
      });
    }
  }
}
