import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { makeDirectory } from "../../files/directories";
import type { LedgerChange, LedgerEntry, LedgerStore } from "../../index";
import { Book } from "./book";

/** One line: an entry, or what became known of one. */
type Line =
  | { readonly v: 1; readonly entry: LedgerEntry }
  | { readonly v: 1; readonly id: string; readonly change: LedgerChange };

const newline = 0x0a;

/**
 * A ledger in a file of JSON lines. Each line is one `write` to a file that was opened to append, so that
 * lines of several processes do not mix on a local disk. A line that a crash has torn is passed over.
 */
export function jsonLinesStore(path: string): LedgerStore {
  const file = new LinesFile(resolve(path));
  return {
    append: (entry, limits = []) =>
      file.inTurn(async (book) => {
        const shortfall = book.shortfall(entry, limits);
        if (shortfall === undefined) await file.write({ v: 1, entry });
        return shortfall;
      }),
    update: (id, change) =>
      file.inTurn(async (book) => {
        if (book.read(id) !== undefined) await file.write({ v: 1, id, change });
      }),
    read: (id) => file.inTurn(async (book) => book.read(id)),
    findJob: (job) => file.inTurn(async (book) => book.findJob(job)),
    async *entries(range) {
      yield* await file.inTurn(async (book) => book.entries(range));
    },
    sums: (scope) => file.inTurn(async (book) => book.sums(scope)),
  };
}

/** The file, and what was read of it. */
class LinesFile {
  readonly #path: string;
  readonly #book = new Book();
  /** Open while a turn lasts. */
  #handle: FileHandle | undefined;
  /** Up to where it was read. */
  #position = 0;
  /** What came after the last newline: a line that is not whole, of a process that died or is at it. */
  #rest: Buffer = Buffer.alloc(0);
  #turn: Promise<unknown> = Promise.resolve();
  #hasWarned = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Work on what the file says by now, others of this process waiting. */
  inTurn<Value>(work: (book: Book) => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(async () => {
      // Opened each time: nobody closes a ledger, and an open file would be for the garbage collector.
      const handle = await this.#open();
      this.#handle = handle;
      try {
        await this.#catchUp(handle);
        return await work(this.#book);
      } finally {
        this.#handle = undefined;
        await handle.close();
      }
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Within a turn alone. */
  async write(line: Line): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) throw new Error("A line is written out of turn");
    // After a torn line: this one shall not be lost with it.
    const text = `${this.#rest.byteLength > 0 ? "\n" : ""}${JSON.stringify(line)}\n`;
    const bytes = Buffer.from(text);
    const { bytesWritten } = await handle.write(bytes);
    await this.#catchUp(handle);
    if (bytesWritten < bytes.byteLength) throw new Error(`${this.#path} took a part of a line`);
  }

  async #open(): Promise<FileHandle> {
    const flags = constants.O_APPEND | constants.O_CREAT | constants.O_RDWR;
    try {
      return await open(this.#path, flags, 0o600);
    } catch {
      // Mostly its directory is there.
      await makeDirectory(dirname(this.#path));
      return open(this.#path, flags, 0o600);
    }
  }

  /** Reads what was appended since, by whichever process. */
  async #catchUp(handle: FileHandle): Promise<void> {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.byteLength, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      this.#take(Buffer.concat([this.#rest, chunk.subarray(0, bytesRead)]));
    }
  }

  #take(bytes: Buffer): void {
    const end = bytes.lastIndexOf(newline);
    this.#rest = bytes.subarray(end + 1);
    if (end === -1) return;
    for (const text of bytes.toString("utf8", 0, end).split("\n"))
      if (text !== "") this.#apply(text);
  }

  #apply(text: string): void {
    const line = lineOf(text);
    if (line === undefined) {
      if (!this.#hasWarned) process.emitWarning(`${this.#path} has lines that cannot be read`);
      this.#hasWarned = true;
    } else if ("entry" in line) this.#book.add(line.entry);
    else this.#book.change(line.id, line.change);
  }
}

/** What a line says; `undefined` where a crash has torn it, or another version wrote it. */
function lineOf(text: string): Line | undefined {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isLine(line) ? line : undefined;
}

function isLine(line: unknown): line is Line {
  if (typeof line !== "object" || line === null || !("v" in line) || line.v !== 1) return false;
  if ("entry" in line) return isObject(line.entry) && "id" in line.entry && "at" in line.entry;
  return "id" in line && typeof line.id === "string" && "change" in line && isObject(line.change);
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
