import { accessSync, constants } from "node:fs";
import { join } from "node:path";

/** Where a program is, in the first of the folders that has it; `undefined` where none has. */
export function pathTo(program: string, folders: readonly string[]): string | undefined {
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
