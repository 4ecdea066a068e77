import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const sourceRoot = join(root, "src");

const files = readdirSync(sourceRoot, { recursive: true, encoding: "utf8" })
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
const checker = program.getTypeChecker();

interface Import {
  readonly from: string;
  /** A name below `src` without its ending, or a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

function sourceOf(name: string): ts.SourceFile {
  const source = program.getSourceFile(join(sourceRoot, name));
  if (source === undefined) throw new Error(`no ${name}`);
  return source;
}

function importsOf(name: string): Import[] {
  const source = sourceOf(name);
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, typeOnly: boolean) => {
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return;
    const { text } = specifier;
    const to = text.startsWith(".")
      ? relative(sourceRoot, join(sourceRoot, dirname(name), text)).replaceAll("\\", "/")
      : text;
    found.push({ from: name.replace(/\.ts$/, ""), to, typeOnly });
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
      add(node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const imports = files.flatMap(importsOf);
const from = (name: string) => imports.filter((each) => each.from === name);
/** What a file imports, save the platform. */
const targets = (name: string) =>
  [...new Set(from(name).map(({ to }) => to))].filter((to) => !to.startsWith("node:")).sort();
const adapters = files
  .map((name) => name.replace(/\.ts$/, ""))
  .filter((name) => name.startsWith("providers/") && name !== "providers/index");

/** A place in the sources, for a list that is expected to be empty. */
function placeOf(node: ts.Node): string {
  const source = node.getSourceFile();
  const { line } = source.getLineAndCharacterOfPosition(node.getStart());
  return `${relative(sourceRoot, source.fileName)}:${line + 1} ${node.getText().slice(0, 60)}`;
}

function nodesWhere(test: (node: ts.Node) => boolean): ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    if (test(node)) found.push(node);
    ts.forEachChild(node, visit);
  };
  for (const name of files) visit(sourceOf(name));
  return found;
}

test("there are sources to look at, and imports in them", () => {
  expect(files.length).toBeGreaterThan(25);
  expect(imports.length).toBeGreaterThan(100);
  expect(adapters.length).toBeGreaterThanOrEqual(4);
});

