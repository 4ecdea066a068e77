import { knownMedia, sniff } from "../media/format";
import { type JournalFileSystem, unlessMissing } from "./directory-file-system";

/** What an image may be called, the likeliest first. */
const extensions = [...knownMedia.map(({ extension }) => extension), "bin"];

type ImagePath = (id: string, position: number, extension: string) => string;

/** Writes beside the place and syncs; `publish` puts it there. */
type Write = (data: Uint8Array, publish: (temporary: string) => Promise<void>) => Promise<void>;

/** The images of a directory's records: each is one file, named after its record and its format. */
export function imagesIn(fileSystem: JournalFileSystem, pathOf: ImagePath) {
  async function removal(path: string): Promise<true> {
    await fileSystem.rm(path);
    return true;
  }

  return {
    async write(id: string, position: number, bytes: Uint8Array, write: Write): Promise<void> {
      const extension = sniff(bytes)?.extension ?? "bin";
      await write(bytes, (temporary) =>
        fileSystem.rename(temporary, pathOf(id, position, extension)),
      );
      // An earlier try may have brought it in another format.
      for (const each of extensions) {
        if (each !== extension) await fileSystem.rm(pathOf(id, position, each), { force: true });
      }
    },
    async read(id: string, position: number): Promise<Uint8Array | undefined> {
      for (const extension of extensions) {
        const bytes = await unlessMissing(fileSystem.readFile(pathOf(id, position, extension)));
        if (bytes !== undefined) return bytes;
      }
      return undefined;
    },
    /** Whatever its format; false where there was none. */
    async remove(id: string, position: number): Promise<boolean> {
      const removed = await Promise.all(
        extensions.map((each) => unlessMissing(removal(pathOf(id, position, each)))),
      );
      return removed.includes(true);
    },
  };
}
