import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** One Markdown file of the manual. */
export interface Page {
  /** Below the root of the repository. */
  readonly path: string;
  readonly text: string;
}

export interface Snippet {
  readonly page: string;
  readonly line: number;
  readonly text: string;
  /** Where it is, for its imports and for messages. A first line such as `// pictures.ts` names it. */
  readonly file: string;
}

function pageAt(path: string): Page {
  return { path, text: readFileSync(join(root, path), "utf8") };
}

/** The README and what is written by hand in `docs`. */
export const pages: readonly Page[] = [
  pageAt("README.md"),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .map((name) => posix.join("docs", name.replaceAll("\\", "/")))
    .filter((path) => path.endsWith(".md") && !path.startsWith("docs/api/"))
    .sort()
    .map(pageAt),
];

/** What TypeDoc has made of the TSDoc. */
export const apiPages: readonly Page[] = readdirSync(join(root, "docs/api"), {
  recursive: true,
  encoding: "utf8",
})
  .map((name) => posix.join("docs/api", name.replaceAll("\\", "/")))
  .filter((path) => path.endsWith(".md"))
  .sort()
  .map(pageAt);

export function page(path: string): Page {
  const found = pages.find((each) => each.path === path);
  if (found === undefined) throw new Error(`no page ${path}`);
  return found;
}

/** The code blocks of a language on a page. */
export function snippetsOf({ path, text }: Page, language: "ts" | "js"): Snippet[] {
  const fence = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms");
  return [...text.matchAll(fence)].map(([, code = ""], index, all) => {
    const line = text.slice(0, all[index]?.index).split("\n").length + 1;
    const [, name = `line-${line}.${language}`] = /^\/\/ (\S+\.ts)\n/.exec(code) ?? [];
    return { page: path, line, text: code, file: posix.join(path.replace(/\.md$/, ""), name) };
  });
}

export const snippets: readonly Snippet[] = pages.flatMap((each) => snippetsOf(each, "ts"));

/** The snippet of a page that has this text. */
export function snippetWith(path: string, text: string): Snippet {
  const found = snippets.find((each) => each.page === path && each.text.includes(text));
  if (found === undefined) throw new Error(`no example in ${path} has ${text}`);
  return found;
}

/** The lines of the table whose first column has this title. */
export function tableOf({ text }: Page, title: string): readonly string[] {
  const [, table = ""] = new RegExp(`^(\\| ${title} +\\|.*?)\\n\\n`, "ms").exec(text) ?? [];
  return table.split("\n");
}

/** What the compiler has to say of snippets, which may import each other on the same page. */
export function typeErrorsOf(given: readonly Snippet[]): string[] {
  const configPath = join(root, "tsconfig.json");
  const { config } = ts.readConfigFile(configPath, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(
    { ...config, include: [], files: [] },
    ts.sys,
    root,
  );
  const files = new Map(given.map(({ file, text }) => [join(root, "snippets", file), text]));
  const folders = new Set([...files.keys()].map((name) => dirname(name)));
  const all: ts.CompilerOptions = {
    ...options,
    moduleDetection: ts.ModuleDetectionKind.Force,
    // An example names things for the reader, not for itself.
    noUnusedLocals: false,
  };
  const host = ts.createCompilerHost(all);
  const { fileExists, readFile, directoryExists } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.directoryExists = (name) => folders.has(name) || directoryExists?.(name) === true;
  const getSourceFile = host.getSourceFile;
  host.getSourceFile = (name, ...rest) => {
    const text = files.get(name);
    return text === undefined
      ? getSourceFile(name, ...rest)
      : ts.createSourceFile(name, text, ts.ScriptTarget.ESNext);
  };
  const program = ts.createProgram([...files.keys()], all, host);
  const format = { ...host, getCanonicalFileName: (name: string) => name };
  return [...files.keys()].flatMap((name) => {
    const source = program.getSourceFile(name);
    if (source === undefined) return [`${name} was not read`];
    return [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ].map((each) => ts.formatDiagnostic(each, format));
  });
}

/** The anchor that GitHub and npm give a heading. */
function anchorOf(heading: string): string {
  return heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
}

/** Every place of a page that a link may lead to. */
export function anchorsOf({ text }: Page): ReadonlySet<string> {
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  const prose = text.replaceAll(/^```.*?^```$/gms, "");
  for (const [, heading = ""] of prose.matchAll(/^#+ (.*)$/gm)) {
    const anchor = anchorOf(heading);
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    anchors.add(times === 0 ? anchor : `${anchor}-${times}`);
  }
  for (const [, id = ""] of prose.matchAll(/<a id="([^"]+)"/g)) anchors.add(id);
  return anchors;
}

/** A relative link: the file that it leads to, below the root, and the place in it. */
export interface Link {
  readonly from: string;
  readonly to: string;
  readonly anchor: string | undefined;
}

/** The relative links of a page, and its pictures. */
export function linksOf({ path, text }: Page): Link[] {
  const prose = text.replaceAll(/^```.*?^```$/gms, "");
  return [...prose.matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)].map(([, target = ""]) => {
    const [file = "", anchor] = target.split("#");
    const to = file === "" ? path : posix.join(posix.dirname(path), file);
    return { from: path, to, anchor };
  });
}