test("the floor knows nothing above it", () => {
  expect(targets("cost")).toEqual([]);
  expect(targets("dimensions")).toEqual([]);
  expect(targets("clock")).toEqual([]);
  expect(targets("host")).toEqual([]);
  expect(targets("nearest")).toEqual([]);
  expect(targets("base-url")).toEqual([]);
  expect(targets("once")).toEqual([]);
  expect(targets("turns")).toEqual([]);
  // The type of a signal alone.
  expect(targets("slots")).toEqual(["clock"]);
  expect(from("slots").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test("an error knows money, and of the job and its images the types alone", () => {
  expect(targets("errors")).toEqual(["cost", "generated-image", "job", "realm"]);
  expect(from("errors").every(({ to, typeOnly }) => typeOnly || to === "realm")).toBe(true);
  expect(targets("realm")).toEqual([]);
});

test("the request knows zod and errors", () => {
  expect(targets("request")).toEqual([
    ...["compiled", "errors", "expected", "field-names", "host", "once", "realm", "zod/mini"],
  ]);
  expect(targets("field-names")).toEqual(["nearest"]);
});

test("what an adapter is made of stands on schemas, cost, decoded images, dimensions and the request's type", () => {
  const contract = ["cost", "decoded-image", "dimensions", "request", "zod/mini"];
  expect(targets("adapter/contract")).toEqual(contract);
  expect(targets("adapter/define")).toEqual(["adapter/contract", "cost", "dimensions", "zod/mini"]);
  expect(targets("adapter/reading")).toEqual([
    "adapter/contract",
    "decoded-image",
    "image-text",
    "zod/mini",
  ]);
  expect(targets("adapter/refusals")).toEqual(["adapter/contract", "cost"]);
  const openaiError = ["adapter/contract", "adapter/reading", "adapter/refusals", "zod/mini"];
  expect(targets("adapter/openai-error")).toEqual(openaiError);
  expect(targets("adapter/token-prices")).toEqual(["adapter/contract", "cost"]);
  expect(from("adapter/contract").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test("what holds of an answer at every provider knows the contract and what codes mean", () => {
  expect(targets("read-answer")).toEqual(["error-codes", "provider"]);
  expect(targets("error-codes")).toEqual(["provider"]);
});

test("the face of the contract adds addresses, errors, headers and how a provider is reached", () => {
  expect(targets("provider")).toEqual([
    ...["adapter/contract", "adapter/define", "adapter/openai-error", "adapter/reading"],
    ...["adapter/refusals", "adapter/token-prices"],
    ...[
      "base-url",
      "compiled",
      "cost",
      "decoded-image",
      "dimensions",
      "errors",
      "header",
      "request",
    ],
  ]);
  // Every adapter carries what tells an image from words: it stands alone.
  expect(targets("image-text")).toEqual([]);
});

test("the readers of answers know bytes and images: no provider, no client, no transport", () => {
  expect(targets("parse-json")).toEqual([]);
  expect(targets("event-stream")).toEqual([]);
  expect(targets("json-scanner")).toEqual([
    ...["decoded-image", "image-inspection", "image-text", "parse-json", "realm"],
  ]);
  expect(targets("event-stream-body")).toEqual(["decoded-image", "event-stream", "json-scanner"]);
  expect(targets("zlib-sink")).toEqual(["body"]);
  expect(targets("gunzip-sink")).toEqual(["body", "zlib-sink"]);
  expect(targets("content-encoding")).toEqual(["body", "gunzip-sink", "image-text", "zlib-sink"]);
});

test.each(adapters)("%s imports zod and the contract, and nothing else", (adapter) => {
  expect(targets(adapter)).toEqual(["provider", "zod/mini"]);
});

test("the list of providers names every adapter and nothing more", () => {
  expect(targets("providers/index")).toEqual(adapters.toSorted());
});

test("what must not be shown is known in one place, and the version of the package in one", () => {
  expect(targets("secrets")).toEqual(["errors"]);
  expect(targets("user-agent")).toEqual(["../package.json"]);
  const readers = imports
    .filter(({ to }) => to === "../package.json")
    .map(({ from: name }) => name);
  expect(readers).toEqual(["user-agent"]);
});

test("the JSON of events knows their types and nothing else", () => {
  expect(from("event-json").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test("the poller knows time alone: no HTTP, no schema, no provider", () => {
  expect(targets("poller")).toEqual(["clock", "turns"]);
});

test("whose a record is, and where it stands, knows neither HTTP nor jobs that run", () => {
  expect(targets("account")).toEqual(["errors", "provider"]);
  expect(targets("journal")).toEqual(["journal-record"]);
  expect(targets("journal-record")).toEqual(["zod/mini"]);
  expect(targets("keyed-place")).toEqual([
    ...["account", "identity", "journal-record", "own-records", "provider"],
  ]);
  expect(targets("own-records")).toEqual([
    ...["account", "cost", "errors", "journal", "journal-record", "provider"],
  ]);
});

test("a file format knows bytes alone, and what looks at images knows formats alone", () => {
  const formats = files.filter((name) => name.startsWith("formats/"));
  expect(formats.length).toBeGreaterThan(5);
  const below = formats.flatMap((name) => targets(name.replace(/\.ts$/, "")));
  expect(below.filter((to) => to !== "realm" && !to.startsWith("formats/"))).toEqual([]);
  expect(targets("media")).toEqual(["formats/svg"]);
  for (const name of ["measure", "image-inspection"]) {
    expect(
      targets(name).filter((to) => !["media", "realm"].includes(to) && !to.startsWith("formats/")),
    ).toEqual([]);
  }
  expect(targets("own-bytes")).toEqual([]);
});

test("only the transport runs undici and p-retry", () => {
  const strangers = imports.filter(
    ({ from: name, to, typeOnly }) =>
      !typeOnly &&
      ((to === "p-retry" && name !== "repeat") ||
        (/^undici(\/|$)/.test(to) && name !== "load-undici")),
  );
  expect(strangers).toEqual([]);
  expect(targets("repeat")).toEqual(["p-retry"]);
  expect(targets("load-undici")).toEqual([
    ...["once", "undici", "undici/lib/core/connect.js"],
    ...["undici/lib/dispatcher/agent.js", "undici/lib/dispatcher/client.js"],
  ]);
});

test("zod is its mini build everywhere: the other takes twice as long to load", () => {
  const builds = imports.map(({ to }) => to).filter((to) => /^zod(\/|$)/.test(to));
  // The words for what is wrong, which the mini build leaves out, are loaded for the sandbox alone.
  // Of what both builds stand on, the objects of the full one are taken.
  expect([...new Set(builds)].sort()).toEqual(["zod/locales", "zod/mini", "zod/v4/core"]);
  expect(targets("compiled")).toEqual(["zod/mini", "zod/v4/core"]);
  expect(from("testing/sandbox/script").map(({ to }) => to)).toContain("zod/locales");
});

test("nothing below testing knows of it", () => {
  const upward = imports.filter(
    ({ from: name, to }) => to.startsWith("testing") && !name.startsWith("testing"),
  );
  expect(upward).toEqual([]);
});

test("the sandbox is written from the pages, not from the adapters", () => {
  const shared = imports.filter(
    ({ from: name, to }) =>
      name.startsWith("testing/sandbox") && !to.startsWith("testing") && /^[a-z-]+(\/|$)/.test(to),
  );
  const ours = shared.filter(({ to }) => files.includes(`${to}.ts`));
  expect(ours).toEqual([]);
});

test("a door knows the package's public face, its own files, and no other package", () => {
  const doors = imports.filter(({ from: name }) => name.startsWith("doors/"));
  expect(doors.length).toBeGreaterThan(5);
  const beyond = doors.filter(({ from: name, to }) => {
    const own = name.split("/").slice(0, 2).join("/");
    return to !== "index" && !to.startsWith(`${own}/`);
  });
  expect(beyond).toEqual([]);
});

test("nothing but a door knows a door: one that is not used loads nothing", () => {
  const entered = imports.filter(
    ({ from: name, to }) => to.startsWith("doors/") && !name.startsWith("doors/"),
  );
  expect(entered).toEqual([]);
});

test("no value is imported in a circle", () => {
  const circles: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      circles.push([...path.slice(path.indexOf(name)), name].join(" → "));
      return;
    }
    for (const { to, typeOnly } of from(name)) {
      if (!typeOnly && files.includes(`${to}.ts`)) visit(to, [...path, name]);
    }
  };
  for (const name of files) visit(name.replace(/\.ts$/, ""), []);
  expect([...new Set(circles)]).toEqual([]);
});

test("only the lookups of a key, of a proxy, and of a proxy's password to hide read the environment", () => {
  const readers = nodesWhere(
    (node) => ts.isPropertyAccessExpression(node) || ts.isVariableDeclaration(node),
  ).filter((node) => /^process\.env$|^\{ env \} = process$/.test(node.getText()));
  const names = readers.map((node) => relative(sourceRoot, node.getSourceFile().fileName));
  expect([...new Set(names)].sort()).toEqual(["provider.ts", "proxy-environment.ts", "secrets.ts"]);
});

test("an adapter neither fetches, waits, loops, catches nor reads the clock", () => {
  const acts = nodesWhere(
    (node) =>
      ts.isTryStatement(node) ||
      ts.isAwaitExpression(node) ||
      ts.isIterationStatement(node, false) ||
      (ts.isIdentifier(node) &&
        /^(fetch|setTimeout|process|Date|Promise)$/.test(node.text) &&
        !(ts.isPropertyAssignment(node.parent) && node.parent.name === node)),
  ).filter((node) =>
    adapters.includes(relative(sourceRoot, node.getSourceFile().fileName).replace(/\.ts$/, "")),
  );
  expect(acts.map(placeOf)).toEqual([]);
});

test("a date is never made of, or held against, the monotonic clock", () => {
  const isMonotonic = (node: ts.Node) => /[cC]lock\.now\(\)/.test(node.getText());
  const mixed = nodesWhere(
    (node) =>
      (ts.isNewExpression(node) && node.expression.getText() === "Date" && isMonotonic(node)) ||
      (ts.isBinaryExpression(node) && isMonotonic(node) && /\bDate\.parse\(/.test(node.getText())),
  );
  expect(mixed.map(placeOf)).toEqual([]);
});

test("nothing is typed any", () => {
  expect(nodesWhere((node) => node.kind === ts.SyntaxKind.AnyKeyword).map(placeOf)).toEqual([]);
});

test("nothing is asserted to be there with an exclamation mark", () => {
  const asserted = nodesWhere(
    (node) =>
      ts.isNonNullExpression(node) ||
      ((ts.isPropertyDeclaration(node) || ts.isVariableDeclaration(node)) &&
        node.exclamationToken !== undefined),
  );
  expect(asserted.map(placeOf)).toEqual([]);
});

test("a cast has a comment on the line before that says why", () => {
  const unexplained = nodesWhere(
    (node) => ts.isAsExpression(node) || ts.isTypeAssertionExpression(node),
  ).filter((node) => {
    if (ts.isAsExpression(node) && node.type.getText() === "const") return false;
    const source = node.getSourceFile();
    const lines = source.text.split("\n");
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    return !/^\s*(\/\/|\*)/.test(lines[line - 1] ?? "");
  });
  expect(unexplained.map(placeOf)).toEqual([]);
});

test("nothing tells the compiler or the linter to look away", () => {
  const quiet = files.filter((name) => /@ts-|biome-ignore/.test(sourceOf(name).text));
  expect(quiet).toEqual([]);
});

test("the top of the repository holds what belongs there and nothing else", () => {
  const allowed = [
    ...[".git", ".github", ".gitignore", ".gitattributes", ".npmrc", ".nvmrc", ".editorconfig"],
    ...["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md"],
    ...["package.json", "package-lock.json", "tsconfig.json", "biome.json"],
    ...["tsup.config.ts", "vitest.config.ts"],
    ...[".ci", "src", "test", "examples", "docs", "findings"],
    // Made by the tools, and ignored by git.
    ...["node_modules", "dist", "coverage", "output"],
  ];
  expect(readdirSync(root).filter((name) => !allowed.includes(name))).toEqual([]);
});

test.each(["index.ts", "provider.ts", "testing/index.ts", "doors/ai-sdk/index.ts"])(
  "every name exported from %s is documented where it is declared",
  (name) => {
    const module = checker.getSymbolAtLocation(sourceOf(name));
    if (module === undefined) throw new Error(`${name} exports nothing`);
    const exported = checker.getExportsOfModule(module);
    expect(exported.length).toBeGreaterThan(5);
    const bare = exported.filter((symbol) => {
      const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
      const target = isAlias ? checker.getAliasedSymbol(symbol) : symbol;
      return target.getDocumentationComment(checker).length === 0;
    });
    expect(bare.map((symbol) => symbol.name)).toEqual([]);
  },
);

test("index.ts is explicit named exports and nothing else", () => {
  for (const name of [
    ...["index.ts", "testing/index.ts", "providers/index.ts", "doors/ai-sdk/index.ts"],
  ]) {
    for (const statement of sourceOf(name).statements) {
      expect(ts.isExportDeclaration(statement)).toBe(true);
      if (!ts.isExportDeclaration(statement)) continue;
      expect(statement.exportClause && ts.isNamedExports(statement.exportClause)).toBe(true);
    }
  }
});

test("the package's dependencies are the ones that the sources import", () => {
  const { dependencies, peerDependencies } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  ) as { dependencies: object; peerDependencies: object };
  const packages = imports
    .filter(({ to }) => !files.includes(`${to}.ts`) && !/^node:|^\.\.\/package\.json$/.test(to))
    .map(({ to }) => /^(@[^/]+\/)?[^/]+/.exec(to)?.[0]);
  const declared = Object.keys({ ...dependencies, ...peerDependencies });
  expect([...new Set(packages)].sort()).toEqual(declared.sort());
});
