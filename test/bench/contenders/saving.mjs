/** For those who have no way to save: what they give is written as a file. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

export const saving =
  (bytes) =>
  ({ directory, ...settings }) => {
    const generate = bytes(settings);
    return async (prompt, index) => {
      const path = join(directory, `${index}.png`);
      await writeFile(path, await generate(prompt));
      return path;
    };
  };
