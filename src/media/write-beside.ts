import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Writes a file under a temporary name until it is complete. Returns its path. */
export async function writeBeside(
  directory: string,
  path: string,
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<string> {
  const temporary = join(directory, `.${randomUUID()}.part`);
  try {
    await writeFile(temporary, bytes, { signal });
    await rename(temporary, path);
    return path;
  } catch (error) {
    // What went wrong is what the caller hears, not what it left behind.
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}
