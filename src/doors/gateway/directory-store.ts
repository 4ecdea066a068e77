import { randomUUID } from "node:crypto";
import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { makeDirectory, syncDirectory } from "../../files/directories";
import type { GatewayStore } from "./store";

const recordName = /^order-[\da-f]{32}\.json$/;

/**
 * A store in a directory: `order-<id>.json` for each order, and pictures beside them. A record is written
 * beside its place, synced and renamed, and the directory is synced: it is there whole or not at all,
 * also after a power cut. For one gateway at a time.
 *
 * @example
 * ```ts
 * const gateway = createImageGateway({ models, authorize, store: directoryStore("./.orders") });
 * ```
 */
export function directoryStore(path: string): GatewayStore {
  if (typeof path !== "string") throw new TypeError("directoryStore takes the path of a directory");
  const directory = resolve(path);
  const placeOf = (id: string) => {
    const name = `order-${id}.json`;
    // An id becomes a part of a path: it must not lead elsewhere.
    if (!recordName.test(name)) throw new TypeError(`"${id}" is no id of an order`);
    return join(directory, name);
  };
  return {
    directory,
    put: async (record) => publish(directory, placeOf(record.id), record),
    delete: async (id) => rm(placeOf(id), { force: true }),
    async *list() {
      await makeDirectory(directory);
      for (const name of await readdir(directory)) {
        if (/^\.order-.*\.part$/.test(name)) await rm(join(directory, name), { force: true });
        if (recordName.test(name)) yield parsed(await readFile(join(directory, name), "utf8"));
      }
    },
  };
}

async function publish(directory: string, place: string, record: object): Promise<void> {
  const temporary = join(directory, `.order-${randomUUID()}.part`);
  try {
    await writeSynced(temporary, JSON.stringify(record));
    await rename(temporary, place);
    await syncDirectory(directory);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The JSON of a file, or its text where it is none: whoever reads it says what is wrong with it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
