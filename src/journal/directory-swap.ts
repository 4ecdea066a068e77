import { codeOf } from "../realm";
import { type JournalFileSystem, unlessMissing } from "./directory-file-system";

/** A file that was taken away from its place to be looked at; `<id>.<UUID>` follows. */
export const heldMark = ".held-";

const heldName = /^\.held-([\w-]+\.\d+)\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

/** No living process holds a file for so long. */
const longestHoldMs = 10_000;

/** Where a record stands, and where it is while it is looked at. */
export interface HeldPlace {
  readonly fileSystem: JournalFileSystem;
  readonly path: string;
  readonly held: string;
  /** Syncs the directory of both. */
  sync(): Promise<void>;
}

/** The record that a file was taken away from, by the name of the file. */
export function heldRecord(name: string): string | undefined {
  return heldName.exec(name)?.[1];
}

/**
 * Puts `next` in the place of a file, only while its text is what is expected. False if not.
 *
 * At no moment is there no record: whoever came under its key then would buy again. So a look and a rename
 * must do, and what is written between the two is replaced as well. Where that was another's takeover, both
 * send the same create under the key that the provider honours; where it was the id of a job that has just been
 * accepted, its process writes it again as it goes on.
 */
export async function replaceFile(
  { fileSystem, path }: Pick<HeldPlace, "fileSystem" | "path">,
  isExpected: (text: string) => boolean,
  next: string,
): Promise<boolean> {
  const found = await unlessMissing(fileSystem.readFile(path, "utf8"));
  if (found === undefined || !isExpected(found)) return false;
  await fileSystem.rename(next, path);
  return true;
}

/**
 * Removes a file, only while its text is what is expected. False if not.
 *
 * POSIX has no such step: a look at a file and its removal are two. A rename to a name of its own is one, and
 * tells afterwards what it took; if it was not what was expected, it is put back. A process that dies
 * meanwhile leaves the file under that name, from where {@link putBack} of the journal's `clean` brings it back.
 */
export async function removeFile(
  files: HeldPlace,
  isExpected: (text: string) => boolean,
): Promise<boolean> {
  const { fileSystem, path, held, sync } = files;
  // Nearly always this tells, and nothing is touched in vain.
  const found = await unlessMissing(fileSystem.readFile(path, "utf8"));
  if (found === undefined || !isExpected(found)) return false;
  const isTaken = await unlessMissing(fileSystem.rename(path, held).then(() => true));
  if (!isTaken) return false;
  let isRemoved = false;
  try {
    isRemoved = isExpected(await fileSystem.readFile(held, "utf8"));
  } finally {
    if (!isRemoved) await putBack(files);
  }
  if (!isRemoved) return false;
  await fileSystem.rm(held, { force: true });
  await sync();
  return true;
}

/** Brings a file back that was taken away; where another stands by now, the one that tells more stays. */
export async function putBack(
  { fileSystem, path, held, sync }: HeldPlace,
  isLeftBehind = false,
): Promise<void> {
  if (isLeftBehind) {
    const found = await unlessMissing(fileSystem.stat(held));
    // A rename changes this time and not that of the content.
    if (found === undefined || Date.now() - found.ctimeMs < longestHoldMs) return;
  }
  const isBack = await unlessMissing(linked(fileSystem, held, path));
  if (isBack === undefined) return;
  if (!isBack && isIntent(await textIn(path)) && !isIntent(await textIn(held))) {
    // Somebody has begun anew meanwhile, under the same key.
    await fileSystem.rename(held, path);
  }
  await sync();
  await fileSystem.rm(held, { force: true });

  async function textIn(file: string): Promise<string> {
    return (await unlessMissing(fileSystem.readFile(file, "utf8"))) ?? "";
  }
}

/** Whether it tells of a create alone, and not what came of it. */
function isIntent(text: string): boolean {
  // As a record is written: no field of a request stands so far left.
  return /^ {2}"state": "submitting"/m.test(text);
}

/** False where a file of that name is there. */
async function linked(fileSystem: JournalFileSystem, from: string, to: string): Promise<boolean> {
  try {
    await fileSystem.link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}
