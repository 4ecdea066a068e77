import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";

/** Where the tests of the file that runs keep theirs. */
export let directory = "";

/** A directory for the tests of a file, which calls it: files share a process, and this module with it. */
export function useDirectory(): void {
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "gpt-image-client-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));
}
