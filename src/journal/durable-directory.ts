import { dirname, join } from "node:path";
import { makeDirectory, syncDirectory } from "../files/directories";
import { type JournalFileSystem, unlessMissing } from "./directory-file-system";

/** A file that is being written; a UUID follows. */
export const temporaryMark = ".part-";

/** A directory whose files are there whole or not at all, also after a power cut. */
export class DurableDirectory {
  readonly path: string;
  readonly fileSystem: JournalFileSystem;
  #anchored: Promise<void> | undefined;

  constructor(path: string, fileSystem: JournalFileSystem) {
    this.path = path;
    this.fileSystem = fileSystem;
  }

  place(name: string): string {
    return join(this.path, name);
  }

  /** What is in it; nothing where it is not there yet. */
  async entries() {
    const { fileSystem, path } = this;
    return (await unlessMissing(fileSystem.readdir(path, { withFileTypes: true }))) ?? [];
  }

  /** Makes the names in it as durable as they are now. */
  sync(): Promise<void> {
    return syncDirectory(this.path, this.fileSystem);
  }

  /** Writes beside the place and syncs; `publish` puts it there. */
  async write<Value>(
    data: string | Uint8Array,
    publish: (temporary: string) => Promise<Value>,
  ): Promise<Value> {
    await this.#prepare();
    const temporary = this.place(`${temporaryMark}${crypto.randomUUID()}`);
    try {
      const handle = await this.fileSystem.open(temporary, "wx");
      try {
        await handle.writeFile(data);
        await handle.sync();
      } finally {
        await handle.close();
      }
      const published = await publish(temporary);
      await this.sync();
      return published;
    } finally {
      await this.fileSystem.rm(temporary, { force: true });
    }
  }

  /** Makes the directory, and its name as durable as what will be in it. */
  async #prepare(): Promise<void> {
    const { path, fileSystem } = this;
    const first = await makeDirectory(path, { fileSystem });
    if (first !== undefined || this.#anchored === undefined) {
      this.#anchored = this.#anchor(dirname(first ?? path)).catch((error: unknown) => {
        this.#anchored = undefined;
        throw error;
      });
    }
    await this.#anchored;
  }

  /** Syncs what is above the directory, up to where it was there before. */
  async #anchor(top: string): Promise<void> {
    for (let path = dirname(this.path); ; path = dirname(path)) {
      await syncDirectory(path, this.fileSystem);
      if (path === top) return;
    }
  }
}
