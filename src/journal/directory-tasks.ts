import { createHash } from "node:crypto";
import { unlessMissing } from "./directory-file-system";
import { isRecordId } from "./directory-names";
import type { DurableDirectory } from "./durable-directory";
import type { TaskName } from "./journal";
import type { JournalRecord } from "./record";

/** The files of which each names the record of a task by the provider's id. */
const taskMark = ".task-";

/**
 * Which record a webhook is about, while one may come. It is a hint: what misses costs a listing, so that it
 * is neither synced nor a reason to fail.
 */
export class DirectoryTasks {
  readonly #directory: DurableDirectory;

  constructor(directory: DurableDirectory) {
    this.#directory = directory;
  }

  /** Keeps a record findable while it waits for its task, and no longer. */
  async note({ id, state, provider, baseURL, taskId }: JournalRecord): Promise<void> {
    if (taskId === undefined) return;
    const { fileSystem } = this.#directory;
    const path = this.#path({ provider, baseURL, taskId });
    if (state === "submitted") await fileSystem.writeFile(path, id).catch(() => {});
    else await fileSystem.rm(path, { force: true }).catch(() => {});
  }

  async find(task: TaskName): Promise<string | undefined> {
    const { fileSystem } = this.#directory;
    const id = await unlessMissing(fileSystem.readFile(this.#path(task), "utf8"));
    return id !== undefined && isRecordId(id) ? id : undefined;
  }

  #path(task: TaskName): string {
    return this.#directory.place(taskMark + digestOf(task));
  }
}

function digestOf({ provider, baseURL, taskId }: TaskName): string {
  const text = JSON.stringify([provider, baseURL, taskId]);
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
