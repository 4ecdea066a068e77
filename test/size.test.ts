import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { build as Build, Metafile } from "esbuild";
import { expect, test } from "vitest";

const require = createRequire(import.meta.url);
// esbuild as tsup brings it along.
const { build }: { build: typeof Build } = createRequire(require.resolve("tsup"))("esbuild");
const root = fileURLToPath(new URL("..", import.meta.url));

interface Sizes {
  /** Minified and gzipped, of what the import itself loads. */
  readonly bytes: number;
  readonly loaded: readonly string[];
  /** The same of what is loaded on first use. */
  readonly laterBytes: number;
  readonly later: readonly string[];
}

/** What these names of the package come to in a bundle, dependencies left out. */
async function sizesOf(names: string): Promise<Sizes> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export { ${names} } from "./src/index.ts"`, resolveDir: root },
    ...{ bundle: true, minify: true, splitting: true, format: "esm", packages: "external" },
    ...{ platform: "node", target: "node20", outdir: "out", write: false, metafile: true },
    absWorkingDir: root,
  });
  const gzipped = new Map(
    outputFiles.map(({ path, contents }) => [
      path.slice(root.length),
      gzipSync(contents, { level: 9 }).byteLength,
    ]),
  );
  const outputs = Object.keys(metafile.outputs);
  const entry = outputs.find((path) => metafile.outputs[path]?.entryPoint === "<stdin>") ?? "";
  const loaded = closureOf(metafile, entry);
  const later = outputs.filter((path) => !loaded.includes(path));
  const sum = (paths: readonly string[]) =>
    paths.reduce((total, path) => total + (gzipped.get(path) ?? Number.NaN), 0);
  return {
    ...{ bytes: sum(loaded), loaded: sourcesOf(metafile, loaded) },
    ...{ laterBytes: sum(later), later: sourcesOf(metafile, later) },
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

function sourcesOf({ outputs }: Metafile, paths: readonly string[]): string[] {
  return paths
    .flatMap((path) => Object.entries(outputs[path]?.inputs ?? {}))
    .flatMap(([name, { bytesInOutput }]) => (bytesInOutput > 0 ? [name.slice("src/".length)] : []))
    .sort();
}

const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} KB`;

test("an import of the client is at most 16 KB of our own, minified and gzipped", async () => {
  const { bytes, laterBytes } = await sizesOf("createImageClient");
  console.log(`createImageClient: ${kilobytes(bytes)}, on first use ${kilobytes(laterBytes)}`);
  expect(bytes).toBeLessThanOrEqual(16 * 1024);
});

test.each(["shortapi", "aigptimage", "trinetra", "openai"])(
  "with %s alone it is at most 19 KB, and carries no other provider",
  async (name) => {
    const { bytes, loaded, later } = await sizesOf(`createImageClient, ${name}`);
    console.log(`with ${name}: ${kilobytes(bytes)}`);
    const file = name === "openai" ? "openai-compatible" : name;
    const carried = [...loaded, ...later].filter((each) => each.startsWith("providers/"));
    expect(carried).toEqual([`providers/${file}.ts`]);
    expect(bytes).toBeLessThanOrEqual(19 * 1024);
  },
);

test("what sends, and what only some clients need, is loaded on first use", async () => {
  const { loaded, later } = await sizesOf("createImageClient");
  const rooms = ["engine.ts", "transport.ts", "task.ts", "result.ts"];
  const seldom = ["journaling.ts", "ledger.ts", "webhook-hints.ts", "webhooks.ts"];
  expect(later).toEqual(expect.arrayContaining([...rooms, ...seldom]));
  expect(loaded.filter((each) => later.includes(each))).toEqual([]);
});
