import { readdirSync, readFileSync } from "node:fs";
import { join, matchesGlob } from "node:path";
import { expect, test } from "vitest";
import { aloneInTheirProcess } from "../../vitest.config";
import { root } from "../support/sources";

const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
  .map((name) => `test/${name.replaceAll("\\", "/")}`)
  .filter(
    (name) =>
      name.endsWith(".ts") && !/^test\/(network|postgres|queue)\/|\/node_modules\//.test(name),
  );
const textOf = (name: string) => readFileSync(join(root, name), "utf8");

test("a file that replaces a module or `fetch` has a process of its own", () => {
  const replaces = files.filter(
    (name) =>
      name.endsWith(".test.ts") &&
      /\b(vi\.(mock|doMock|resetModules)|setupServer|contractSuite)\(/.test(textOf(name)),
  );
  expect(replaces.length).toBeGreaterThan(5);
  const isAlone = (name: string) => aloneInTheirProcess.some((glob) => matchesGlob(name, glob));
  expect(replaces.filter((name) => !isAlone(name))).toEqual([]);
});

test("a module that tests share registers hooks in a function, which each file calls", () => {
  // Imported by the first file of a process alone, it would register them for that one.
  const registers = files.filter(
    (name) => !name.endsWith(".test.ts") && /^(before|after)(All|Each)\(/m.test(textOf(name)),
  );
  // Its files have a process each.
  expect(registers).toEqual(["test/providers/support/openai-compatible.ts"]);
});
