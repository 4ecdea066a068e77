import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { phasesOfFault } from "../../src/testing/sandbox/faults";
import {
  anchorsOf,
  apiPages,
  linksOf,
  page,
  pages,
  root,
  snippets,
  snippetsOf,
  snippetWith,
  tableOf,
  typeErrorsOf,
} from "../support/pages";

const manifest: {
  readonly files: readonly string[];
  readonly scripts: object;
  readonly dependencies: object;
  readonly devDependencies: object;
} = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

describe("the code in the README and in docs", () => {
  test("type-checks, every snippet of it", () => {
    expect(typeErrorsOf(snippets)).toEqual([]);
    expect(snippets.length).toBeGreaterThan(25);
  }, 120_000);

  test("is JavaScript where it says so", () => {
    const told = pages
      .flatMap((each) => snippetsOf(each, "js"))
      .flatMap(({ text }) => {
        const compilerOptions = { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext };
        const fileName = "snippet.js";
        return ts.transpileModule(text, { compilerOptions, fileName, reportDiagnostics: true })
          .diagnostics;
      });
    expect(told).toEqual([]);
  });
});

test("no page has the marks of a merge conflict", () => {
  const undecided = pages.filter(({ text }) => /^(<{7}|>{7})( |$)/m.test(text));
  expect(undecided.map(({ path }) => path)).toEqual([]);
});

describe("the links", () => {
  const all = [...pages, ...apiPages];
  const links = all.flatMap(linksOf);

  test("all lead to a file that is there", () => {
    expect(links.length).toBeGreaterThan(100);
    expect(links.filter(({ to }) => !existsSync(join(root, to)))).toEqual([]);
  });

  test("all lead to a heading that is there, where they name one", () => {
    const anchors = new Map(all.map((each) => [each.path, anchorsOf(each)]));
    const dead = links.filter(
      ({ to, anchor }) => anchor !== undefined && anchors.get(to)?.has(anchor) !== true,
    );
    expect(dead).toEqual([]);
  });

  test("lead to nothing that the package leaves out", () => {
    // npm packs these whatever `files` says.
    const packed = [...manifest.files, "README.md", "LICENSE"];
    const isPacked = (path: string) =>
      packed.some((each) => path === each || path.startsWith(`${each}/`));
    expect(links.filter(({ to }) => !isPacked(to))).toEqual([]);
  });

  test("of the README lead to every page that is not a decision", () => {
    const reached = new Set(linksOf(page("README.md")).map(({ to }) => to));
    const unreached = pages.filter(
      ({ path }) =>
        path !== "README.md" && !path.startsWith("docs/decisions/") && !reached.has(path),
    );
    expect(unreached.map(({ path }) => path)).toEqual([]);
  });

  test("of the contributing page lead to every decision", () => {
    const reached = new Set(linksOf(page("docs/contributing.md")).map(({ to }) => to));
    const decisions = pages.filter(({ path }) => path.startsWith("docs/decisions/"));
    expect(decisions.length).toBeGreaterThan(5);
    expect(decisions.filter(({ path }) => !reached.has(path))).toEqual([]);
  });
});

describe("what the pages name", () => {
  test("every script that they tell to run is there", () => {
    const named = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name = ""]) => ({ path, name })),
    );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(({ name }) => !(name in manifest.scripts))).toEqual([]);
  });

  test("exactly the codes that errors have", () => {
    const source = readFileSync(join(root, "src/errors.ts"), "utf8");
    const codes = [...source.matchAll(/readonly code = "(\w+)"/g)].map((match) => match[1]);
    const { text } = snippetWith("docs/errors.md", "switch (error.code)");
    const named = [...text.matchAll(/case "(\w+)":/g)].map((match) => match[1]);
    expect(named.sort()).toEqual(codes.sort());
  });

  test("every dependency, and no other", () => {
    const named = (path: string) => {
      const rows = tableOf(page(path), "dependency").slice(2);
      return rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)]);
    };
    const names = (path: string) => named(path).map(([, name]) => name);
    expect(names("docs/runtimes.md").sort()).toEqual(Object.keys(manifest.dependencies).sort());
    // Types are no choice of their own.
    const own = Object.keys(manifest.devDependencies).filter((name) => !name.startsWith("@types/"));
    expect(names("docs/contributing.md").sort()).toEqual(own.sort());
  });

  test("every fault of the sandbox, with the phases that it is for", () => {
    const rows = tableOf(page("docs/testing.md"), "fault").slice(2);
    const named = rows.map((row) => {
      const [, fault = "", phases = ""] = row.split("|").map((cell) => cell.trim());
      return [fault.replaceAll("`", ""), phases.split(", ")];
    });
    expect(Object.fromEntries(named)).toEqual(phasesOfFault);
  });

  test("every source file of the architecture is there", () => {
    const { text } = page("docs/architecture.md");
    const named = [...text.matchAll(/[\w/.-]*\b[\w-]+\.ts\b/g)].map(([name]) => name);
    const places = ["", "src", "src/providers"];
    const missing = named.filter(
      (name) => !places.some((place) => existsSync(join(root, place, name.replace("../", "")))),
    );
    expect(named.length).toBeGreaterThan(30);
    expect([...new Set(missing)]).toEqual([]);
  });
});
