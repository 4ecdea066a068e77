import { basename, dirname } from "node:path";
import type { JournalFileSystem } from "../../src/journal/directory-file-system";

/**
 * What of the unsynced survives a power cut. `"nothing"`; `"names"`: every link, rename and removal,
 * but no data; `"some"`: some names, and some of the data's beginning, as it happens to be.
 */
export type Survival = "nothing" | "names" | "some";

interface FileNode {
  data: Buffer;
  synced: Buffer;
}

/** A change of a directory's names, applied as a whole. */
type Change = ReadonlyMap<string, FileNode | Folder | undefined>;

class Folder {
  readonly names = new Map<string, FileNode | Folder>();
  readonly synced = new Map<string, FileNode | Folder>();
  pending: Change[] = [];

  change(change: Change): void {
    apply(this.names, change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending) apply(this.synced, change);
    this.pending = [];
  }
}

function apply(names: Map<string, FileNode | Folder>, change: Change): void {
  for (const [name, node] of change) {
    if (node === undefined) names.delete(name);
    else names.set(name, node);
  }
}

/** A disk in memory that forgets what was not synced when its power is cut. */
export class BrittleDisk {
  /** Every operation that changes something, in order. */
  readonly operations: string[] = [];
  /** The operation before which the power goes. */
  cutAt = Number.POSITIVE_INFINITY;
  readonly #root: Folder;

  constructor(root = new Folder()) {
    this.#root = root;
  }

  /** The disk as it is found after a power cut. */
  restarted(survival: Survival, seed = 1): BrittleDisk {
    let state = seed;
    const lucky = () => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return survival === "names" || (survival === "some" && state % 7 < 4);
    };
    const known = new Map<FileNode | Folder, FileNode | Folder>();
    const survivor = (node: FileNode | Folder): FileNode | Folder => {
      const before = known.get(node);
      if (before !== undefined) return before;
      const after = node instanceof Folder ? new Folder() : dataAfter(node, survival, lucky());
      known.set(node, after);
      if (node instanceof Folder && after instanceof Folder) {
        const names = new Map(node.synced);
        for (const change of node.pending) if (lucky()) apply(names, change);
        for (const [name, each] of names) after.names.set(name, survivor(each));
        apply(after.synced, after.names);
      }
      return after;
    };
    const root = survivor(this.#root);
    if (!(root instanceof Folder)) throw new Error("the root is a folder");
    return new BrittleDisk(root);
  }

  #operation(name: string, path: string): void {
    if (this.operations.length >= this.cutAt) throw new Error("the power is cut");
    this.operations.push(`${name} ${basename(path)}`);
  }

  #folder(path: string): Folder {
    if (path === dirname(path)) return this.#root;
    const found = this.#folder(dirname(path)).names.get(basename(path));
    if (found instanceof Folder) return found;
    throw failure(found === undefined ? "ENOENT" : "ENOTDIR", path);
  }

  #node(path: string): FileNode | Folder {
    const found = this.#folder(dirname(path)).names.get(basename(path));
    if (found === undefined) throw failure("ENOENT", path);
    return found;
  }

  #file(path: string): FileNode {
    const found = this.#node(path);
    if (found instanceof Folder) throw failure("EISDIR", path);
    return found;
  }

  #makeFolder(path: string): void {
    const { names } = this.#folder(dirname(path));
    if (names.has(basename(path))) throw failure("EEXIST", path);
    this.#operation("mkdir", path);
    this.#folder(dirname(path)).change(new Map([[basename(path), new Folder()]]));
  }

  #openFile(path: string) {
    const folder = this.#folder(dirname(path));
    if (folder.names.has(basename(path))) throw failure("EEXIST", path);
    this.#operation("open", path);
    const file: FileNode = { data: Buffer.alloc(0), synced: Buffer.alloc(0) };
    folder.change(new Map([[basename(path), file]]));
    return {
      writeFile: async (data: string | Uint8Array) => {
        this.#operation("write", path);
        file.data = Buffer.from(data);
      },
      sync: async () => {
        this.#operation("sync", path);
        file.synced = file.data;
      },
      close: async () => {},
    };
  }

  #openFolder(path: string) {
    const folder = this.#folder(path);
    return {
      sync: async () => {
        this.#operation("sync-directory", path);
        folder.sync();
      },
      close: async () => {},
    };
  }

  /** As much of `node:fs/promises` as a journal needs. */
  get fileSystem(): JournalFileSystem {
    const used = {
      mkdir: async (path: string) => this.#makeFolder(path),
      open: async (path: string, flags: string) =>
        flags === "r" ? this.#openFolder(path) : this.#openFile(path),
      link: async (from: string, to: string) => {
        const file = this.#file(from);
        const folder = this.#folder(dirname(to));
        if (folder.names.has(basename(to))) throw failure("EEXIST", to);
        this.#operation("link", to);
        folder.change(new Map([[basename(to), file]]));
      },
      rename: async (from: string, to: string) => {
        const file = this.#file(from);
        this.#operation("rename", to);
        this.#folder(dirname(to)).change(
          new Map<string, FileNode | undefined>([
            [basename(from), undefined],
            [basename(to), file],
          ]),
        );
      },
      rm: async (path: string, options?: { force: boolean }) => {
        const folder = this.#folder(dirname(path));
        if (!folder.names.has(basename(path))) {
          if (options?.force) return;
          throw failure("ENOENT", path);
        }
        this.#operation("rm", path);
        folder.change(new Map([[basename(path), undefined]]));
      },
      readdir: async (path: string) =>
        [...this.#folder(path).names].map(([name, node]) => ({
          name,
          isFile: () => !(node instanceof Folder),
          isDirectory: () => node instanceof Folder,
        })),
      stat: async (path: string) => {
        const node = path === dirname(path) ? this.#root : this.#node(path);
        const isFolder = node instanceof Folder;
        return { isFile: () => !isFolder, isDirectory: () => isFolder, mtimeMs: 0, ctimeMs: 0 };
      },
      // Neither atomic nor synced: nothing that matters may be written so.
      writeFile: async (path: string, data: string) => {
        const folder = this.#folder(dirname(path));
        this.#operation("write-file", path);
        const file: FileNode = { data: Buffer.from(data), synced: Buffer.alloc(0) };
        folder.change(new Map([[basename(path), file]]));
      },
      readFile: async (path: string, encoding?: "utf8") => {
        const { data } = this.#file(path);
        return encoding === undefined ? Buffer.from(data) : data.toString(encoding);
      },
    };
    // The overloads that nobody here calls are left out.
    return used as unknown as JournalFileSystem;
  }
}

function dataAfter({ data, synced }: FileNode, survival: Survival, isLucky: boolean): FileNode {
  const isDirty = data !== synced;
  const kept = isDirty && survival === "some" ? data.subarray(0, data.byteLength / 2) : synced;
  const after = isDirty && isLucky ? kept : synced;
  return { data: after, synced: after };
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
