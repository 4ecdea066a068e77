import { mkdtemp, readdir, readlink, stat } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createImageClient, openaiCompatible } from "../../../src/index";
import { directory } from "../../support/directory";
import { pictureOf } from "../../support/media";
import type { TestServer } from "../../support/server";

export async function emptyPlace(): Promise<string> {
  return mkdtemp(join(directory, "place-"));
}

export const picture = pictureOf(1_500_000);
export const other = pictureOf(900_000, 5);
export const documentOf = (...pictures: Buffer[]) =>
  JSON.stringify({ data: pictures.map((each) => ({ b64_json: each.toString("base64") })) });
export const document = documentOf(picture);
export const small = documentOf(pictureOf(200));
/** Where the second of two pictures is half there. */
export const inTheSecond = document.length + 300_000;

export function clientOf({ url }: TestServer, options = {}) {
  const provider = openaiCompatible({ baseURL: url, apiKey: "sk-of-the-test" });
  return createImageClient({ provider, ...options });
}

export function sendText(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(text);
}

/** Begins a response, and leaves the rest to the caller. */
export function sendStart(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.write(text);
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error("it never came true");
    await pause(2);
  }
}

/** How many bytes of it are in files whose names nobody looks for. */
export async function partBytes(place: string): Promise<number> {
  const names = (await readdir(place)).filter((name) => name.endsWith(".part"));
  const sizes = await Promise.all(
    names.map(async (name) => {
      // It may be gone by now.
      const found = await stat(join(place, name)).catch(() => undefined);
      return found?.size ?? 0;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** How many files of pictures on their way are open in this process. */
export async function openParts(): Promise<number> {
  const handles = await readdir("/proc/self/fd").catch(() => []);
  const targets = await Promise.all(
    // What has been closed meanwhile leads nowhere.
    handles.map((each) => readlink(`/proc/self/fd/${each}`).catch(() => "")),
  );
  return targets.filter((target) => target.includes(".part")).length;
}
