import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Figures } from "./stage";

const root = fileURLToPath(new URL("../..", import.meta.url));
const require = createRequire(import.meta.url);
// esbuild as tsup brings it along.
const esbuild = createRequire(require.resolve("tsup"))("esbuild");

/** What only the adapter of each provider says. */
const marks = {
  shortapi: "/api/v1/job/create",
  aigptimage: "/api/v1/jobs/createTask",
  trinetra: "TRINETRA_API_KEY",
  openai: "/images/generations",
} as const;

interface Bundle {
  /** All that is loaded with the entry. */
  readonly closure: string;
  /** What is left for later. */
  readonly lazy: string;
}

interface Output {
  readonly entryPoint?: string;
  readonly imports: readonly { path: string; kind: string; external?: boolean }[];
}

/** An app that imports some names of ours, and keeps them. */
async function bundle(entry: string, names: readonly string[]): Promise<Bundle> {
  const built = await esbuild.build({
    stdin: {
      contents: `export { ${names.join(", ")} } from "${entry}";`,
      resolveDir: root,
      sourcefile: "app.js",
    },
    ...{ bundle: true, format: "esm", platform: "node", target: "node20", packages: "external" },
    ...{ minify: true, splitting: true, outdir: "out", write: false, metafile: true },
    ...{ absWorkingDir: root, logLevel: "silent" },
  });
  const outputs: Record<string, Output> = built.metafile.outputs;
  const loaded = new Set<string>();
  const visit = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { path: next, kind, external } of outputs[path]?.imports ?? []) {
      if (kind === "import-statement" && external !== true) visit(next);
    }
  };
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    if (entryPoint === "app.js") visit(path);
  }
  if (loaded.size === 0) throw new Error("The bundle has no entry");
  let closure = "";
  let lazy = "";
  for (const { path, text } of built.outputFiles as { path: string; text: string }[]) {
    if ([...loaded].some((each) => path.endsWith(each))) closure += text;
    else lazy += text;
  }
  return { closure, lazy };
}

const gzipped = (text: string) => (text === "" ? 0 : gzipSync(text, { level: 9 }).byteLength);

/** How many other providers an app carries that imports one. */
async function strangersOf(name: string): Promise<number> {
  const { closure, lazy } = await bundle("./dist/index.js", ["createImageClient", name]);
  const found = Object.entries(marks).filter(([, mark]) => (closure + lazy).includes(mark));
  if (!found.some(([each]) => each === name)) throw new Error(`${name} is not in its own bundle`);
  return found.length - 1;
}

export async function measureSize(): Promise<Figures> {
  const own = await bundle("./src/index.ts", ["createImageClient"]);
  const shipped = await bundle("./dist/index.js", ["createImageClient"]);
  const strangers = await Promise.all(Object.keys(marks).map(strangersOf));
  return {
    coreBytes: gzipped(own.closure),
    lazyBytes: gzipped(own.lazy),
    shippedBytes: gzipped(shipped.closure),
    shippedLazyBytes: gzipped(shipped.lazy),
    strangers: Math.max(...strangers),
  };
}
