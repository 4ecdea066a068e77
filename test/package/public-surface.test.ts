import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { checker, files, imports, root, sourceOf } from "../support/sources";

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
