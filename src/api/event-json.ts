import type { ImageError, ImageEvent } from "../types";

/**
 * What makes the JSON of an event safe to send to a browser: an object literal has no room for it, and
 * to set its prototype costs 60 ns, where a class, or a prototype in the literal, costs more.
 */
const prototype = {
  toJSON(this: ImageEvent): Record<string, unknown> {
    return jsonOf(this);
  },
};

/** An event whose JSON is short and safe; otherwise it is what it was. */
export function withSafeJson(event: ImageEvent): ImageEvent {
  return Object.setPrototypeOf(event, prototype);
}

/** Without `metadata`, the provider's id, a job's reference, image bytes, or more of a path than a file's name. */
function jsonOf(event: ImageEvent): Record<string, unknown> {
  const { metadata, ...told } = event;
  switch (told.type) {
    case "submitted": {
      const { id, ...rest } = told;
      return rest;
    }
    case "partial": {
      const { bytes, mediaType, ...rest } = told;
      return { ...rest, byteLength: bytes.byteLength };
    }
    case "saved":
      return { ...told, file: nameOf(told.file) };
    case "retry":
      return { ...told, reason: withoutPaths(told.reason, undefined) };
    case "failed":
      return { ...told, error: errorJson(told.error) };
    default:
      return told;
  }
}

function errorJson(error: ImageError): Record<string, unknown> {
  // The reference names the job at the provider: who has it can ask for the picture.
  const { job, failures, ...rest } = error.toJSON();
  const message = withoutPaths(error.message, error.cause);
  const more = error.failures.map(errorJson);
  return { ...rest, message, ...(more.length > 0 && { failures: more }) };
}

/** A quoted path from the root of a disk, as errors of the file system have them in their words. */
const quotedPath = /(['"])(?:[a-z]:)?[\\/][^'"]*\1/gi;

/** A text in which files have their names alone. */
function withoutPaths(text: string, cause: unknown): string {
  const named = pathsOf(cause).reduce((clean, path) => clean.replaceAll(path, nameOf(path)), text);
  return named.replace(quotedPath, (found, quote: string) => quote + nameOf(found.slice(1)));
}

/** Those that an error of the file system names, and what caused it. */
function pathsOf(error: unknown, depth = 0): string[] {
  if (typeof error !== "object" || error === null || depth > 5) return [];
  const { path, dest, cause }: { path?: unknown; dest?: unknown; cause?: unknown } = error;
  const own = [path, dest].filter((each) => typeof each === "string" && each.length > 1);
  return [...own.map(String), ...pathsOf(cause, depth + 1)];
}

function nameOf(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}
