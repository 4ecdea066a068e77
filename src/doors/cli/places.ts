import { chmodSync } from "node:fs";
import { homedir } from "node:os";
import * as native from "node:path";
import { fileURLToPath } from "node:url";
import { makeDirectorySync } from "../../files/directories";
import { type ImageInput, localFile } from "../../index";
import type { Platform } from "./platform";
import { UsageError } from "./usage-error";

type PathRules = Pick<typeof native, "isAbsolute" | "join" | "sep">;

/** Somebody's home in a path, where the shell left it in: in quotes, or after an equals sign. */
export function withHome(path: string, home = homedir(), rules: PathRules = native): string {
  if (path === "~") return home;
  const isBelow = path.startsWith("~/") || (rules.sep === "\\" && path.startsWith("~\\"));
  return isBelow ? rules.join(home, path.slice(2)) : path;
}

/**
 * Where the journal and the ledger are: in the user's state directory by the XDG base directory
 * specification, which wants a path that is not absolute to be ignored; on Windows in the local app data.
 */
export function stateDirectory(
  given: string | undefined,
  env: Platform["env"],
  machine: { platform: string; home: string; rules: PathRules } = {
    ...{ platform: process.platform, home: homedir(), rules: native },
  },
): string {
  const { platform, home, rules } = machine;
  if (given !== undefined) return native.resolve(withHome(given, home, rules));
  const { XDG_STATE_HOME: xdg, LOCALAPPDATA: local } = env;
  const isSet = (path: string | undefined): path is string =>
    path !== undefined && rules.isAbsolute(path);
  if (isSet(xdg)) return rules.join(xdg, "gpt-image-client");
  if (platform === "win32" && isSet(local)) return rules.join(local, "gpt-image-client");
  return rules.join(home, ".local", "state", "gpt-image-client");
}

/** Makes the directory of the journal and the ledger, for this user alone: prompts are in there. */
export function makePrivate(directory: string): void {
  makeDirectorySync(directory, 0o700);
  // It may have been there before, or the umask may have been another. Windows has no such modes.
  if (process.platform !== "win32") chmodSync(directory, 0o700);
}

/** What `-i` and `--mask` name: an http(s), data or file URL, or else a file. */
export function imageInput(text: string): ImageInput {
  if (/^(https?:\/\/|data:)/i.test(text)) return text;
  if (!/^file:\/\//i.test(text)) return localFile(withHome(text));
  try {
    return localFile(fileURLToPath(text));
  } catch (cause) {
    throw new UsageError(`${text} names no file on this machine`, { cause });
  }
}
