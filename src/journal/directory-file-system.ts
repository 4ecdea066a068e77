import type * as fs from "node:fs/promises";
import { codeOf } from "../realm";

/** What a directory journal needs of a file system; a test's own can drop what was not synced. */
export type JournalFileSystem = Pick<
  typeof fs,
  "link" | "mkdir" | "open" | "readdir" | "readFile" | "rename" | "rm" | "stat" | "writeFile"
>;

/** What was asked of a file; `undefined` where there is none. */
export async function unlessMissing<Value>(work: Promise<Value>): Promise<Value | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
