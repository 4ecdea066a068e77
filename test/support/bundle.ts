import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { build as Build, Metafile } from "esbuild";

const require = createRequire(import.meta.url);
// esbuild as tsup brings it along.
const { build }: { build: typeof Build } = createRequire(require.resolve("tsup"))("esbuild");
const root = fileURLToPath(new URL("../..", import.meta.url));

/** One file of a bundle. */
export interface Chunk {
  readonly text: string;
  /** The sources that some of it comes from, by their paths below the root. */
  readonly sources: readonly string[];
}

/** An app that imports some names of ours, and keeps them; dependencies are left out. */
export interface Bundle {
  /** All that is loaded with the app. */
  readonly loaded: readonly Chunk[];
  /** What is left for later. */
  readonly later: readonly Chunk[];
}

/** Bundles and minifies such an app. */
export async function bundle(entry: string, names: readonly string[]): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export { ${names.join(", ")} } from "${entry}"`, resolveDir: root },
    ...{ bundle: true, minify: true, splitting: true, format: "esm", packages: "external" },
    ...{ platform: "node", target: "node20", outdir: "out", write: false, metafile: true },
    ...{ absWorkingDir: root, logLevel: "silent" },
  });
  const { outputs } = metafile;
  const paths = Object.keys(outputs);
  const first = paths.find((path) => outputs[path]?.entryPoint === "<stdin>");
  if (first === undefined) throw new Error("The bundle has no entry");
  const loaded = closureOf(metafile, first);
  const chunkOf = (path: string): Chunk => ({
    text: outputFiles.find((file) => file.path === `${root}${path}`)?.text ?? "",
    sources: Object.entries(outputs[path]?.inputs ?? {}).flatMap(([name, { bytesInOutput }]) =>
      bytesInOutput > 0 ? [name] : [],
    ),
  });
  return {
    loaded: loaded.map(chunkOf),
    later: paths.filter((path) => !loaded.includes(path)).map(chunkOf),
  };
}

/** A file and all that it imports without being asked to. */
function closureOf({ outputs }: Metafile, entry: string): string[] {
  const found = new Set([entry]);
  for (const path of found) {
    for (const each of outputs[path]?.imports ?? []) {
      if (each.kind === "import-statement" && each.external !== true) found.add(each.path);
    }
  }
  return [...found];
}
