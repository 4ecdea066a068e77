import { mkdirSync, statSync } from "node:fs";
import * as fs from "node:fs/promises";
import { dirname } from "node:path";
import { codeOf } from "../realm";

// Neither that makes one is `mkdir` with `recursive`: that never ends where a file system answers ENOENT below
// a directory that is there, as /proc does, and keeps a thread, or the process, busy for ever (Node 20.20,
// `MKDirp` in node_file.cc).

interface Options {
  readonly mode?: number;
  /** What makes it; Node's own by default. */
  readonly fileSystem?: Pick<typeof fs, "mkdir" | "stat">;
}

/** Makes a directory and those above it. Gives the topmost one that was made, if one was. */
export async function makeDirectory(
  path: string,
  options: Options = {},
): Promise<string | undefined> {
  const { mode, fileSystem = fs } = options;
  if (await isDirectory(path)) return undefined;
  const parent = dirname(path);
  const above = parent === path ? undefined : makeDirectory(parent, options);
  const first = await above?.catch(passOverFile);
  try {
    await fileSystem.mkdir(path, mode);
    return first ?? path;
  } catch (error) {
    // Another call may have been first.
    if (await isDirectory(path)) return first;
    throw error;
  }

  async function isDirectory(name: string): Promise<boolean> {
    // Where this fails, making it says why.
    const found = await fileSystem.stat(name).catch(() => undefined);
    return found?.isDirectory() ?? false;
  }
}

/** The same without a pause. */
export function makeDirectorySync(path: string, mode?: number): void {
  if (isDirectorySync(path)) return;
  const parent = dirname(path);
  try {
    if (parent !== path) makeDirectorySync(parent, mode);
  } catch (error) {
    passOverFile(error);
  }
  try {
    mkdirSync(path, mode);
  } catch (error) {
    if (!isDirectorySync(path)) throw error;
  }
}

/** Makes the names in a directory as durable as they are now. */
export async function syncDirectory(
  path: string,
  fileSystem: Pick<typeof fs, "open"> = fs,
): Promise<void> {
  // Windows opens no directory; its file system keeps the order of names by itself.
  if (process.platform === "win32") return;
  const handle = await fileSystem.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Where a file is in the way, making the directory below it says so. */
function passOverFile(error: unknown): undefined {
  if (codeOf(error) !== "EEXIST") throw error;
}

function isDirectorySync(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
