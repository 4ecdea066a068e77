import { randomUUID } from "node:crypto";
import { constants, statSync } from "node:fs";
import { chmod, copyFile, link, open, rm } from "node:fs/promises";
import { dirname, join, parse, resolve, sep } from "node:path";
import { makeDirectorySync } from "../../files/directories";
import { withHome } from "./places";
import { codeOf } from "./text";
import { UsageError } from "./usage-error";

/** Where pictures go: a directory, a file, or stdout. */
export type Target =
  | { readonly to: "directory"; readonly directory: string }
  /** A stem is a name without the extension, which the picture itself has. */
  | { readonly to: "file"; readonly path: string; readonly isStem?: boolean }
  | { readonly to: "stdout" };

/**
 * Reads `-o`; without it, pictures go to the working directory.
 *
 * @throws {@link UsageError} for the bytes of a picture on a terminal, which would take them for commands.
 */
export function targetOf(given: string | undefined, isTerminal: boolean): Target {
  if (given === undefined) return { to: "directory", directory: resolve(".") };
  if (given === "") throw new UsageError("-o takes a file, a directory or -");
  if (given === "-" && isTerminal)
    throw new UsageError("-o - is for a pipe or a file, not a terminal");
  if (given === "-") return { to: "stdout" };
  const expanded = withHome(given);
  const path = resolve(expanded);
  const isNamedAsOne = expanded.endsWith("/") || expanded.endsWith(sep);
  return isNamedAsOne || isDirectory(path)
    ? { to: "directory", directory: path }
    : { to: "file", path };
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // What is not there, or cannot be: whoever writes there says why.
    return false;
  }
}

/** The format that a file is to have by its name, as a request says it; `undefined` where that says none. */
export function formatOfName(path: string): "png" | "jpeg" | "webp" | undefined {
  switch (parse(path).ext.toLowerCase()) {
    case ".png":
      return "png";
    case ".jpg":
    case ".jpeg":
      return "jpeg";
    case ".webp":
      return "webp";
    default:
      return undefined;
  }
}

/** Whose modes files and directories of the user get: those of the umask that the shell has set. */
export class UserFiles {
  readonly #umask: number;

  /** From here on, what this process writes by itself is for its user alone. */
  constructor() {
    this.#umask = process.umask(0o077);
  }

  /** Gives the process its umask back. */
  end(): void {
    process.umask(this.#umask);
  }

  /** Makes the directory of a target, and tries to write there: before anything is paid. */
  async prepare(target: Target): Promise<void> {
    if (target.to === "stdout") return;
    const directory = target.to === "file" ? dirname(target.path) : target.directory;
    try {
      // Without a pause between the two, so that no other file is made under this umask.
      process.umask(this.#umask);
      try {
        makeDirectorySync(directory);
      } finally {
        process.umask(0o077);
      }
      const trial = temporaryIn(directory);
      await (await open(trial, "wx")).close();
      await rm(trial, { force: true });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new UsageError(`Nothing can be written to ${directory}: ${why}`, { cause: error });
    }
  }

  /**
   * Writes a picture under a name that nothing has: first beside its place, then linked, so that nobody
   * sees half of it and nothing is overwritten, whoever else is writing there. Gives its path.
   */
  async save(bytes: Uint8Array, path: string): Promise<string> {
    const temporary = temporaryIn(dirname(path));
    try {
      const file = await open(temporary, "wx");
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await chmod(temporary, 0o666 & ~this.#umask);
      for (let attempt = 1; ; attempt += 1) {
        const place = numbered(path, attempt);
        if (await publish(temporary, place)) return place;
      }
    } finally {
      await rm(temporary, { force: true });
    }
  }
}

function temporaryIn(directory: string): string {
  return join(directory, `.gpt-image-client-${randomUUID()}.part`);
}

/** The name itself, then `name-2.png`, `name-3.png` and so on. */
function numbered(path: string, attempt: number): string {
  if (attempt === 1) return path;
  const { dir, name, ext } = parse(path);
  return join(dir, `${name}-${attempt}${ext}`);
}

/** Gives the file its name, unless the name is taken: then `false`. */
async function publish(temporary: string, place: string): Promise<boolean> {
  try {
    await link(temporary, place);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
  }
  // FAT and some network file systems have no links.
  try {
    await copyFile(temporary, place, constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    // A copy that has failed half-way is nobody's picture.
    await rm(place, { force: true });
    throw error;
  }
}

/** What picture a path is for: one of several from one job is told by its number. */
export function pathFor(
  target: Exclude<Target, { to: "stdout" }>,
  picture: { readonly job: string; readonly index: number; readonly of: number },
  extension: string,
): string {
  const { job, index, of } = picture;
  const number = of > 1 ? `-${index + 1}` : "";
  if (target.to === "directory") return join(target.directory, `${job}${number}.${extension}`);
  if (target.isStem) return `${target.path}${number}.${extension}`;
  const { dir, name, ext } = parse(target.path);
  return join(dir, `${name}${number}${ext}`);
}
