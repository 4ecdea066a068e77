import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The top of the repository. */
export const root = fileURLToPath(new URL("../..", import.meta.url));
/** Where our own files are. */
export const sourceRoot = join(root, "src");

/** Our own files, by their paths below `src`. */
export const files = readdirSync(sourceRoot, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
  .map((name) => name.replaceAll("\\", "/"));

const program = ts.createProgram(
  files.map((name) => join(sourceRoot, name)),
  {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ["node"],
  },
);

// Binds the sources, so that every node knows its parent.
export const checker = program.getTypeChecker();

/** One import, by a statement, a re-export or a call. */
export interface Import {
  readonly from: string;
  /** A name below `src` without its ending, or a package. */
  readonly to: string;
  readonly typeOnly: boolean;
  /** By `import()`: loaded when it is needed, and not before. */
  readonly late: boolean;
}

/** A file, parsed. */
export function sourceOf(name: string): ts.SourceFile {
  const source = program.getSourceFile(join(sourceRoot, name));
  if (source === undefined) throw new Error(`no ${name}`);
  return source;
}

function importsOf(name: string): Import[] {
  const source = sourceOf(name);
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, typeOnly: boolean, late = false) => {
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return;
    const { text } = specifier;
    const to = text.startsWith(".")
      ? relative(sourceRoot, join(sourceRoot, dirname(name), text)).replaceAll("\\", "/")
      : text;
    found.push({ from: name.replace(/\.ts$/, ""), to, typeOnly, late });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const clause = node.importClause;
      const bindings = clause?.namedBindings;
      const named =
        bindings !== undefined && ts.isNamedImports(bindings) ? bindings.elements : undefined;
      const isType = clause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      const everyType = clause?.name === undefined && named?.every((each) => each.isTypeOnly);
      add(node.moduleSpecifier, isType || everyType === true);
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Every import of every file. */
export const imports = files.flatMap(importsOf);
/** What a file imports. */
export const from = (name: string) => imports.filter((each) => each.from === name);
/** The names of what a file imports, save the platform. */
export const targets = (name: string) =>
  [...new Set(from(name).map(({ to }) => to))].filter((to) => !to.startsWith("node:")).sort();
/** The adapters' files, without their endings. */
export const adapters = files
  .map((name) => name.replace(/\.ts$/, ""))
  .filter((name) => name.startsWith("providers/") && name !== "providers/index");

/** A place in the sources, for a list that is expected to be empty. */
export function placeOf(node: ts.Node): string {
  const source = node.getSourceFile();
  const { line } = source.getLineAndCharacterOfPosition(node.getStart());
  return `${relative(sourceRoot, source.fileName)}:${line + 1} ${node.getText().slice(0, 60)}`;
}

/** All nodes of all files that pass a test. */
export function nodesWhere(test: (node: ts.Node) => boolean): ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    if (test(node)) found.push(node);
    ts.forEachChild(node, visit);
  };
  for (const name of files) visit(sourceOf(name));
  return found;
}

/** Whether what an import names is a file of ours. */
export const isOurs = (to: string) =>
  files.includes(`${to}.ts`) || files.includes(`${to}/index.ts`);
