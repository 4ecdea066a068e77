import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
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
  /** By `import()`: loaded when it is needed, and not before. */
  readonly late: boolean;
}

function sourceOf(name: string): ts.SourceFile {
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

/**
 * Each room, and the rooms that it may import, by value or by type. A room imports what stands above it in
 * this list alone, so that nothing points up and no two rooms need each other.
 */
const rooms = {
  async: [],
  cost: [],
  realm: [],
  sentences: [],
  types: ["cost", "sentences"],
  ledger: ["cost", "types"],
  errors: ["cost", "realm", "sentences", "types"],
  media: ["async", "realm"],
  http: ["async", "media", "realm"],
  parse: ["realm"],
  adapter: ["async", "cost", "errors", "http", "media", "parse", "types"],
  provider: ["adapter", "async", "cost", "media", "parse", "types"],
  providers: ["provider"],
  capabilities: ["adapter"],
  api: ["adapter", "async", "cost", "errors", "http", "media", "types"],
  request: ["adapter", "async", "cost", "errors", "http", "media", "parse", "realm", "types"],
  result: ["adapter", "async", "cost", "errors", "http", "media", "sentences", "types"],
  schedule: ["adapter", "async", "request", "types"],
  journal: ["adapter", "async", "cost", "errors", "media", "realm", "request", "types"],
  job: [
    ...["adapter", "api", "async", "cost", "errors", "http", "journal", "media", "parse", "realm"],
    ...["request", "result", "schedule", "types"],
  ],
  "client-options": ["adapter", "async", "http", "journal", "request", "schedule", "types"],
  webhooks: ["adapter", "async", "client-options", "http", "job", "types"],
  runner: [
    ...["adapter", "api", "async", "client-options", "errors", "http", "job", "media", "request"],
    ...["result", "schedule", "types", "webhooks"],
  ],
  client: [
    ...["async", "capabilities", "client-options", "cost", "errors", "job", "journal", "request"],
    ...["runner", "types", "webhooks"],
  ],
  index: [
    ...["capabilities", "client", "client-options", "cost", "errors", "job", "journal", "ledger"],
    ...["provider", "providers", "request", "schedule", "types", "webhooks"],
  ],
  testing: ["client", "cost", "errors", "media", "provider", "request", "types"],
  // The command line alone knows the sandbox, and late: a test below says so.
  doors: ["index", "testing"],
} as const satisfies Record<string, readonly string[]>;

const roomNames: readonly string[] = Object.keys(rooms);
const roomOf = (name: string) => name.split("/")[0] ?? name;
const isOurs = (to: string) => files.includes(`${to}.ts`) || files.includes(`${to}/index.ts`);

test("every file belongs to a room, and src has at most twelve of its own", () => {
  const names = files.map((name) => name.replace(/\.ts$/, ""));
  expect(names.filter((name) => !roomNames.includes(roomOf(name)))).toEqual([]);
  expect(names.filter((name) => !name.includes("/")).length).toBeLessThanOrEqual(12);
});

test("a room knows those above it in the list, and none below", () => {
  const upward = Object.entries(rooms).flatMap(([room, known]) =>
    known.filter((each) => roomNames.indexOf(each) >= roomNames.indexOf(room)),
  );
  expect(upward).toEqual([]);
});

test.each(Object.entries(rooms))("%s imports no room but its own and %j", (room, known) => {
  const strangers = imports.filter(({ from: name, to }) => {
    const target = roomOf(to);
    return (
      roomOf(name) === room &&
      isOurs(to) &&
      target !== room &&
      !known.some((each) => each === target)
    );
  });
  expect(strangers).toEqual([]);
});

/** What is longer than it should be. It may become shorter, and leave this list; nothing else may enter it. */
const tooLong: Readonly<Record<string, number>> = {
  "doors/router/keyed.ts KeyedCall": 310,
  "doors/postgres/migrations.ts firstOf": 72,
  "doors/postgres/journal.ts journalOver": 133,
  "testing/sandbox/types.ts": 356,
  "client-options.ts =>": 88,
  "journal/directory-files.ts journalIn": 198,
  "journal/entry.ts TaskEntry": 272,
  "result/generated-image.ts": 360,
  "result/generated-image.ts GeneratedImage": 291,
  "testing/sandbox.ts startSandbox": 90,
  "types.ts": 466,
};

/** How many lines a node takes. */
function linesOf(node: ts.Node): number {
  const source = node.getSourceFile();
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  return lineAt(node.end) - lineAt(node.getStart()) + 1;
}

/** A file, a class or a function that is longer than it may be, by where it is. */
function longPartsOf(name: string): [string, number][] {
  const source = sourceOf(name);
  const found: [string, number][] = [];
  const check = (part: string, lines: number, limit: number) => {
    if (lines > limit) found.push([part, lines]);
  };
  check(name, source.getLineStarts().length - 1, 350);
  const visit = (node: ts.Node): void => {
    const named =
      ts.isClassLike(node) || ts.isFunctionLike(node) ? node.name?.getText() : undefined;
    const part = `${name} ${named ?? "=>"}`;
    if (ts.isClassLike(node)) check(part, linesOf(node), 250);
    else if (ts.isFunctionLike(node) && "body" in node) check(part, linesOf(node), 60);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

test("no file is over 350 lines, no class over 250 and no function over 60", () => {
  const long = files.flatMap(longPartsOf);
  const grown = long.filter(([part, lines]) => lines > (tooLong[part] ?? 0));
  expect(grown).toEqual([]);
  // What is short by now leaves the list.
  const names = long.map(([part]) => part);
  expect(Object.keys(tooLong).filter((part) => !names.includes(part))).toEqual([]);
});

test("HTTP, media and timing know no schema", () => {
  const strangers = imports.filter(
    ({ from: name, to }) => ["async", "http", "media"].includes(roomOf(name)) && /^zod/.test(to),
  );
  expect(strangers).toEqual([]);
});

test("the sender is loaded by the client alone, with the first call that sends", () => {
  const runners = imports.filter(({ to, typeOnly }) => to === "runner" && !typeOnly);
  expect(runners.map(({ from: name }) => name)).toEqual(["client"]);
});

test("the contract of an adapter is types alone", () => {
  expect(from("adapter/contract").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test.each(adapters)("%s imports zod and the contract, and nothing else", (adapter) => {
  expect(targets(adapter)).toEqual(["provider", "zod/mini"]);
});

test("the list of providers names every adapter and nothing more", () => {
  expect(targets("providers/index")).toEqual(adapters.toSorted());
});

test("the version of the package is known in one place", () => {
  expect(targets("http/user-agent")).toEqual(["../package.json"]);
  const readers = imports
    .filter(({ to }) => to === "../package.json")
    .map(({ from: name }) => name);
  expect(readers).toEqual(["http/user-agent"]);
});

test("the JSON of events knows their types and nothing else", () => {
  expect(from("api/event-json").every(({ typeOnly }) => typeOnly)).toBe(true);
});

test("the poller knows time alone: no HTTP, no schema, no provider", () => {
  expect(targets("schedule/poller")).toEqual(["async/clock", "async/turns"]);
});

test("a file format knows bytes alone, and what looks at images knows formats alone", () => {
  const formats = files.filter((name) => name.startsWith("media/formats/"));
  expect(formats.length).toBeGreaterThan(5);
  const below = formats.flatMap((name) => targets(name.replace(/\.ts$/, "")));
  expect(below.filter((to) => to !== "realm" && !to.startsWith("media/formats/"))).toEqual([]);
  expect(targets("media/format")).toEqual(["media/formats/svg"]);
  for (const name of ["media/measure", "media/image-inspection"]) {
    expect(
      targets(name).filter(
        (to) => !["media/format", "realm"].includes(to) && !to.startsWith("media/formats/"),
      ),
    ).toEqual([]);
  }
  expect(targets("media/own-bytes")).toEqual([]);
});

test("only the transport runs undici and p-retry", () => {
  const strangers = imports.filter(
    ({ from: name, to, typeOnly }) =>
      !typeOnly &&
      ((to === "p-retry" && name !== "async/retry") ||
        (/^undici(\/|$)/.test(to) && name !== "http/load-undici")),
  );
  expect(strangers).toEqual([]);
  expect(targets("async/retry")).toEqual(["p-retry"]);
  expect(targets("http/load-undici")).toEqual([
    ...["async/lazy", "undici", "undici/lib/core/connect.js"],
    ...["undici/lib/dispatcher/agent.js", "undici/lib/dispatcher/client.js"],
  ]);
});

test("zod is its mini build everywhere: the other takes twice as long to load", () => {
  const builds = imports.map(({ to }) => to).filter((to) => /^zod(\/|$)/.test(to));
  // Of what both builds stand on, the objects of the full one are taken.
  expect([...new Set(builds)].sort()).toEqual(["zod/mini", "zod/v4/core"]);
  expect(targets("parse/compiled")).toEqual(["zod/mini", "zod/v4/core"]);
});

test("nothing below testing knows of it", () => {
  const upward = imports.filter(
    ({ from: name, to }) =>
      to.startsWith("testing") && !name.startsWith("testing") && !name.startsWith("doors/"),
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

/** Where a door needs a package of somebody else's, which is then an optional peer. */
const doorPeers: Readonly<Record<string, string>> = {
  "doors/cli/sheet": "sharp",
  "doors/gateway/multipart": "@fastify/busboy",
};

test("a door knows the package's public face, its own files, and one optional peer at most", () => {
  const doors = imports.filter(({ from: name }) => name.startsWith("doors/"));
  expect(doors.length).toBeGreaterThan(5);
  const beyond = doors.filter(({ from: name, to }) => {
    const own = name.split("/").slice(0, 2).join("/");
    const isPeer = to === doorPeers[name];
    const isOwn = to === "index" || to.startsWith(`${own}/`) || to.startsWith("node:");
    return !isOwn && !isPeer && !(own === "doors/cli" && isFace(to));
  });
  expect(beyond).toEqual([]);
});

/** What a user of the package may import by its name. */
const isFace = (to: string) => /^(doors\/[a-z-]+|testing)\/index$/.test(to);

test("the command line loads another door, or the sandbox, with the command that needs it", () => {
  const others = imports.filter(
    ({ from: name, to }) => name.startsWith("doors/cli/") && isFace(to),
  );
  expect(others.length).toBeGreaterThan(1);
  expect(others.filter(({ typeOnly, late }) => !typeOnly && !late)).toEqual([]);
});

test("the help of the command line loads its words and nothing of the package", () => {
  const loaded = new Set<string>();
  const visit = (name: string): void => {
    if (loaded.has(name)) return;
    loaded.add(name);
    for (const { to, typeOnly, late } of from(name))
      if (isOurs(to) && !typeOnly && !late) visit(to);
  };
  visit("doors/cli/main");
  expect([...loaded].filter((name) => !name.startsWith("doors/cli/"))).toEqual([]);
});

test("nothing but a door knows a door: one that is not used loads nothing", () => {
  const entered = imports.filter(
    ({ from: name, to }) => to.startsWith("doors/") && !name.startsWith("doors/"),
  );
  expect(entered).toEqual([]);
});

test("nothing is imported in a circle, neither a value nor a type", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      circles.push([...path.slice(path.indexOf(name)), name].join(" → "));
      return;
    }
    if (done.has(name)) return;
    for (const { to } of from(name)) if (isOurs(to)) visit(to, [...path, name]);
    done.add(name);
  };
  for (const name of files) visit(name.replace(/\.ts$/, ""), []);
  expect(circles).toEqual([]);
});

test("only the lookups of a key and of a proxy, and the command line, read the environment", () => {
  const readers = nodesWhere(
    (node) => ts.isPropertyAccessExpression(node) || ts.isVariableDeclaration(node),
  ).filter((node) => /^process\.env$|^\{.*\benv\b.*\} = process$/.test(node.getText()));
  const names = readers.map((node) => relative(sourceRoot, node.getSourceFile().fileName));
  const lookups = ["adapter/provider.ts", "doors/cli/main.ts", "http/proxy-environment.ts"];
  expect([...new Set(names)].sort()).toEqual(lookups);
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

test.each([
  ...["index.ts", "provider.ts", "testing/index.ts"],
  ...[
    "doors/ai-sdk/index.ts",
    "doors/bullmq/index.ts",
    "doors/gateway/index.ts",
    "doors/postgres/index.ts",
  ],
  "doors/router/index.ts",
])("every name exported from %s is documented where it is declared", (name) => {
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
});

test("index.ts is explicit named exports and nothing else", () => {
  for (const name of [
    ...["index.ts", "testing/index.ts", "providers/index.ts"],
    ...[
      "doors/ai-sdk/index.ts",
      "doors/bullmq/index.ts",
      "doors/gateway/index.ts",
      "doors/postgres/index.ts",
    ],
    "doors/router/index.ts",
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
