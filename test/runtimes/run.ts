/**
 * Tries the packed package wherever people run it: `npm run test:runtimes`, with a part of a name
 * behind it for one of them, and `--write` to put the table into docs/runtimes.md.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startProvider } from "./provider";
import type { Verdicts } from "./smoke";
import { targets } from "./targets";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "gpt-image-client-runtimes-"));

/** Without what npm tells the scripts that it runs: the commands here are of other packages. */
export const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(lifecycle|package|command|config_local)|NODE_OPTIONS$|VITEST|JEST)/.test(name),
  ),
);

const parts = process.argv.slice(2).filter((each) => !each.startsWith("--"));
const writes = process.argv.includes("--write");
const chosen = targets.filter(
  ({ name }) => parts.length === 0 || parts.some((part) => name.toLowerCase().includes(part)),
);

const packed = await run(
  "npm",
  ["pack", "--ignore-scripts", "--json", "--pack-destination", place],
  {
    cwd: root,
    env,
  },
);
const listed: unknown = JSON.parse(packed.stdout.slice(packed.stdout.search(/^[[{]/m)));
const tarball = join(place, fileNameIn(listed));

const rows: string[] = [];
let failed = 0;
for (const target of chosen) {
  using provider = await startProvider();
  const directory = join(place, target.name.replaceAll(/\W+/g, "-"));
  mkdirSync(directory);
  const project = {
    directory,
    tarball,
    run: async (command: string, ...args: string[]) => {
      const options = { cwd: directory, env: { ...env, ORIGIN: provider.origin, CI: "1" } };
      const { stdout } = await run(command, args, { ...options, timeout: 240_000 });
      return stdout;
    },
    write: (name: string, text: string) => writeFileSync(join(directory, name), text),
  };
  let found: { version: string; verdicts: Verdicts };
  try {
    found = await target.run(project);
  } catch (error) {
    found = { version: "?", verdicts: { "it runs": String(error).slice(0, 2_000) } };
  }
  const verdicts = Object.entries(found.verdicts);
  if (verdicts.length === 0) verdicts.push(["any check ran", "none"]);
  const wrong = verdicts.filter(([, seen]) => seen !== null);
  failed += wrong.length === 0 ? 0 : 1;
  const result =
    wrong.length === 0
      ? `all ${verdicts.length}`
      : `${verdicts.length - wrong.length} of ${verdicts.length}: not ${wrong.map(([name]) => name).join("; not ")}`;
  console.log(`${target.name} ${found.version}: ${result}`);
  for (const [name, seen] of wrong) console.log(`  ${name}: ${seen}`);
  rows.push(`| ${target.name} | ${found.version} | ${result} |`);
}
rmSync(place, { recursive: true, force: true });

if (writes) {
  const page = join(root, "docs/runtimes.md");
  const table = ["| where | version | checks that held |", "| --- | --- | --- |", ...rows].join(
    "\n",
  );
  const marks = /(<!-- the table of `npm run test:runtimes` -->\n)[\s\S]*?(<!-- its end -->)/;
  writeFileSync(page, readFileSync(page, "utf8").replace(marks, `$1${table}\n$2`));
}
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 && chosen.length > 0 ? 0 : 1;

/** npm 11 lists what it packed as an array, npm 12 as an object by name. */
function fileNameIn(listed: unknown): string {
  const [first]: { filename?: string }[] = Object.values(listed as object);
  if (first?.filename === undefined) throw new Error("npm pack named no file");
  return first.filename;
}
