/** The real source, made to say which function is entered. */
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { build, type Plugin } from "esbuild";
import ts from "typescript";

/** What the sources under trace export: the public face, of whatever version it is. */
export type Face = typeof import("../../src/index");

/** Loads a checkout's sources; `enter` hears of each function of theirs, by its file below `src`. */
export async function loadTraced(checkout: string, enter: (file: string) => void): Promise<Face> {
  const source = join(checkout, "src");
  const directory = await mkdtemp(join(tmpdir(), "gpt-image-trace-"));
  const outfile = join(directory, "traced.cjs");
  try {
    await build({
      entryPoints: [join(source, "index.ts")],
      bundle: true,
      format: "cjs",
      platform: "node",
      target: "node20",
      outfile,
      logLevel: "error",
      plugins: [entering(source)],
    });
    Object.assign(globalThis, { enterTraced: enter });
    return createRequire(import.meta.url)(outfile);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const entering = (source: string): Plugin => ({
  name: "entering",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const name = relative(source, path).split(sep).join("/").replace(/\.ts$/, "");
      if (name.startsWith("..")) return undefined;
      return { contents: instrumented(path, name), loader: "ts" };
    });
  },
});

/** Each function with a body begins by saying whose it is. */
function instrumented(path: string, name: string): string {
  const text = ts.sys.readFile(path) ?? "";
  const call = `enterTraced(${JSON.stringify(name)})`;
  const insertions: { at: number; text: string }[] = [];
  const visit = (node: ts.Node): void => {
    const body = ts.isFunctionLike(node) && "body" in node ? node.body : undefined;
    if (body !== undefined) {
      if (ts.isBlock(body)) insertions.push({ at: body.getStart() + 1, text: `${call};` });
      else {
        insertions.push({ at: body.getStart(), text: `(${call}, ` });
        insertions.push({ at: body.end, text: ")" });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true));
  // From the end, so that no place moves. Of two at one place the inner one was found last.
  let made = text;
  for (const { at, text: inserted } of insertions.toSorted((a, b) => b.at - a.at)) {
    made = made.slice(0, at) + inserted + made.slice(at);
  }
  return made;
}
