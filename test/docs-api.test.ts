import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { apiPages, root } from "./support/pages";

test("the API reference is what TypeDoc makes of the TSDoc today: `npm run docs:api`", async () => {
  const directory = await mkdtemp(join(tmpdir(), "gpt-image-client-api-"));
  const typedoc = join(root, "node_modules/typedoc/bin/typedoc");
  const options = ["--options", "docs/typedoc.json", "--out", directory];
  await promisify(execFile)(process.execPath, [typedoc, ...options], { cwd: root });
  const stale: string[] = [];
  for (const { path, text } of apiPages) {
    const made = await readFile(join(directory, relative("docs/api", path)), "utf8");
    if (made !== text) stale.push(path);
  }
  await rm(directory, { recursive: true });
  expect(stale).toEqual([]);
  expect(apiPages.length).toBeGreaterThan(3);
}, 120_000);

test("every client option and every request field has a row and a meaning", () => {
  const reference = apiPages.find(({ path }) => path === "docs/api/gpt-image-client.md");
  for (const name of ["ImageClientOptions", "CallOptions", "GenerateRequest", "EditRequest"]) {
    const [, section = ""] = reference?.text.split(`\n### ${name}\n`) ?? [];
    const rows = (section.split("\n***\n")[0] ?? "")
      .split("\n")
      .filter((row) => /^\| <a/.test(row));
    expect(rows.length, name).toBeGreaterThan(4);
    expect(rows.filter((row) => row.endsWith("| - |"))).toEqual([]);
  }
});
