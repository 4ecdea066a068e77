import { relative } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { adapters, files, nodesWhere, placeOf, sourceOf, sourceRoot } from "../support/sources";

/** How many lines a node takes. */

function linesOf(node: ts.Node): number {
  const source = node.getSourceFile();
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  return lineAt(node.end) - lineAt(node.getStart()) + 1;
}

/** The files, classes and functions that are longer than they may be, by where they are. */

function longPartsOf(name: string): string[] {
  const source = sourceOf(name);
  const found: string[] = [];
  const check = (part: string, lines: number, limit: number) => {
    if (lines > limit) found.push(`${part} has ${lines} lines, of at most ${limit}`);
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
  expect(files.flatMap(longPartsOf)).toEqual([]);
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

test("what an adapter calls as it is loaded is marked as pure, so that a bundler can leave it out", () => {
  const initializers = adapters
    .flatMap((name) => [...sourceOf(`${name}.ts`).statements])
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => declarationList.declarations)
    .flatMap(({ initializer }) => initializer ?? []);
  const calls = initializers.filter(
    (each) => ts.isCallExpression(each) || ts.isNewExpression(each),
  );
  expect(calls.length).toBeGreaterThan(10);
  const unmarked = calls.filter((each) => !/@__PURE__[^\n]*$/.test(leadingText(each)));
  expect(unmarked.map(placeOf)).toEqual([]);
});

/** What stands between a node and what is before it. */
function leadingText(node: ts.Node): string {
  return node.getFullText().slice(0, node.getStart() - node.getFullStart());
}

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
